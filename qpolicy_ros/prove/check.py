"""Second ways to the same answer: every input one by one, and a proof's tree, bound by bound.

The tree's checker shares no arithmetic with ``linear``: it follows the splits itself, bounds each
leaf in int64, and takes a neuron's lines from its staircase's own points.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from qpolicy_ros.policy.model import Int64
from qpolicy_ros.prove.branch import NO, OPEN, YES, BoxTree, Outcome
from qpolicy_ros.prove.question import Question

MOST_INPUTS = 1 << 20  # that are looked at one by one
_CHUNK = 1 << 15
_SHIFT = 14  # slopes are multiples of 2^-14
_SAFE = 1 << 61


def exhaustive(question: Question, seconds: float) -> Outcome:
    """Look at every input; ``open`` where there are more than ``MOST_INPUTS``."""
    widths = [int(w) + 1 for w in question.high - question.low]
    count = 1
    for width in widths:
        count *= max(width, 0)
    if count > MOST_INPUTS:
        return Outcome(OPEN, work="too many inputs")
    end = time.thread_time() + seconds
    for start in range(0, count, _CHUNK):
        if time.thread_time() > end:
            return Outcome(OPEN, work=f"{start} of {count} inputs")
        numbers = np.arange(start, min(start + _CHUNK, count))
        inputs = np.stack(np.unravel_index(numbers, widths), axis=1) + question.low
        kept, good = question.project(inputs)
        good &= (kept == inputs).all(axis=1)  # what project moved is no pair
        met = good & (question.margins(inputs) >= 0)
        if met.any():
            return Outcome(YES, inputs[int(np.argmax(met))], work=f"{count} inputs, all of them")
    return Outcome(NO, work=f"{count} inputs, all of them")


def check_tree(question: Question, tree: BoxTree, seconds: float) -> Outcome:
    """Whether every leaf of a branch and bound's tree holds no yes."""
    end = time.thread_time() + seconds
    leaves = 0
    for leaf in _leaves(question, tree):
        left = [leaf]
        while left:
            if time.thread_time() > end:
                return Outcome(OPEN, work=f"time over after {leaves} leaves")
            low, high = left.pop()
            if _empty(question, low, high):
                leaves += 1
                continue
            # Lines rounded another way may just miss it: halves are tried, down to a point.
            axis = int(np.argmax(high - low))
            if low[axis] == high[axis]:
                return Outcome(YES, low, work=f"leaf {leaves} does not hold")
            middle = (low[axis] + high[axis]) // 2
            below, above = high.copy(), low.copy()
            below[axis], above[axis] = middle, middle + 1
            left += [(low, below), (above, high)]
    return Outcome(NO, work=f"{leaves} leaves, each proven again")


def _leaves(question: Question, tree: BoxTree) -> Iterator[tuple[Int64, Int64]]:
    """The boxes at the leaves, by following the splits from the whole."""
    stack = [(0, question.low, question.high)]
    while stack:
        node, low, high = stack.pop()
        # Only here does the proof leave anything out: inputs without a partner.
        tight_low, tight_high, full = question.tighten(low[None], high[None])
        if not full[0]:
            continue
        low, high = tight_low[0], tight_high[0]
        axis, cut, child = int(tree.axis[node]), tree.cut[node], int(tree.child[node])
        if axis < 0:
            yield low, high
            continue
        left_high, right_low = high.copy(), low.copy()
        left_high[axis] = min(cut, high[axis])
        right_low[axis] = max(cut + 1, low[axis])
        stack += [(child, low, left_high), (child + 1, right_low, high)]


def _empty(question: Question, low: Int64, high: Int64) -> bool:
    """Whether a box holds no yes, by int64 arithmetic."""
    tight_low, tight_high, full = question.tighten(low[None], high[None])
    if not full[0]:
        return True
    low, high = tight_low[0], tight_high[0]
    if bool((low == high).all()):
        _, good = question.project(low[None])
        return not (good[0] and question.margins(low[None])[0] >= 0)
    lines: list[_Lines] = []
    for index, weight in enumerate(question.weights):
        least = -_upper(question, -weight, lines, low, high)
        most = _upper(question, weight, lines, low, high)
        stairs = _Stairs(question.thresholds[index], least, most)
        lines.append(stairs.hull() if question.pair is None else stairs.parallel())
    rows = np.concatenate([question.directions, question.directions.sum(axis=0, keepdims=True)])
    most = _upper(question, rows, lines, low, high)
    return not question.possible(most[None, :-1], most[-1:])[0]


