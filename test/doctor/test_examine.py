"""The doctor on a robot that balances: sound where it is, and a planted fault by its name."""

from __future__ import annotations

import json

import pytest
from balancer import balancer, contract, write_balancer

from qpolicy_ros.cli.main import main as command
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.doctor import measured
from qpolicy_ros.doctor.changes import changes
from qpolicy_ros.doctor.fit import Fit
from qpolicy_ros.doctor.trials import Attempt, Stage
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
        # A robot that simple is content with half of it and with twice as much: 1 is rounder.
        (
            "multiply the scale of the angular velocity by 0.01745",
            "multiply the scale of the angular velocity by 57.3",
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
    assert [row["outcome"] for row in rows] == [measured.NOT_SEEN, measured.NAMED]
    assert rows == [json.loads(line) for line in out.read_text().splitlines()]


def test_a_line_that_a_kill_cut_off_is_played_again(tmp_path, robot):
    save_policy(balancer(), tmp_path / "b.safetensors")
    pairs, out = [(str(tmp_path / "b.safetensors"), robot)], tmp_path / "rows.jsonl"
    measured.measure(out, pairs, 0, seed=3)
    whole = out.read_text()
    out.write_text(whole[: len(whole) // 2])
    rows = measured.measure(out, pairs, 0, seed=3)
    assert [row["number"] for row in rows] == [-1]
    assert len(out.read_text().splitlines()) == 1


def test_a_file_of_something_else_is_not_written_to(tmp_path):
    out = tmp_path / "rows.jsonl"
    out.write_text('{"some": "thing"}\n')
    with pytest.raises(InputError, match=r"rows\.jsonl: rows: line 1 is no row"):
        measured.read_rows(out)


def test_a_change_that_lets_the_robot_fall_is_played_no_further(robot):
    policy = balancer()
    described = find_robot(robot)
    built = build_model(described, policy.contract, visual=False)
    fit = Fit.of(policy.contract, policy.baseline)
    wrong = next(
        c for c in changes(fit, built.model) if c.mend == "turn the sign of the gravity"
    ).apply(fit)
    stage = Stage(described, policy.baseline, fit, built)
    right, falls = Attempt(fit), Attempt(wrong)
    stage.play([right, falls], [(0.0, 0.0, 0.0), (0.3, 0.0, 0.0)], [0], 4.0, until_a_fall=True)
    assert falls.fell
    assert not right.fell
    lasted = {trial.lasted for trial in stage.trials(falls, 4.0)}
    assert max(lasted) < 1
    assert all(trial.lasted == 1 for trial in stage.trials(right, 4.0))


def test_a_walk_that_goes_on_ends_as_one_in_one_go(robot):
    policy = balancer()
    described = find_robot(robot)
    built = build_model(described, policy.contract, visual=False)
    fit = Fit.of(policy.contract, policy.baseline)
    stage = Stage(described, policy.baseline, fit, built)
    at_once, in_parts = Attempt(fit), Attempt(fit)
    commands = [(0.3, 0.0, 0.0)]
    stage.play([at_once], commands, [0], 2.0)
    stage.play([in_parts], commands, [0], 0.7)
    stage.play([in_parts], commands, [0], 2.0)
    assert stage.trials(at_once, 2.0) == stage.trials(in_parts, 2.0)


def test_pushes_are_alike_for_all_and_hard_enough_to_tell(robot):
    policy = balancer()
    described = find_robot(robot)
    built = build_model(described, policy.contract, visual=False)
    fit = Fit.of(policy.contract, policy.baseline)
    stage = Stage(described, policy.baseline, fit, built)
    one, other, quiet = Attempt(fit), Attempt(fit), Attempt(fit)
    still = [(0.0, 0.0, 0.0)]
    stage.play([one, other], still, [0], 12.0, pushed=True)
    stage.play([quiet], still, [0], 12.0)
    assert stage.trials(one, 12.0) == stage.trials(other, 12.0)
    assert one.fell
    assert not quiet.fell


def test_a_wrong_call_is_one_line(robot, capsys):
    assert command(["doctor", "hopper/fp32", "--robot", robot]) == 2
    assert "comes from a feature vector" in capsys.readouterr().err
