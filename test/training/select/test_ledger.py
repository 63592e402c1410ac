"""The ledger's reader: a row with a field of the wrong kind is refused by line and field."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import PolicyError
from qpolicy_training.select.config import Shape
from qpolicy_training.select.ledger import Ledger, Row, read_ledger

ROOT = Path(__file__).resolve().parents[3]
RUN = {"stage": "rung0", "hash": "a", "cpu_seconds": 1.5, "returns": [1.0], "mean": 1.0, "std": 0.0}
SHAPE = {"hidden": [8, 8], "seed": 1, "b_in": 4, "b_core": 2, "b_out": 8}
ROW = RUN | SHAPE | {"cost": {"cost": 14, "cycles": 7, "lut": 2}}


@pytest.mark.parametrize("file", sorted(ROOT.glob("**/selected.ledger.jsonl")), ids=str)
def test_a_shipped_ledger_is_read(file):
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for row, line in zip(read_ledger(file), lines, strict=True):
        said = json.loads(json.dumps(row.as_json()))
        known = {key: value for key, value in line.items() if value is not None}
        assert said | known == said


def test_rows_that_a_sweep_writes_are_read_again(tmp_path):
    path = tmp_path / "ledger.jsonl"
    shape = Shape((8, 8), 2, 4)
    run = Row(stage="rung0", hash="a", cpu_seconds=1.5, shape=shape, seed=1)
    rows = [
        replace(run, returns=(1.0,), mean=1.0, std=0.0, cost={"cost": 14, "cycles": 7, "lut": 2}),
        replace(run, hash="b", error="diverged", cost={"cost": float("inf")}),
        Row(stage="invocation", hash="s", cpu_seconds=0.0, more={"jobs": 2}),
    ]
    ledger = Ledger(path)
    for row in rows:
        ledger.add(row)
    assert Ledger(path).rows == read_ledger(path) == rows


@pytest.mark.parametrize(
    ("field", "value", "wrong"),
    [
        ("hash", ["a"], "line 2, hash: a list is not one of a ledger; delete this line"),
        ("stage", "\ud800", "line 2, stage: '\\ud800' is not"),
        ("cpu_seconds", "1", "line 2, cpu_seconds: '1' is not"),
        ("hidden", [], "line 2, hidden: a list is not"),
        ("b_core", True, "line 2, b_core: True is not"),
        ("seed", -1, "line 2, seed: -1 is not"),
        ("returns", [float("nan")], "line 2, returns: a list is not"),
        ("mean", None, "line 2, mean: None is not"),
        ("mean", 10**400, "line 2, mean: 1000"),
        ("cost", {"cycles": 0}, "line 2, cost: a dict is not"),
        ("method", {}, "line 2, method: a dict is not"),
        ("rounds", "6", "line 2, rounds: '6' is not"),
    ],
)
def test_a_field_that_is_none_is_named(tmp_path, field, value, wrong):
    path = tmp_path / "ledger.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + json.dumps({**ROW, field: value}))
    with pytest.raises(PolicyError) as refused:
        read_ledger(path)
    assert f"{path}: {wrong}" in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"[" * 9999, "line 1: is not a row of a ledger; delete this line"),
        (b"\xff", "ledger: cannot be read: 'utf-8' codec"),
    ],
)
def test_what_is_no_ledger_is_named(tmp_path, content, wrong):
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError) as refused:
        Ledger(path)
    assert f"{path}: {wrong}" in str(refused.value)
