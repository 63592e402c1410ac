"""`qpolicy evaluate --robot`: a policy beside its own FP32 network, without a reward."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from balancer import balancer, contract, write_balancer

from qpolicy_ros.backends import create_backend
from qpolicy_ros.cli.main import main as command
from qpolicy_ros.policy import save_policy
from qpolicy_ros.sim.likeness import beside, commands_within


@pytest.fixture
def file(tmp_path):
    save_policy(balancer(), tmp_path / "b.safetensors")
    return str(tmp_path / "b.safetensors")


def test_a_policy_is_played_at_commands_that_it_knows(tmp_path, file, capsys):
    robot = write_balancer(tmp_path)
    assert command(["evaluate", file, "--robot", robot, "--episodes", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["command"] for row in report["commands"]] == [
        [0, 0, 0], [0.5, 0, 0], [0.3, 0.2, 0], [0, 0, 0.5],
    ]  # fmt: skip
    assert report["backend"] == "fp32"
    assert report["alike"]
    assert all(row["up"] == row["fp32_up"] == 1 for row in report["commands"])
    assert all(row["action_rmse"] == 0 for row in report["commands"])


def test_commands_are_within_the_contract_s():
    slow = replace(contract(), commands=(("cmd_vel.linear:x", -0.1, 0.1),))
    assert max(command[0] for command in commands_within(slow)) == 0.1


def test_another_policy_is_not_called_alike(tmp_path):
    robot, policy = write_balancer(tmp_path), balancer()
    act = create_backend("fp32", policy).act

    def slower(observation: np.ndarray) -> np.ndarray:
        return act(observation * np.array([1, 1, 1, 0.5, 1, 1, 1, 1], np.float32))

    rows = list(beside(slower, act, robot, policy.contract, range(1)))
    assert [row.alike for row in rows] == [True, False, False, True]
    assert rows[1].action_rmse > 0.01


def test_what_belongs_to_a_task_is_refused(tmp_path, file, capsys):
    arguments = ["evaluate", file, "--robot", write_balancer(tmp_path), "--task", "hopper"]
    assert command(arguments) == 2
    assert "--task: belongs to a task, not to --robot" in capsys.readouterr().err
