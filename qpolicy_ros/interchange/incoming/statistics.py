"""Layer normalisation written out: means, centred values and spreads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from qpolicy_ros.interchange.incoming.values import Base, Centred, Flow, Mean, Spread, Value

OPERATORS = {"sqrt", "reciprocal", "rsqrt", "pow", "square", "add", "sub", "div", "mul"}


def statistic(op: str, inputs: Sequence[Any]) -> Value | None:
    """Return what an operator gives of means and centred values; None where they are none."""
    first, second = inputs[0], inputs[1] if len(inputs) > 1 else None
    if op == "sub" and isinstance(second, Mean) and first is second.of and not second.squares:
        return Centred(second.of)
    if isinstance(first, Centred):
        return None if first.squared else _of_centred(op, first, second)
    if op == "add" and isinstance(second, Mean):
        first, second = second, first
    if isinstance(first, Mean):
        if not first.squares or op != "add" or not isinstance(second, np.ndarray):
            return None
        return Spread(first.of, float(second.flat[0]), 1.0) if second.size == 1 else None
    if op == "div" and isinstance(second, Spread) and _is(first, 1):
        return Spread(second.of, second.eps, -second.power)
    return _of_spread(op, first, second) if isinstance(first, Spread) else None


def _of_centred(op: str, first: Centred, second: Any) -> Value | None:
    """Its square, or it divided by its spread: normalised."""
    if op == "square" or (op == "mul" and second is first) or (op == "pow" and _is(second, 2)):
        return Centred(first.of, squared=True)
    if not isinstance(second, Spread) or second.of is not first.of:
        return None
    normalised = (op, second.power) in {("div", 0.5), ("mul", -0.5)}
    return Flow(Base(first.of.width, first.of, eps=second.eps)) if normalised else None


def _of_spread(op: str, first: Spread, second: Any) -> Spread | None:
    powers = {"sqrt": 0.5, "reciprocal": -1.0, "rsqrt": -0.5}
    if op == "pow" and isinstance(second, np.ndarray) and second.size == 1:
        return Spread(first.of, first.eps, first.power * float(second.flat[0]))
    return Spread(first.of, first.eps, first.power * powers[op]) if op in powers else None


def _is(values: Any, number: float) -> bool:
    if not isinstance(values, np.ndarray) or values.size != 1:
        return False
    return math.isclose(float(values.flat[0]), number, rel_tol=1e-6)
