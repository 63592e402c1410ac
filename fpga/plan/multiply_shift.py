"""Evenly spaced thresholds as one multiplication: ``code = clip((H factor + offset) >> shift)``.

A trained layer's thresholds come from a linear quantiser, so they mostly are. Nothing is assumed:
a factor and an offset are taken only if they put every threshold on its sum, which shows that the
codes are the same for every sum; where a neuron has no such pair there is no scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from qpolicy_ros.policy.model import Int64

SUM_BITS = 17  # of the DSP's 18-bit signed operand
FACTOR_BITS = 24  # of its 25-bit signed operand
_LEVEL_BITS = 44  # of the product and the largest code: below the DSP's 48 with room to clip
_FAR = 1 << 62  # beyond every offset


@dataclass(frozen=True)
class Scale:
    """One multiplication a neuron, one shift for all of a layer.

    Attributes:
        factors, offsets: one a neuron; a factor is not negative.
        shift: places that are shifted out.
    """

    factors: tuple[int, ...]
    offsets: tuple[int, ...]
    shift: int


def find_scale(thresholds: Int64, high: Int64) -> Scale | None:
    """Return factors and offsets that are exact for every sum, None if a neuron has none.

    Args:
        thresholds: int64 ``(m, levels)``, ascending, within ``[0, high + 1]``.
        high: int64 ``(m,)``, the largest sum of each neuron; the smallest is 0.
    """
    if int(high.max()).bit_length() > SUM_BITS:
        return None
    return _find(thresholds.tobytes(), high.tobytes(), thresholds.shape[1])


@cache
def _find(thresholds: bytes, high: bytes, levels: int) -> Scale | None:
    rows = np.frombuffer(thresholds, np.int64).reshape(-1, levels)
    highs = np.frombuffer(high, np.int64)
    shift = _LEVEL_BITS - levels.bit_length()
    while shift >= 0:
        pairs = [_pair(row, int(top), shift) for row, top in zip(rows, highs, strict=True)]
        if any(pair is None for pair in pairs):
            return None
        found = [pair for pair in pairs if pair is not None]
        steepest = max(factor for factor, _ in found)
        if steepest < 1 << FACTOR_BITS:
            factors, offsets = zip(*found, strict=True)
            return Scale(factors, offsets, shift)
        shift -= max(1, steepest.bit_length() - FACTOR_BITS)
    return None


def _pair(row: Int64, high: int, shift: int) -> tuple[int, int] | None:
    """Return a factor and an offset for one neuron.

    For level k at sum t: ``t factor + offset >= k 2^shift > (t - 1) factor + offset``. Offsets
    are left between two bounds, and the room between them is concave in the factor.
    """
    lines = np.arange(1, len(row) + 1, dtype=np.int64) << shift
    reached, missed = row <= high, row > 0

    def bounds(factor: int) -> tuple[int, int]:
        # A level that every sum reaches, or none, bounds one side only.
        least = np.where(reached, lines - row * factor, -_FAR).max()
        end = np.where(missed, lines - (row - 1) * factor, _FAR).min()
        return int(least), int(end)

    def room(factor: int) -> int:
        least, end = bounds(factor)
        return end - least

    low, top = 0, int(lines[-1])
    while top - low > 2:
        third = (top - low) // 3
        left, right = low + third, top - third
        if room(left) < room(right):
            low = left + 1
        elif room(left) > room(right):
            top = right - 1
        else:
            low, top = left, right
    best = max(range(low, top + 1), key=room)
    if room(best) <= 0:
        return None
    # Odd numbers leave product and sum their lowest bits: without them Yosys does not find that
    # both fit one DSP.
    factor = next((odd for odd in (best | 1, best - 1) if odd >= 0 and room(odd) > 0), best)
    least, end = bounds(factor)
    offset = min(max(0, least), end - 1)
    return factor, next((odd for odd in (offset | 1, offset - 1) if least <= odd < end), offset)
