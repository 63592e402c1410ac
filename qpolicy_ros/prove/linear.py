"""Upper bounds of a question's sums over many boxes at once: intervals and parallel lines.

Each hidden neuron's code, a staircase of its sum, lies between two lines whose slopes are multiples
of 2^-12: sides of its hull, or parallel ones where a question has two observations (Singh et al.,
An abstract domain for certifying neural networks, POPL 2019, with lines for staircases). Put into
each other down to the inputs, lines keep what intervals lose: that two neurons see the same inputs.
All numbers are integers carried exactly in float64; where a sum could reach 2^53, the interval
alone is used.
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
    """``rise * acc + below <= SCALE * code <= slope * acc + above``, each ``(boxes, neurons)``."""

    slope: npt.NDArray[np.float64]
    rise: npt.NDArray[np.float64]
    below: npt.NDArray[np.float64]
    above: npt.NDArray[np.float64]
    least: npt.NDArray[np.float64]
    """Lowest code of each neuron."""
    most: npt.NDArray[np.float64]
    """Highest code."""
    gap: npt.NDArray[np.float64]
    """How far the lines are apart in the middle of the sums."""


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
        line_above, coefficients = self._line(coefficients, lines, low, high, gaps)
        if line_above is not None:
            upper = np.minimum(upper, np.floor(line_above))
        if both:
            turned = np.broadcast_to(-rows, coefficients.shape[:1] + rows.shape)
            line_above, _ = self._line(turned, lines, low, high, [])
            if line_above is not None:
                lower = np.maximum(lower, -np.floor(line_above))
        return lower, upper, coefficients, gaps

    def _line(
        self,
        coefficients: npt.NDArray[np.float64],
        lines: list[Lines],
        low: npt.NDArray[np.float64],
        high: npt.NDArray[np.float64],
        gaps: list[Any],
    ) -> tuple[Any, Any]:
        """Upper bounds of ``coefficients @ codes`` by lines, and the coefficients in the inputs.

        None for the bounds where a number could not be exact.
        """
        above = np.zeros(coefficients.shape[:2])
        scale, exact = 1.0, True
        for layer in reversed(range(len(lines))):
            line, weight = lines[layer], self._weights[layer]
            positive, negative = np.maximum(coefficients, 0.0), np.minimum(coefficients, 0.0)
            magnitude = positive - negative
            above = above * SCALE + _dot(positive, line.above) + _dot(negative, line.below)
            gaps.append(magnitude[:, -1] * line.gap)
            scale *= SCALE
            tallest = np.maximum(np.abs(line.above), np.abs(line.below))
            most = float(_dot(magnitude, tallest).max(initial=0.0)) * 2.0
            coefficients = positive * line.slope[:, None, :] + negative * line.rise[:, None, :]
            steep = np.abs(coefficients).sum(axis=2).max(initial=0.0)
            most = max(most, float(steep) * _largest(weight), float(np.abs(above).max(initial=0.0)))
            exact = exact and most < _EXACT
            coefficients = coefficients @ weight
        positive, negative = np.maximum(coefficients, 0.0), np.minimum(coefficients, 0.0)
        reach = np.maximum(np.abs(low), np.abs(high))
        most = float(_dot(positive - negative, reach).max(initial=0.0))
        exact = exact and most + float(np.abs(above).max(initial=0.0)) < _EXACT
        if not exact:
            return None, coefficients
        return (above + _dot(positive, high) + _dot(negative, low)) / scale, coefficients

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
    stairs = _Stairs(least, most, thresholds)
    rise = stairs.first_to_last()
    if pair is not None:
        half = rise.shape[1] // 2
        mean = np.rint((rise[:, :half] + rise[:, half:]) / 2)
        slope = np.concatenate([mean, mean], axis=1)
        above, below = stairs.above(slope), stairs.below(slope)
        return Lines(slope, slope, below, above, stairs.least, stairs.most, above - below)
    # Sides of the staircase's hull: of some slopes the one that is nearest in the middle.
    middle = (least + most) / 2
    tops = [(slope, stairs.above(slope)) for slope in (rise, *stairs.upper_slopes())]
    feet = [(slope, stairs.below(slope)) for slope in (rise, *stairs.lower_slopes())]
    slope, above = _nearest(tops, middle, 1.0)
    rise, below = _nearest(feet, middle, -1.0)
    gap = (slope - rise) * middle + above - below
    return Lines(slope, rise, below, above, stairs.least, stairs.most, gap)


def _nearest(lines: list[tuple[Any, Any]], middle: Any, sign: float) -> tuple[Any, Any]:
    """Of lines above (``sign`` 1) or below (-1), each neuron's that is nearest in the middle."""
    best_slope, best = lines[0]
    for slope, offset in lines[1:]:
        nearer = sign * (slope * middle + offset) < sign * (best_slope * middle + best)
        best_slope = np.where(nearer, slope, best_slope)
        best = np.where(nearer, offset, best)
    return best_slope, best


class _Stairs:
    """Staircases of neurons over the ranges ``[start, end]`` of their sums, ``(boxes, neurons)``.

    Attributes:
        least, most: lowest and highest code.
    """

    def __init__(self, start: Any, end: Any, thresholds: Any) -> None:
        self._start, self._end, self._thresholds = start, end, thresholds
        reached = thresholds[None] <= end[:, :, None]
        passed = thresholds[None] <= start[:, :, None]
        self.least = passed.sum(axis=2).astype(np.float64)
        self.most = reached.sum(axis=2).astype(np.float64)
        self._inside = reached & ~passed
        self._first = np.where(self._inside, thresholds[None], np.inf).min(axis=2)
        self._last = np.where(self._inside, thresholds[None], -np.inf).max(axis=2)

    def first_to_last(self) -> Any:
        """Slope from the range's start to its end."""
        return self._slope(self.most - self.least, self._end - self._start)

    def upper_slopes(self) -> tuple[Any, Any, Any]:
        """Slopes of lines above: flat, up to the last step, from the first step to the last."""
        steps = self.most - self.least
        return (
            np.zeros_like(steps),
            self._slope(steps, self._last - self._start),
            self._slope(steps - 1, self._last - self._first),
        )

    def lower_slopes(self) -> tuple[Any, Any, Any]:
        """Slopes of lines below: flat, from before the first step on, from step to step."""
        steps = self.most - self.least
        return (
            np.zeros_like(steps),
            self._slope(steps, self._end - self._first + 1.0),
            self._slope(steps - 1, self._last - self._first),
        )

    def _slope(self, rise: Any, width: Any) -> Any:
        width = np.where(np.isfinite(width), np.maximum(width, 1.0), 1.0)
        return np.rint(SCALE * np.maximum(rise, 0.0) / width)

    def above(self, slope: Any) -> Any:
        """Offset of the lowest line of ``slope`` (not negative) above the staircase."""
        # Between thresholds a falling remainder is largest at the left end.
        offset = SCALE * self.least - slope * self._start
        for level in range(self._thresholds.shape[1]):
            at, here = self._thresholds[:, level], self._inside[:, :, level]
            offset = np.where(here, np.maximum(offset, SCALE * (level + 1) - slope * at), offset)
        return offset

    def below(self, slope: Any) -> Any:
        """Offset of the highest line of ``slope`` below it: smallest at the right end."""
        offset = SCALE * self.most - slope * self._end
        for level in range(self._thresholds.shape[1]):
            at, here = self._thresholds[:, level], self._inside[:, :, level]
            offset = np.where(here, np.minimum(offset, SCALE * level - slope * (at - 1)), offset)
        return offset
