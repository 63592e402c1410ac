"""Fuzzing of the readers of other tools' policies and contracts."""

from __future__ import annotations

import io
import json
import pickle
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from qpolicy_ros.interchange.incoming.contracts.context import Context
from qpolicy_ros.interchange.incoming.contracts.read import read_contract
from qpolicy_ros.interchange.incoming.equality import compare
from qpolicy_ros.interchange.incoming.inert_pickle import read_pickle
from qpolicy_ros.interchange.incoming.source import read_source
from qpolicy_ros.policy.contract_rules import check_contract
from qpolicy_ros.policy.robot_facts import RobotFacts

ROBOT = RobotFacts("robot.xml", ("a", "b"), poses={"home": {"a": 0.1, "b": 0.2}})
CONTEXT = Context(5, 2, ROBOT, "fuzz")


def onnx_seeds() -> list[bytes]:
    """A policy with a normaliser, SiLU and two heads; one with an LSTM's operator."""
    from foreign_policies import OnnxBuilder, onnx_policy  # noqa: PLC0415

    folder = Path(tempfile.mkdtemp())
    b = OnnxBuilder(13)
    value = b.op("Mul", b.op("Sub", "obs", b.constant(np.ones(3))), b.constant(np.ones(3)))
    hidden = b.layer(value, 0, 2, 3)
    hidden = b.op("Mul", hidden, b.op("Sigmoid", hidden))
    parts = b.op("Split", b.layer(hidden, 1, 4, 2), outputs=2, axis=-1)
    path = b.finish(folder / "a.onnx", [b.op("Tanh", parts[0])], shape=(1, 3), names=["action"])
    other = onnx_policy(folder / "b.onnx", inputs=3, opset=9, external=True)
    return [path.read_bytes(), other.read_bytes()]


def read_network(path: Path) -> None:
    """Read; what was accepted must be a network that can be compared."""
    incoming = read_source(path)
    if incoming.network is not None:
        compare(incoming, 2)


def contract_seeds() -> list[bytes]:
    """One contract a form."""
    deploy = """joint_ids_map: [1, 0]
step_dt: 0.02
stiffness: [1, 2]
damping: [1, 2]
default_joint_pos: [0.1, 0.2]
commands: {base_velocity: {ranges: {lin_vel_x: [-1, 1]}}}
actions:
  JointPositionAction:
    {scale: 0.5, offset: [0.1, 0.2], clip: null, joint_ids: !!python/tuple [0, 1]}
observations:
  base_ang_vel: {scale: [1, 1, 1], clip: [-1, 1], history_length: 1}
  last_action: {scale: null}
"""
    ours = """period: 0.02
default_pose: {keyframe: home}
zeroed: [a]
action: {scale: {a: 1, .*: 2}, offset: default, clip: [-1, 1], kind: position}
gaits: {g: {frequency: 1.5, offset: pi, standing: {below: 0.1, phase: pi/2}}}
observation:
- {source: 'imu.angular_velocity:*', scale: 2, clip: [-1, 1]}
- {source: 'gait.sin:*', name: n, history: {length: 2, first: newest}}
"""
    lab = """actions:
- {full_path: JointPositionAction, joint_names: [a, b], scale: 1, offset: [0, 0],
   clip: [[-1, 1], [-1, 1]]}
articulations: {robot: {joint_names: [a, b], default_joint_pos: [0, 0]}}
observations: {policy: [{name: base_lin_vel, shape: [3]}, {name: joint_pos_rel, shape: [2]}]}
scene: {dt: 0.02}
"""
    sar = """r: {dt: 0.005, decimation: 4, num_of_dofs: 2, joint_names: [a, b],
  observations: [ang_vel, actions], action_scale: 1, default_dof_pos: [0, 0],
  observations_history: [0], joint_mapping: [1, 0]}
"""
    leapp = """models: {p: {
  inputs: [{name: w, kind: state/body/angular_velocity, shape: [3]}, {name: l, shape: [2]}],
  outputs: [{name: t, kind: target/joint/position, element_names: [[a, b]]}, {name: r}],
  parameters: {backend: onnx, model_path: a.onnx}}}
pipeline: {feedback_flow: {p/r: [p/l]}, configs: {frequency: 50}}
"""
    return [text.encode() for text in (deploy, ours, lab, sar, leapp)]


def read_any_contract(path: Path) -> None:
    """Read a contract of any form; what was accepted must be one of ours."""
    path.with_name("a.onnx").touch()  # LEAPP's network, which stays unread here
    check_contract(read_contract(path, CONTEXT), path)


def pickle_seeds() -> list[bytes]:
    """Arrays, records and a random generator, of two protocols."""
    content = {
        "mean": np.ones(2),
        "var": np.float64(2.0),
        "rng": np.random.default_rng(0),
        "x": [1, (2,)],
    }
    return [pickle.dumps(content, protocol=protocol) for protocol in (2, 4)]


def read_inert(path: Path) -> None:
    """Look at a pickle's instructions."""
    read_pickle(path.read_bytes(), path, "pickle")


def zip_seeds() -> list[bytes]:
    """A zip file of Stable-Baselines3, a checkpoint, weights in .npz and an exported program."""
    import torch  # noqa: PLC0415

    state = {"actor.mu.0.weight": torch.ones(2, 3), "actor.mu.0.bias": torch.ones(2)}
    weights = io.BytesIO()
    torch.save(state, weights)
    box = {":type:": "<class 'Box'>", "low": "[-1. -1.]", "high": "[1. 1.]"}
    model = io.BytesIO()
    with zipfile.ZipFile(model, "w") as archive:
        archive.writestr("data", json.dumps({"action_space": box, "policy_kwargs": {}}))
        archive.writestr("policy.pth", weights.getvalue())
    checkpoint = io.BytesIO()
    torch.save({"model_state_dict": {"actor.0.weight": torch.ones(2, 3)}}, checkpoint)
    arrays = io.BytesIO()
    np.savez(
        arrays,
        **{"weight.0": np.ones((2, 3)), "activation": "elu", "mean": np.ones(3), "std": np.ones(3)},
    )
    program = io.BytesIO()
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh()).eval()
    torch.export.save(torch.export.export(module, (torch.zeros(1, 3),)), program)
    return [stream.getvalue() for stream in (model, checkpoint, arrays, program)]
