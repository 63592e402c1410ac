"""`qpolicy prove`: exit status and what it prints."""

from __future__ import annotations

import json

import pytest
import yaml
from policy_builders import random_artifact

from qpolicy_ros.cli.main import main
from qpolicy_ros.policy import load_policy, make_engine, save_policy

pytest.importorskip("ortools")
pytest.importorskip("highspy")


@pytest.fixture
def policy(tmp_path):
    file = tmp_path / "p.safetensors"
    save_policy(random_artifact(4, hidden=(5, 5)), file)
    return file


def prove(policy, claim, *more):
    file = policy.with_suffix(".yaml")
    file.write_text(yaml.safe_dump({"claim": claim}))
    return main(["prove", str(policy), "--property", str(file), "--json", "--time", "20", *more])


def test_a_proof_is_status_0(policy, capsys):
    assert prove(policy, {"low": -1, "high": 1}, "--random", "1000") == 0
    row = json.loads(capsys.readouterr().out)
    assert row["verdict"] == "proved"
    assert row["counterexample"] is None
    assert row["seconds"] >= 0


def test_a_counterexample_is_status_1_and_breaks_the_claim(policy, capsys):
    assert prove(policy, {"action": 0, "low": 0.9}) == 1
    row = json.loads(capsys.readouterr().out)
    assert row["verdict"] == "refuted"
    engine = make_engine(load_policy(policy).network, "numpy")
    action = engine.act(row["counterexample"]["observation"])
    assert action.tolist() == row["counterexample"]["action"]
    assert action[0] < 0.9


def test_bad_input_is_status_2_and_one_line(policy, capsys):
    assert prove(policy, {"action": "nothing", "low": 0.9}) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_random_observations_refute_what_was_left_open(policy, capsys):
    claim = {"action": 0, "change": 0.01, "within": 1}
    assert prove(policy, claim, "--time", "1e-9", "--random", "100000") == 1
    row = json.loads(capsys.readouterr().out)
    assert row["verdict"] == "refuted"
    assert row["counterexample"]["second_observation"]
