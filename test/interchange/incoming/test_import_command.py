"""`qpolicy import`: a file that serves at once, or one line and nothing written."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from foreign_policies import INPUTS, onnx_policy

from qpolicy_ros.backends import create_backend
from qpolicy_ros.cli.main import main
from qpolicy_ros.interchange.incoming import onnx_file
from qpolicy_ros.interchange.incoming.equality import draw
from qpolicy_ros.policy import load_policy

METADATA = {
    "joint_names": "hip,knee", "default_joint_pos": "0.5,-1.0", "action_scale": "0.25",
    "joint_stiffness": "20,20", "joint_damping": "1,1",
    "observation_names": "joint_pos,joint_vel,actions",
}  # fmt: skip


def run(capsys, *arguments):
    """Exit status, and what was printed on both streams."""
    status = main(["import", *map(str, arguments)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_without_a_contract_it_still_serves(tmp_path, capsys):
    source, out = onnx_policy(tmp_path / "a.onnx"), tmp_path / "a.safetensors"
    status, printed, _ = run(capsys, source, "--out", out, "--json")
    facts = json.loads(printed)
    assert status == 0
    assert facts["equal"]
    assert facts["worst"] <= facts["bound"]
    assert facts["observations"] == 1000
    artifact = load_policy(out)
    assert artifact.function_hash == facts["function_hash"]
    assert artifact.contract.observation[0].name == "value_0"
    observations = draw(artifact.baseline, 20, seed=5)
    backend = create_backend("fp32", artifact)
    ours = np.array([backend.act(observation) for observation in observations])
    theirs = onnx_file.read_onnx(source).run(observations)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_source_s_own_metadata_is_the_contract(tmp_path, capsys):
    source = onnx_policy(tmp_path / "a.onnx", metadata=METADATA)
    status, printed, _ = run(capsys, source, "--out", tmp_path / "a.safetensors", "--period", 0.01)
    assert status == 0
    assert "2 actions every 10 ms" in printed
    contract = load_policy(tmp_path / "a.safetensors").contract
    assert [action.name for action in contract.action] == ["hip", "knee"]
    assert contract.default == pytest.approx([0.5, -1.0])


def test_actions_are_the_outputs_scaled_as_the_contract_says(tmp_path, capsys):
    source, out = onnx_policy(tmp_path / "a.onnx", metadata=METADATA), tmp_path / "a.safetensors"
    run(capsys, source, "--out", out)
    artifact = load_policy(out)
    observations = draw(artifact.baseline, 5)
    actions = [create_backend("fp32", artifact).act(row) for row in observations]
    outputs = onnx_file.read_onnx(source).run(observations)
    np.testing.assert_allclose(actions, outputs * 0.25 + [0.5, -1.0], atol=1e-5)


def test_the_second_half_of_a_distribution_is_left(tmp_path, capsys):
    source = onnx_policy(tmp_path / "a.onnx", outputs=4, metadata=METADATA)
    status, printed, _ = run(capsys, source, "--out", tmp_path / "a.safetensors")
    assert status == 0
    assert "of 4 outputs the first 2 are the actions' means" in printed


def test_a_different_answer_is_not_written(tmp_path, capsys, monkeypatch):
    source, out = onnx_policy(tmp_path / "a.onnx"), tmp_path / "a.safetensors"
    read = onnx_file.read_onnx

    def altered(*arguments, **options):
        incoming = read(*arguments, **options)
        incoming.network.weights[0][0, 0] += 0.01
        return incoming

    monkeypatch.setattr("qpolicy_ros.interchange.incoming.source.read_onnx", altered)
    status, printed, _ = run(capsys, source, "--out", out)
    assert status == 1
    assert "not written" in printed
    assert not out.exists()


def test_a_task_s_contract_is_taken(tmp_path, capsys):
    pytest.importorskip("gymnasium")
    source = onnx_policy(tmp_path / "a.onnx", inputs=11, outputs=3, shape=(1, 11))
    arguments = [source, "--task", "hopper", "--out", tmp_path / "a.safetensors"]
    assert run(capsys, *arguments)[0] == 0
    assert load_policy(tmp_path / "a.safetensors").contract.env_id == "Hopper-v4"
    source = onnx_policy(tmp_path / "b.onnx")
    status, _, error = run(capsys, source, *arguments[1:-1], tmp_path / "b.safetensors")
    assert status == 2
    assert "Hopper-v4 has 11 values, the network 6" in error


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["missing.onnx"], "missing.onnx: file: does not exist; give an ONNX file"),
        (
            ["a.onnx", "--contract", "none.yaml"],
            "neither a file nor a contract of ours; known: play",
        ),
        (["a.onnx", "--robot", "none.xml"], "none.xml: --robot: is no file and no described robot"),
        (["a.onnx", "--output", "value"], "'value' is none of its outputs; known: out0"),
        (["a.onnx", "--observations", "0"], "--observations: 0 is none of 1 to"),
        (["a.onnx", "--period", "-1"], "--period: -1.0 s is not above 0"),
        (["a.onnx", "--task", "hopper", "--contract", "x"], "--task: --contract says it already"),
        (["a.onnx", "--contract", "playground_go1"], "joints: are not named; name them, or give"),
        (["robot.xml"], "robot.xml: file: is of no known format"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    arguments, text, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    onnx_policy(tmp_path / "a.onnx", inputs=INPUTS)
    (tmp_path / "robot.xml").write_text("<mujoco/>")
    status, printed, error = run(capsys, *arguments, "--out", "b.safetensors")
    assert (status, printed, error.count("\n")) == (2, "", 1)
    assert text in error
    assert not (tmp_path / "b.safetensors").exists()


def test_the_source_is_not_overwritten(tmp_path, capsys):
    source = onnx_policy(tmp_path / "a.onnx")
    status, _, error = run(capsys, source, "--out", source)
    assert status == 2
    assert "is the source itself" in error


ROBOT = """
<mujoco><worldbody><body><freejoint/><geom size="0.1"/>
  <body><joint name="FR_hip_joint"/><geom size="0.1"/></body>
  <body><joint name="FL_hip_joint"/><geom size="0.1"/></body></body></worldbody>
  <actuator><motor name="FR_hip" joint="FR_hip_joint"/><motor name="FL_hip" joint="{left}"/>
  </actuator></mujoco>
