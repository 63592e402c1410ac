"""Interval arithmetic: how large an accumulator can get."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy.model import Int64, IntegerNetwork


def accumulator_bounds(weights: npt.NDArray[Any], in_min: int, in_max: int) -> tuple[Int64, Int64]:
    """Smallest and largest ``W q`` over all codes ``q`` in ``[in_min, in_max]``, per neuron.

    Args:
        weights: integers ``(out, in)``.
        in_min: lowest code that any input can have.
        in_max: highest code that any input can have.

    Returns:
        int64 ``(out,)`` lows and highs; both are reached by some ``q``.
    """
    wide = np.asarray(weights).astype(np.int64)
    positive = np.maximum(wide, 0).sum(axis=1)
    negative = np.minimum(wide, 0).sum(axis=1)
    return positive * in_min + negative * in_max, positive * in_max + negative * in_min


def network_bounds(network: IntegerNetwork) -> list[tuple[Int64, Int64]]:
    """``accumulator_bounds`` of every layer, in order."""
    return [
        accumulator_bounds(weight, *network.layer_input_range(layer))
        for layer, weight in enumerate(network.weights)
    ]


def partial_sum_bound(weights: npt.NDArray[Any], in_min: int, in_max: int) -> int:
    """Largest magnitude that any partial sum of any neuron can reach, in any order of summing."""
    largest = max(abs(in_min), abs(in_max))
    return int(np.abs(np.asarray(weights).astype(np.int64)).sum(axis=1).max(initial=0)) * largest
