"""`qpolicy walk --robot`: how a policy moves its robot at a constant command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from balancer import balancer, write_balancer

from qpolicy_ros.cli.main import main as command
from qpolicy_ros.cli.walk import Args, main
from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.policy import load_policy, save_policy

SHARED = Path(__file__).parents[2].parent / "shared" / "policies"


@pytest.fixture
def robot(tmp_path):
    return write_balancer(tmp_path)


@pytest.fixture
def policy(tmp_path):
    save_policy(balancer(), tmp_path / "balancer.safetensors")
    return str(tmp_path / "balancer.safetensors")


def walk(capsys, policy, robot, *options):
    status = command(["walk", policy, "--robot", robot, "--json", *map(str, options)])
    return status, json.loads(capsys.readouterr().out)


def test_the_velocity_is_that_of_the_command(policy, robot, capsys):
    status, report = walk(capsys, policy, robot, "--command", 0.4, 0, 0, "--seeds", 2)
    assert status == 0
    assert (report["up"], report["seeds"], report["backend"]) == (2, 2, "fp32")
    assert report["velocity"] == pytest.approx([0.42, 0, 0], abs=0.03)
    assert max(report["velocity_std"]) < 0.01
    assert [walked["seed"] for walked in report["walks"]] == [0, 1]


def test_a_negative_command_is_a_command(policy, robot, capsys):
    _, report = walk(capsys, policy, robot, "--command", -0.3, 0, 0, "--seeds", 1)
    assert report["command"] == [-0.3, 0, 0]
    assert report["velocity"][0] < -0.2


def test_a_robot_that_falls_fails(policy, robot, capsys):
    status, report = walk(capsys, policy, robot, "--backend", "zero", "--seeds", 1, "--seed", 3)
    assert status == 1
    assert report["up"] == 0
    assert report["velocity"] == [None, None, None]
    assert report["walks"][0]["seconds"] < 10


def test_a_description_may_say_no_more_than_the_model(policy, tmp_path, robot, capsys):
    (tmp_path / "robot.yaml").write_text("model: {file: balancer.xml}\n")
    options = ["--command", 0.4, 0, 0, "--seeds", 1]
    plain = walk(capsys, policy, robot, *options)[1]
    described = walk(capsys, policy, str(tmp_path / "robot.yaml"), *options)[1]
    assert described["velocity"] == plain["velocity"]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"seeds": 0}, "--seeds: 0 is too small"),
        ({"seconds": 1.0}, "--seconds: 1.0 is too short"),
        ({"command": (float("nan"), 0.0, 0.0)}, "--command: "),
    ],
)
def test_numbers_are_checked(policy, robot, wrong, text):
    with pytest.raises(UsageError, match=text):
        main(Args(policy, robot, **wrong))


@pytest.mark.parametrize(
    ("robot", "wrong"),
    [
        ("cat", "robot: 'cat' is not known; known: unitree_go2, unitree_go2_steer; or give"),
        ("none.xml", "none.xml is no file; give an MJCF file"),
    ],
)
def test_what_is_no_robot_is_one_line(policy, capsys, robot, wrong):
    assert command(["walk", policy, "--robot", robot]) == 2
    assert wrong in capsys.readouterr().err.splitlines()[-1]


# As `reference.py` of the shared policies measures it, 3 seeds: forward, left, turning.
REFERENCE = {
    "go1": ("playground_go1", (0.5, 0, 0), (0.51, 0.02, 0.01)),
    "t1": ("playground_t1", (0.3, 0.2, 0), (0.30, 0.14, 0.03)),
    "g1_mjlab": ("deploy.yaml", (0.5, 0, 0), (0.44, 0.01, 0.01)),
    "g1_lab": ("deploy.yaml", (0.3, 0.2, 0), (0.31, 0.14, 0.00)),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_other_peoples_policies_walk_as_in_plain_mujoco(name, tmp_path, capsys, full):
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is missing")
    contract, told, expected = REFERENCE[name]
    folder = SHARED / name
    contract = str(folder / contract) if contract.endswith(".yaml") else contract
    out, robot = tmp_path / "policy.safetensors", str(folder / "robot.xml")
    source = [str(folder / "policy.onnx"), "--contract", contract, "--robot", robot]
    assert command(["import", *source, "--out", str(out)]) == 0
    assert load_policy(out).contract.robot
    capsys.readouterr()
    seeds = 20 if full else 2
    status, report = walk(capsys, str(out), robot, "--command", *told, "--seeds", seeds)
    assert status == 0
    assert report["up"] == seeds
    distance = [
        abs(ours - theirs) for ours, theirs in zip(report["velocity"], expected, strict=True)
    ]
    # A hundredth more than the targets: the reference is printed with two digits.
    assert max(distance[:2]) <= 0.03
    assert distance[2] <= 0.06
