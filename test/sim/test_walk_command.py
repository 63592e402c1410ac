"""The command `qpolicy walk`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from policy_builders import random_artifact
from robot_files import require_go2

from qpolicy_ros.cli.main import main as command
from qpolicy_ros.cli.walk import Args, main
from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.policy import PolicyError, find_policy, load_policy, save_policy
from qpolicy_ros.sim.description import find_robot
from qpolicy_ros.sim.walk import ENV_ID


@pytest.fixture
def file(tmp_path):
    require_go2()
    contract = find_robot("unitree_go2").contract("go2", ENV_ID)
    save_policy(random_artifact(2, hidden=(8,), contract=contract), tmp_path / "go2.safetensors")
    return str(tmp_path / "go2.safetensors")


def test_a_policy_that_does_not_walk_fails(file, capsys):
    assert main(Args(file, episodes=2, json=True)) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["task"], report["commanded"], report["tracked"]) == ("go2", 0.5, 0)
    assert [walk["seed"] for walk in report["walks"]] == [0, 1]


def test_zero_actions_fail(file, capsys):
    assert main(Args(file, backend="zero", episodes=1)) == 1
    assert "go2, zero: 0 of 1 track 0.5 m/s" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong",
    [
        *({"episodes": 0}, {"seed": -1}, {"speed": 0.0}, {"speed": -1.0}, {"command": (1.0, 0.0)}),
        {"command": (0.0, float("nan"), 0.0)},
    ],
)
def test_numbers_are_checked(wrong):
    with pytest.raises(UsageError, match=f"--{next(iter(wrong))}: "):
        main(Args("go2", **wrong))


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"record": Path("bag")}, "--record: is for walks over ROS 2; give --ros too"),
        ({"command_period": 3.0}, "--command-period: is for walks over ROS 2; give --ros too"),
        ({"command_period": -1.0}, "--command-period: -1.0 is no time"),
        ({"ros": True}, "--ros: no robot; give --robot too"),
        ({"ros": True, "robot": "x", "record": Path()}, r"--record: \. exists already"),
    ],
)
def test_what_is_for_walks_over_ros_is_checked_first(given, wrong):
    with pytest.raises(UsageError, match=wrong):
        main(Args("nowhere", **given))


def test_a_policy_for_another_description_is_refused(file, tmp_path):
    artifact = load_policy(file)
    first, *rest = artifact.contract.observation
    contract = replace(artifact.contract, observation=(replace(first, scale=2.0), *rest))
    save_policy(random_artifact(2, contract=contract), tmp_path / "other.safetensors")
    with pytest.raises(PolicyError, match=r"contract\.observation: value 0 is .*scale=2\.0"):
        main(Args(str(tmp_path / "other.safetensors")))


def test_a_policy_of_no_robot_is_refused_before_any_bar(capsys):
    assert command(["walk", "hopper"]) == 2
    assert capsys.readouterr().err == (
        "qpolicy walk: error: task: hopper is no robot, it takes no commanded speed; "
        "give a robot's policy, for example go2\n"
    )


def test_walks_in_the_task_are_told_all_of_a_command(capsys):
    require_go2()
    assert main(Args("go2/steer", command=(0.0, 0.2, 0.0), episodes=2, json=True)) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["command"], report["up"], report["seeds"]) == ([0.0, 0.2, 0.0], 2, 2)
    assert report["seconds"] == report["walks"][0]["seconds"] == 20.0
    assert report["velocity"] == pytest.approx([0.0, 0.2, 0.0], abs=0.1)


@pytest.fixture
def shipped():
    """The shipped policy's name."""
    require_go2()
    return str(find_policy("go2/walk"))


def test_the_shipped_policy_walks_as_fast_as_told(shipped, capsys, full):
    """All of 20 seeds through the integer backend (`make test`: 8 of them)."""
    count = 20 if full else 8
    assert main(Args(shipped, episodes=count, json=True)) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["tracked"] == count
    assert report["backend"] == "integer"
