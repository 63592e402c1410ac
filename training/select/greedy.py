"""The paper's way: one axis at a time from the widest and finest policy; and its scopes' table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qpolicy_ros.policy.model import MAX_BITS, MIN_BITS
from qpolicy_training.select.config import RUNG_SEED, Axes, Scope, Shape
from qpolicy_training.select.ledger import Row
from qpolicy_training.select.rule import paper_rule
from qpolicy_training.select.space import AXES
from qpolicy_training.select.sweep import Sweep, candidates

ORDER = ("b_core", "hidden", "b_in", "b_out")


def greedy(sweep: Sweep) -> Row | None:
    """Kresse & Lampert's search: the bits of the core, then the width, then the input's bits.

    On each axis the smallest value that passes is taken: mean return over seeds and episodes at or
    above the FP32 mean less one SD. Returns the best seed's row of the last shape; None where
    nothing on the first axis passes.
    """
    axes = sweep.config.axes
    current = axes.shape(*(getattr(axes, name)[-1] for name in AXES))
    rows: list[Row] = []
    for axis in ORDER:
        values = getattr(axes, axis)
        options = [_with(axes, current, axis, value) for value in values]
        rows = _train(sweep, options)
        passing = [shape for shape in options if _passes(sweep, rows, shape)]
        if not passing:
            return None
        current = passing[0]
        sweep.say(f"{axis}: {current} is the smallest that passes")
    mine = [row for row in rows if row.shape == current]
    return max(mine, key=lambda row: row.mean)


def table(sweep: Sweep, scope: Scope) -> list[Row]:
    """Train every number of bits in ``scope``, the rest at 8, at every width and seed."""
    shapes = []
    for width in sweep.config.axes.hidden:
        for bits in range(MIN_BITS, MAX_BITS + 1):
            core = bits if scope in ("all", "core") else MAX_BITS
            given = bits if scope in ("all", "input") else MAX_BITS
            out = bits if scope in ("all", "output") else MAX_BITS
            shapes.append(sweep.config.axes.shape(width, core, given, out))
    return _train(sweep, shapes)


def _with(axes: Axes, shape: Shape, axis: str, value: int) -> Shape:
    if axis == "hidden":
        return replace(shape, hidden=(value,) * axes.layers)
    if axis == "b_core":
        return replace(shape, b_core=value)
    return replace(shape, b_in=value) if axis == "b_in" else replace(shape, b_out=value)


def _train(sweep: Sweep, shapes: Sequence[Shape]) -> list[Row]:
    jobs = [sweep.whole(candidate) for candidate in candidates(shapes, sweep.config.seeds)]
    sweep.expect(len(jobs) * sweep.config.rungs[-1])
    return sweep.stage(jobs)


def _passes(sweep: Sweep, rows: Sequence[Row], shape: Shape) -> bool:
    mine = [row for row in rows if row.shape == shape]
    if any(row.error for row in mine):
        return False
    returns = [value for row in mine for value in row.returns]
    baseline = sweep.baseline(RUNG_SEED, sweep.config.exam_episodes)
    return paper_rule(returns, baseline, sweep.config.floor).passes
