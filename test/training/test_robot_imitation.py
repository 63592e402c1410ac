"""A teacher is imitated on a robot; one that remembers by a student that sees a history."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from balancer import BALANCE, LIMIT, TURN, balancer, write_balancer
from balancer import CONTRACT as BALANCER
from onnx import TensorProto, helper, numpy_helper

from qpolicy_ros.cli.main import main as command
from qpolicy_ros.policy import load_policy, save_policy
from qpolicy_training.recipes.robot_imitation import with_history

KEPT = 0.8
# The balancer by its gains; what it is told it follows slowly, and where it is, only it knows.
CONTRACT = BALANCER.replace("task: balancer", "task: slow_listener").replace(
    '  - {source: "joint_states.velocity:*"}\n', ""
)
# Enough for the history to show: with less the student that has it is the worse one.
LONGER = [
    "--imitate.rounds",
    "4",
    "--imitate.round-steps",
    "1200",
    "--imitate.round-updates",
    "800",
]
QUICK = ["--imitate.rounds", "2", "--imitate.round-steps", "1200", "--imitate.round-updates", "300"]
SMALL = ["--distill.rounds", "3", "--distill.round-steps", "1200", "--distill.round-updates", "150",
         "--distill.evaluate-last", "1", "--distill.finalists", "1", "--distill.walks", "2",
         "--b-core", "4"]  # fmt: skip


def write_remembering(path: Path) -> None:
    """Write an ONNX teacher whose state follows what it saw: its commands are taken from there."""
    gains = np.array([[*BALANCE, -t, t] for t in TURN])
    told = np.array([0, 0, 0, 1, 0, 1])
    both = np.concatenate((gains * (1 - told), gains * told), axis=1)
    tensors = [
        numpy_helper.from_array(np.float32(KEPT), "kept"),
        numpy_helper.from_array(np.float32(1 - KEPT), "new"),
        numpy_helper.from_array(both.T.astype(np.float32), "w"),
        helper.make_tensor("low", TensorProto.FLOAT, [], [-LIMIT]),
        helper.make_tensor("high", TensorProto.FLOAT, [], [LIMIT]),
    ]
    nodes = [
        helper.make_node("Concat", ["obs", "h_in"], ["both"], axis=1),
        helper.make_node("MatMul", ["both", "w"], ["sum"]),
        helper.make_node("Clip", ["sum", "low", "high"], ["action"]),
        helper.make_node("Mul", ["h_in", "kept"], ["old"]),
        helper.make_node("Mul", ["obs", "new"], ["fresh"]),
        helper.make_node("Add", ["old", "fresh"], ["h_out"]),
    ]
    shapes = {"obs": 6, "h_in": 6, "action": 2, "h_out": 6}
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
        for name, size in shapes.items()
    ]
    graph = helper.make_graph(nodes, "memory", ends[:2], ends[2:], tensors)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    write_balancer(tmp_path)
    return tmp_path


@pytest.fixture
def remembering(folder):
    write_remembering(folder / "memory.onnx")
    (folder / "contract.yaml").write_text(CONTRACT)
    line = "import memory.onnx --contract contract.yaml --teacher-only --out memory.json"
    assert command(line.split()) == 0
    return "memory.json"


def robot(folder):
    return next(folder.glob("*.xml")).name


def test_a_teacher_that_remembers_becomes_a_low_bit_student_with_a_history(
    folder, remembering, capsys
):
    arguments = ["quantize", remembering, "--robot", robot(folder), "--out", "student.safetensors"]
    arguments += ["--history", "3", "--hidden", "24", "24", *QUICK, *SMALL, "--json"]
    assert command(arguments) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    student = load_policy(folder / "student.safetensors")
    assert student.network is not None
    names = [channel.name for channel in student.contract.observation]
    assert (len(names), names[6:8], names[-1]) == (
        18,
        ["tilt@1", "tilt_rate@1"],
        "wanted_turning@2",
    )
    # It walks as the teacher, which it never saw: the one in between has learnt from that.
    assert min(report["likeness"]["up"]) == 1
    between = load_policy(folder / "student-fp32.safetensors")
    assert min(between.provenance["likeness"]["teacher_up"]) == 1
    assert min(between.provenance["likeness"]["up"]) == 1


def test_what_it_remembers_no_student_knows_without_a_history(folder, remembering, capsys):
    line = f"train --method imitate --teacher {remembering} --robot {robot(folder)} --json"
    error = {}
    for ticks in (1, 8):
        options = ["--history", str(ticks), "--hidden", "24", "24", "--episodes", "1", *LONGER]
        assert command([*line.split(), *options, "--out", f"{ticks}.safetensors"]) == 0
        report = json.loads(capsys.readouterr().out)
        error[ticks] = report["action_rmse"]
        assert min(report["likeness"]["up"]) == 1
    assert error[8] < 0.8 * error[1]


def test_a_policy_is_imitated_on_its_robot_without_a_reward(folder, capsys):
    save_policy(balancer(), folder / "teacher.safetensors")
    line = f"train --method imitate --teacher teacher.safetensors --robot {robot(folder)}"
    options = [*QUICK, "--hidden", "16", "16", "--episodes", "2", "--out", "own.safetensors"]
    assert command([*line.split(), *options]) == 0
    assert "100%     100%" in capsys.readouterr().out
    own = load_policy(folder / "own.safetensors")
    assert own.contract == balancer().contract
    assert own.baseline.hidden == (16, 16)


def test_a_history_of_a_history_and_of_constants_is_not_kept():
    contract = balancer().contract
    longer = with_history(contract, 3)
    assert len(longer.observation) == 3 * len(contract.observation)
    assert longer.observation[: len(contract.observation)] == contract.observation
    assert with_history(longer, 2).observation[len(longer.observation) :] == (
        *(c for c in longer.observation if c.name.endswith("@1")),
    )


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ("", "--task: is missing; give a task, or --robot with --teacher"),
        ("--robot r.xml", "--robot: a robot has no reward; give --method imitate --teacher"),
        ("--robot r.xml --task hopper", "--robot: --task is given too"),
        ("--task hopper --history 2", "--history: belongs to --robot"),
        ("--robot r.xml --method imitate --teacher hopper/fp32", "comes from a feature vector"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_wrong_call_is_one_line(capsys, options, wrong):
    assert command(["train", *options.split(), "--out", "x.safetensors"]) == 2
    error = capsys.readouterr().err
    assert wrong in error
    assert error.count("\n") == 1


def test_a_teacher_that_remembers_wants_a_robot(remembering, capsys):
    assert command(["quantize", remembering, "--bag", "b", "--out", "x.safetensors"]) == 2
    assert "memory.json: teacher: remembers" in capsys.readouterr().err
