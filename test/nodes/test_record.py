"""The one record of what was answered, and why something was not."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path

import pytest

import qpolicy_ros.nodes
from qpolicy_ros.nodes.serving import record as record_module
from qpolicy_ros.nodes.serving.record import Record

FIELDS = {field.name for field in fields(Record)}
OTHERS = sorted(
    path
    for path in Path(qpolicy_ros.nodes.__file__).parent.rglob("*.py")
    if path != Path(record_module.__file__)
)


@pytest.fixture
def record():
    return Record()


def test_a_late_answer_is_an_answer(record):
    record.answer(late=False)
    record.answer(late=True)
    assert (record.answered, record.late) == (2, 1)


def test_a_refusal_is_counted_and_explained(record):
    record.refuse("non_finite", "value 3 is nan")
    assert record.refused == {"non_finite": 1}
    assert (record.reason, record.last_reason) == ("non_finite", "non_finite: value 3 is nan")


def test_a_tick_without_an_action_keeps_the_last_text(record):
    record.idle("stale", "nothing on 'imu'")
    record.idle("stopped")
    assert record.no_action == {"stale": 1, "stopped": 1}
    assert record.last_reason == "stale: nothing on 'imu'"


def test_what_comes_again_ends_staleness_not_its_count(record):
    record.stop_coming("stale", "nothing for 1 s")
    assert record.is_stale
    record.recover()
    assert (record.stale, record.is_stale) == (1, False)


def test_a_start_forgets_why_it_stood(record):
    record.stop_coming("stale", "nothing for 1 s")
    record.start()
    assert (record.stale, record.is_stale, record.last_reason) == (1, False, "")


def test_another_policy_has_refused_nothing_yet(record):
    record.refuse("backend", "gone")
    record.answer(late=False)
    record.load()
    assert (record.refused, record.reason, record.answered) == ({}, "", 1)


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.name)
def test_nobody_else_writes_it(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, (ast.AugAssign, ast.AnnAssign)):
            targets = [node.target]
        for target in targets:
            assert not written(target), f"{path.name}:{target.lineno}"


def written(target: ast.expr) -> bool:
    """Whether an assignment's target is a field of a record, or an item of one."""
    if isinstance(target, (ast.Tuple, ast.List)):
        return any(map(written, target.elts))
    if isinstance(target, (ast.Subscript, ast.Starred)):
        return written(target.value)
    if not isinstance(target, ast.Attribute) or target.attr not in FIELDS:
        return False
    return "record" in ast.unparse(target.value)
