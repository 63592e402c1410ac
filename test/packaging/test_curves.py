"""The learning curves that ship are those of the runs that their policies came from."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from qpolicy_ros.policy import load_policy

POLICIES = Path(__file__).parents[2] / "config" / "policies"
CURVES = sorted(POLICIES.glob("*/*.csv"))


def test_every_policy_has_its_curve():
    files = POLICIES.glob("*/*.safetensors")
    assert {file.with_suffix("") for file in files if "." not in file.stem} == {
        curve.with_suffix("") for curve in CURVES
    }


@pytest.mark.parametrize("curve", CURVES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_curve_ends_where_its_run_did(curve):
    facts = load_policy(curve.with_suffix(".safetensors")).provenance
    with curve.open(encoding="utf-8", newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps == sorted(set(steps))
    assert facts["steps"] <= steps[-1], "the snapshot that was chosen lies on the curve"
    # Without this fact a run went to its end, and is its curve.
    assert steps[-1] <= facts.get("steps_trained", steps[-1])
