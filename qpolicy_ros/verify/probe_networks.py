"""Networks that make an engine show one layer's inside: its counts and its weights.

An engine shows codes only. A network of one layer whose weights reach any accumulator shows what
its thresholds make of it; one whose thresholds are all integers in a row shows the accumulator
itself, hence its weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qpolicy_ros.policy import IntegerNetwork
from qpolicy_ros.policy.model import Float32, Int8, Int32, Int64

_DIGIT = 127  # of the accumulator, in a number system of that base


def threshold_probe(
    thresholds: Int32, bits: int, accumulators: Int64
) -> tuple[IntegerNetwork, Float32]:
    """A network and observations: row k of the observations gives accumulator k in every neuron.

    Args:
        thresholds: int32 ``(m, 2^bits - 1)`` of the layer.
        bits: of its codes.
        accumulators: int64 ``(k,)``.
    """
    rest = accumulators % _DIGIT
    tens = (accumulators - rest) // _DIGIT
    inputs = max(1, -(-int(np.abs(tens).max(initial=0)) // _DIGIT))
    sign, left = np.sign(tens), np.abs(tens)
    columns = []
    for _ in range(inputs):
        digit = np.minimum(left, _DIGIT)
        columns.append(digit * sign)
        left = left - digit
    weights = np.array([[_DIGIT] * inputs + [1]] * len(thresholds), np.int8)
    codes = np.stack([*columns, rest], axis=1).astype(np.float32)
    return _network((weights,), (thresholds,), bits, bits), codes


def weight_probe(weight: Int8, *, signed: bool) -> tuple[IntegerNetwork, Float32]:
    """A network and observations whose output codes are the layer's weights, an input a row.

    A layer behind the first gets its codes from another, as in a policy: from one that passes
    them on.
    """
    inputs = weight.shape[1]
    shown = np.tile(np.arange(-127, 128, dtype=np.int32), (len(weight), 1))
    ones = np.eye(inputs, dtype=np.float32)
    if signed:
        return _network((weight,), (shown,), 8, 8), ones
    passed = np.tile(np.arange(1, 4, dtype=np.int32), (inputs, 1))
    return _network((np.eye(inputs, dtype=np.int8), weight), (passed, shown), 2, 8), ones


def _network(
    weights: tuple[Any, ...], thresholds: tuple[Any, ...], core_bits: int, output_bits: int
) -> IntegerNetwork:
    inputs = weights[0].shape[1]
    return IntegerNetwork(
        mean=np.zeros(inputs, np.float32),
        gain=np.ones(inputs, np.float32),
        input_bits=8,
        core_bits=core_bits,
        output_bits=output_bits,
        weights=weights,
        thresholds=thresholds,
        table=np.zeros((len(weights[-1]), 1 << output_bits), np.float32),
    )