"""
HIPS = """
period: 0.02
joints: [{right}, FL_hip_joint]
default_pose: 0.0
action: {{scale: 0.5, kp: 20}}
observation: [{{source: "imu.angular_velocity:*"}}, {{source: "imu.projected_gravity:*"}}]
"""


@pytest.mark.parametrize(
    ("left", "right", "text"),
    [
        (
            "FL_hip_jnt",
            "FR_hip_joint",
            "actuator: 'FL_hip' drives 'FL_hip_jnt', which is no joint of the model; nearest: FL",
        ),
        (
            "FL_hip_joint",
            "FR_hip",
            "but the actuator of its joint 'FR_hip_joint'; name the joint: FR_hip_joint",
        ),
    ],
)
def test_a_joint_by_another_name_than_the_model_s_is_refused(
    tmp_path, capsys, monkeypatch, left, right, text
):
    monkeypatch.chdir(tmp_path)
    onnx_policy(tmp_path / "a.onnx")
    (tmp_path / "robot.xml").write_text(ROBOT.format(left=left))
    (tmp_path / "contract.yaml").write_text(HIPS.format(right=right))
    options = ["--contract", "contract.yaml", "--robot", "robot.xml", "--out", "x.safetensors"]
    status, _, error = run(capsys, "a.onnx", *options)
    assert status == 2
    assert text in error
    assert error.count("\n") == 1
    assert not (tmp_path / "x.safetensors").exists()
