"""Upper bounds of a question's sums over many boxes at once: intervals and parallel lines.

Each hidden neuron's code, a staircase of its sum, lies between two parallel lines whose slope is a
multiple of 2^-12 (Singh et al., An abstract domain for certifying neural networks, POPL 2019, with
lines for staircases). Put into each other down to the inputs, lines keep what intervals lose: that
two neurons see the same inputs. All numbers are integers carried exactly in float64; where a sum
could reach 2^53, the interval alone is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.prove.question import Question

SCALE = float(1 << 12)
_EXACT = float(1 << 53)
_MOST_NUMBERS = 1 << 23  # in one intermediate array

Array = "npt.NDArray[np.float64]"


@dataclass(frozen=True)
class Lines:
    """``slope * acc + below <= SCALE * code <= slope * acc + above``, each ``(boxes, neurons)``."""

    slope: npt.NDArray[np.float64]
    below: npt.NDArray[np.float64]
    above: npt.NDArray[np.float64]
    least: npt.NDArray[np.float64]
    """Lowest code of each neuron."""
    most: npt.NDArray[np.float64]
    """Highest code."""


@dataclass(frozen=True)
class Bounds:
    """What is known of a batch of boxes.

    Attributes:
        most: upper bounds of each direction, ``(boxes, k)``.
        together: upper bounds of the directions' sum, ``(boxes,)``.
        coefficients: of the sum's upper line in the inputs, ``(boxes, N)``: where it is largest.
        weight: how much of the sum's slack is due to each input, ``(boxes, N)``.
        lines: of every hidden layer.
        sums: lowest and highest accumulator of every hidden layer's neurons.
    """

    most: npt.NDArray[np.float64]
    together: npt.NDArray[np.float64]
    coefficients: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    lines: tuple[Lines, ...]
    sums: tuple[tuple[Any, Any], ...]


class Bounder:
    """Bounds of one question."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._weights = [w.astype(np.float64) for w in question.weights]
        self._thresholds = [t.astype(np.float64) for t in question.thresholds]
        directions = question.directions.astype(np.float64)
        self._rows = np.concatenate([directions, directions.sum(axis=0, keepdims=True)])
        widest = max((w.size for w in self._weights[1:]), default=1)
        self.batch = int(np.clip(_MOST_NUMBERS // widest, 4, 512))

    def bounds(self, low: npt.NDArray[Any], high: npt.NDArray[Any]) -> Bounds:
        """Bounds over boxes ``(boxes, N)``."""
        low, high = low.astype(np.float64), high.astype(np.float64)
        lines: list[Lines] = []
        sums = []
        for index, weight in enumerate(self._weights):
            least, most = self._range(weight, lines, low, high, both=True)[:2]
            sums.append((least, most))
            lines.append(_lines(least, most, self._thresholds[index], self._question.pair))
        _, upper, coefficients, gaps = self._range(self._rows, lines, low, high, both=False)
        weight = self._slack(gaps, sums)
        return Bounds(
            upper[:, :-1], upper[:, -1], coefficients[:, -1], weight, tuple(lines), tuple(sums)
        )

    def _range(
        self,
        rows: npt.NDArray[np.float64],
        lines: list[Lines],
        low: npt.NDArray[np.float64],
        high: npt.NDArray[np.float64],
        *,
        both: bool,
    ) -> tuple[Any, Any, Any, Any]:
        """Lows and highs of ``rows @ codes`` behind ``lines``: by intervals, then by lines."""
        before = (lines[-1].least, lines[-1].most) if lines else (low, high)
        positive, negative = np.maximum(rows, 0.0), np.minimum(rows, 0.0)
        upper = before[1] @ positive.T + before[0] @ negative.T
        lower = before[0] @ positive.T + before[1] @ negative.T
        coefficients = np.broadcast_to(rows, (len(low), *rows.shape))
        gaps: list[Any] = []
        if not lines:
            return lower, upper, coefficients, gaps
        above = np.zeros((len(low), len(rows)))
        below = np.zeros_like(above)
        scale, exact = 1.0, True
        for layer in reversed(range(len(lines))):
            line, weight = lines[layer], self._weights[layer]
            positive, negative = np.maximum(coefficients, 0.0), np.minimum(coefficients, 0.0)
            magnitude = positive - negative
            tallest = np.maximum(np.abs(line.above), np.abs(line.below))
            above = above * SCALE + _dot(positive, line.above) + _dot(negative, line.below)
            if both:
                below = below * SCALE + _dot(positive, line.below) + _dot(negative, line.above)
            else:
                gaps.append(magnitude[:, -1] * (line.above - line.below))
            scale *= SCALE
            most = float(_dot(magnitude, tallest).max(initial=0.0)) * 2.0
            steep = magnitude * line.slope[:, None, :]
            most = max(most, float(steep.sum(axis=2).max(initial=0.0)) * _largest(weight))
            most = max(most, float(np.abs(above).max(initial=0.0)))
            exact = exact and most < _EXACT
            coefficients = (coefficients * line.slope[:, None, :]) @ weight
        positive, negative = np.maximum(coefficients, 0.0), np.minimum(coefficients, 0.0)
        reach = np.maximum(np.abs(low), np.abs(high))
        most = float(_dot(positive - negative, reach).max(initial=0.0))
        exact = exact and most + float(np.abs(above).max(initial=0.0)) < _EXACT
        if exact:
            line_above = above + _dot(positive, high) + _dot(negative, low)
            upper = np.minimum(upper, np.floor(line_above / scale))
            if both:
                line_below = below + _dot(positive, low) + _dot(negative, high)
                lower = np.maximum(lower, np.ceil(line_below / scale))
        return lower, upper, coefficients, gaps

    def _slack(self, gaps: list[Any], sums: list[tuple[Any, Any]]) -> npt.NDArray[np.float64]:
        """How much of the slack each input makes: gaps of neurons, spread over what they see."""
        if not gaps:
            return np.abs(self._rows[-1:])
        spread: Any = None
        for gap, weight, (least, most) in zip(
            gaps, reversed(self._weights), reversed(sums), strict=True
        ):
            # The first of the gaps is the last layer's; what it owes goes on to the layer before.
            owed = gap if spread is None else gap + spread * _relative(gap)
            spread = (owed / np.maximum(most - least, 1.0)) @ np.abs(weight)
        return np.asarray(spread)


def _relative(gap: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(gap / max(float(gap.max(initial=0.0)), 1.0))


def _dot(rows: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> Any:
    """``(boxes, rows, width)`` times ``(boxes, width)``."""
    return np.matmul(rows, values[:, :, None])[:, :, 0]


def _largest(weight: npt.NDArray[np.float64]) -> float:
    return float(np.abs(weight).max(initial=0.0))


def _lines(least: Any, most: Any, thresholds: Any, pair: object) -> Lines:
    """Lines around the staircase over ``[least, most]``; those of a pair's copies are parallel."""
    reached = thresholds[None] <= most[:, :, None]
    passed = thresholds[None] <= least[:, :, None]
    codes_least = passed.sum(axis=2).astype(np.float64)
    codes_most = reached.sum(axis=2).astype(np.float64)
    width = np.maximum(most - least, 1.0)
    slope = np.rint(SCALE * (codes_most - codes_least) / width)
    if pair is not None:
        half = slope.shape[1] // 2
        mean = np.rint((slope[:, :half] + slope[:, half:]) / 2)
        slope = np.concatenate([mean, mean], axis=1)
    above = SCALE * codes_least - slope * least
    below = SCALE * codes_most - slope * most
    inside = reached & ~passed
    for level in range(thresholds.shape[1]):
        at, here = thresholds[:, level], inside[:, :, level]
        above = np.where(here, np.maximum(above, SCALE * (level + 1) - slope * at), above)
        below = np.where(here, np.minimum(below, SCALE * level - slope * (at - 1)), below)
    # Between thresholds a falling remainder is largest at the left end, smallest at the right.
    return Lines(slope, below, above, codes_least, codes_most)
