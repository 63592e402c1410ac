"""Five policies that other people trained: imported, they answer what their own reference does.

The policies are reference data beside the checkout, no part of it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from qpolicy_ros.backends import create_backend
from qpolicy_ros.cli.main import main
from qpolicy_ros.policy import Assembler, load_policy
from qpolicy_ros.policy.sources import COMMAND, parse_source

FOLDER = Path(__file__).resolve().parents[3].parent / "shared" / "policies"
NAMES = ["go1", "t1", "g1", "g1_mjlab", "g1_lab"]
TICKS = 30
COMMANDS = [(0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (0.3, 0.2, -0.4)]

pytestmark = pytest.mark.skipif(
    not (FOLDER / "reference.py").is_file(), reason="../shared/policies is not here"
)
mujoco = pytest.importorskip("mujoco")


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("policies_reference", FOLDER / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Import once a policy; the file by name."""
    folder, files = tmp_path_factory.mktemp("imported"), {}

    def one(name):
        if name not in files:
            deploy = FOLDER / name / "deploy.yaml"
            contract = str(deploy) if deploy.exists() else f"playground_{name}"
            files[name] = folder / f"{name}.safetensors"
            arguments = ["--contract", contract, "--robot", str(FOLDER / name / "robot.xml")]
            source = str(FOLDER / name / "policy.onnx")
            assert main(["import", source, *arguments, "--out", str(files[name])]) == 0
        return files[name]

    return one


def raw_values(robot, data, sources, command):
    """What the robot's topics would say."""
    joystick = hasattr(robot, "gyro")
    if joystick:
        rotation = data.site_xmat[robot.model.site(robot.site).id].reshape(3, 3)
        body = {
            "linear_velocity": data.sensor(robot.linvel).data,
            "angular_velocity": data.sensor(robot.gyro).data,
        }
    else:
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, data.qpos[3:7])
        rotation = rotation.reshape(3, 3)
        body = {"angular_velocity": data.qvel[3:6]}
    body["projected_gravity"] = rotation.T @ [0, 0, -1.0]
    commanded = dict(zip(COMMAND, command, strict=True))
    values = {}
    for text in sources:
        source = parse_source(text)
        if text in commanded:
            values[text] = commanded[text]
        elif source.topic == "joint_states":
            joint = robot.model.joint(source.key)
            field = {"position": data.qpos[joint.qposadr], "velocity": data.qvel[joint.dofadr]}
            values[text] = float(field[source.field][0])
        else:
            values[text] = float(body[source.field]["xyz".index(source.key)])
    return values


@pytest.mark.parametrize("name", NAMES)
def test_the_same_targets_in_closed_loop(name, reference, imported):
    """Both see the same states; each remembers its own actions, histories and phases."""
    onnxruntime = pytest.importorskip("onnxruntime")
    artifact = load_policy(imported(name))
    deployed = (FOLDER / name / "deploy.yaml").exists()
    robot = reference.Deployed(name) if deployed else reference.Joystick(name)
    session = onnxruntime.InferenceSession(
        str(FOLDER / name / "policy.onnx"), providers=["CPUExecutionProvider"]
    )
    joints = [robot.model.joint(int(i)).name for i in range(1, robot.model.njnt)]
    order = [joints.index(action.name) for action in artifact.contract.action]
    assembler, backend = Assembler(artifact.contract), create_backend("fp32", artifact)
    data = mujoco.MjData(robot.model)
    steps = round(artifact.contract.period / robot.model.opt.timestep)
    for command in COMMANDS:
        robot.reset(data)
        assembler.reset()
        mujoco.mj_forward(robot.model, data)
        last = np.zeros(robot.n)
        for _ in range(TICKS):
            raw = raw_values(robot, data, assembler.sources, command)
            ours = assembler.observation(raw)
            theirs = robot.observation(data, np.array(command), last).astype(np.float32)
            np.testing.assert_allclose(ours, theirs, atol=2e-5)
            action = backend.act(ours)
            last = session.run(None, {session.get_inputs()[0].name: theirs[None]})[0][0]
            targets = robot.targets(last)
            np.testing.assert_allclose(action, targets[order], atol=1e-5)
            low, high = artifact.contract.low, artifact.contract.high
            assembler.acted(np.clip(action, low, high), action)
            data.ctrl[:] = targets
            mujoco.mj_step(robot.model, data, steps)


@pytest.mark.parametrize("name", NAMES)
def test_limits_do_not_cut_the_source_s_actions(name, reference, imported):
    contract = load_policy(imported(name)).contract
    assert (contract.low < contract.default).all()
    assert (contract.default < contract.high).all()
    assert contract.period == reference.PERIOD
