"""The doctor on a robot that balances: sound where it is, and a planted fault by its name."""

from __future__ import annotations

import json

import pytest
from balancer import balancer, contract, write_balancer

from qpolicy_ros.cli.main import main as command
from qpolicy_ros.doctor import measured
from qpolicy_ros.doctor.changes import changes
from qpolicy_ros.doctor.fit import Fit
from qpolicy_ros.policy import Channel, save_policy
from qpolicy_ros.sim.description import find_robot
from qpolicy_ros.sim.robot_model import build_model


@pytest.fixture
def robot(tmp_path):
    return write_balancer(tmp_path)


@pytest.fixture
def doctor(tmp_path, robot, capsys):
    def examine(policy):
        file = tmp_path / "policy.safetensors"
        save_policy(policy, file)
        status = command(["doctor", str(file), "--robot", robot, "--json"])
        return status, json.loads(capsys.readouterr().out)

    return examine


def faulty(robot, mend):
    """The balancer with the change ``mend`` made."""
    policy = balancer()
    model = build_model(find_robot(robot), policy.contract, visual=False).model
    fit = Fit.of(policy.contract, policy.baseline)
    change = next(c for c in changes(fit, model) if c.mend == mend)
    return balancer(change.apply(fit).contract)


def test_a_sound_policy_is_called_sound(doctor):
    status, report = doctor(balancer())
    assert status == 0
    assert (report["sound"], report["fault"], report["mend"]) == (True, None, None)


@pytest.mark.parametrize(
    ("planted", "mend"),
    [
        ("turn the sign of the gravity", "turn the sign of the gravity"),
        # A robot that simple is content with half of it and with twice as much.
        (
            "multiply the scale of the angular velocity by 0.01745",
            "multiply the scale of the angular velocity by ",
        ),
        ("turn the sign of the command, x axis", "turn the sign of the command, x axis"),
    ],
)
def test_a_planted_fault_is_named_with_what_mends_it(doctor, robot, planted, mend):
    status, report = doctor(faulty(robot, planted))
    assert status == 1
    assert not report["sound"]
    assert report["mend"].startswith(mend)


def test_a_policy_that_no_change_mends_says_so(doctor):
    blind = contract(
        observation=tuple(
            Channel(c.name, "constant:0") if c.name.startswith("tilt") else c
            for c in contract().observation
        )
    )
    status, report = doctor(balancer(blind))
    assert (status, report["sound"], report["mend"]) == (1, False, None)
    assert report["fault"].startswith("it falls")


def test_planted_faults_are_counted_and_a_stopped_count_goes_on(tmp_path, robot):
    save_policy(balancer(), tmp_path / "b.safetensors")
    pairs, out = [(str(tmp_path / "b.safetensors"), robot)], tmp_path / "rows.jsonl"
    first = measured.measure(out, pairs, 0, seed=3)
    rows = measured.measure(out, pairs, 1, seed=3)
    assert rows[: len(first)] == first
    assert [row["number"] for row in rows] == [-1, 0]
    assert not rows[0]["seen"]
    assert "| b | 0 of 1 | 1 |" in measured.table(rows)


def test_a_wrong_call_is_one_line(robot, capsys):
    assert command(["doctor", "hopper/fp32", "--robot", robot]) == 2
    assert "comes from a feature vector" in capsys.readouterr().err