def _upper(question: Question, rows: Int64, lines: list[_Lines], low: Int64, high: Int64) -> Int64:
    """Upper bounds of ``rows @ codes``: the smaller of the interval's and the lines'."""
    least, most = (lines[-1].least, lines[-1].most) if lines else (low, high)
    positive, negative = np.maximum(rows, 0), np.minimum(rows, 0)
    interval = positive @ most + negative @ least
    if not lines:
        return np.asarray(interval)
    constant: Int64 = np.zeros(len(rows), np.int64)
    bits, size = 0, 0.0
    for layer in reversed(range(len(lines))):
        line = lines[layer]
        positive, negative = np.maximum(rows, 0), np.minimum(rows, 0)
        tallest = np.maximum(abs(line.below), abs(line.above)).astype(float)
        size = size * (1 << _SHIFT) + float((np.abs(rows).astype(float) @ tallest).max())
        moved = positive @ line.above + negative @ line.below
        constant = np.asarray((constant << _SHIFT) + moved, np.int64)
        rows = np.asarray(positive * line.up + negative * line.down, np.int64)
        size = max(size, float((np.abs(rows).astype(float).sum(axis=1)).max()) * 128.0)
        if size > _SAFE:
            return np.asarray(interval)
        rows = rows @ question.weights[layer]
        bits += _SHIFT
    reach = np.maximum(abs(low), abs(high)).astype(float)
    if size + float((np.abs(rows).astype(float) @ reach).max()) > _SAFE:
        return np.asarray(interval)
    top = constant + np.maximum(rows, 0) @ high + np.minimum(rows, 0) @ low
    return np.asarray(np.minimum(interval, np.right_shift(top, bits)))  # a shift rounds down


class _Lines(NamedTuple):
    """Of each neuron: slope and offset of the lines above and below, lowest and highest code."""

    up: Int64
    above: Int64
    down: Int64
    below: Int64
    least: Int64
    most: Int64


class _Stairs:
    """Staircases over ranges of sums, by the points where a line could touch them.

    A staircase less a line is largest and smallest at the ends of a step: those points are tried.
    """

    def __init__(self, thresholds: Int64, least: Int64, most: Int64) -> None:
        ends = [least[:, None], most[:, None], thresholds, thresholds - 1]
        points = np.clip(np.concatenate(ends, axis=1), least[:, None], most[:, None])
        self._points = points
        self._codes = (points[:, :, None] >= thresholds[:, None, :]).sum(axis=2)

    def hull(self) -> _Lines:
        """Of the lines from either end through a point, those nearest in the middle."""
        points, codes = self._points, self._codes
        up = self._slopes(points - points[:, :1], codes - codes[:, :1])
        down = self._slopes(points[:, 1:2] - points, codes[:, 1:2] - codes)
        twice = points[:, :1] + points[:, 1:2]  # the middle is half of it
        above = self._rest(up).max(axis=2)
        below = self._rest(down).min(axis=2)
        highest, lowest = (
            (2 * above + up * twice).argmin(axis=1),
            (2 * below + down * twice).argmax(axis=1),
        )
        row = np.arange(len(points))
        return _Lines(
            up[row, highest], above[row, highest], down[row, lowest], below[row, lowest],
            codes[:, 0], codes[:, 1],
        )  # fmt: skip

    def parallel(self) -> _Lines:
        """Lines of one slope for both copies of a neuron, so that what they share goes out."""
        points, codes = self._points, self._codes
        slope = self._slopes(points[:, 1:2] - points[:, :1], codes[:, 1:2] - codes[:, :1])[:, 0]
        half = len(slope) // 2
        mean = (slope[:half] + slope[half:]) // 2
        slope = np.concatenate([mean, mean])
        rest = self._rest(slope[:, None])[:, 0]
        return _Lines(slope, rest.max(axis=1), slope, rest.min(axis=1), codes[:, 0], codes[:, 1])

    @staticmethod
    def _slopes(along: Int64, rise: Int64) -> Int64:
        return np.asarray((rise << _SHIFT) // np.maximum(along, 1))

    def _rest(self, slopes: Int64) -> Int64:
        """Staircase less line at every point, ``(neurons, slopes, points)``."""
        lines = slopes[:, :, None] * self._points[:, None, :]
        return np.asarray((self._codes[:, None, :] << _SHIFT) - lines)
