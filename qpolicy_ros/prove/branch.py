"""Branch and bound over boxes of input codes: the first way to decide a question."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from qpolicy_ros.policy.model import Int64
from qpolicy_ros.prove.linear import Bounder
from qpolicy_ros.prove.question import Question

YES, NO, OPEN = "yes", "no", "open"
_MOST_BOXES = 200_000


@dataclass(frozen=True)
class Outcome:
    """What a way of deciding found.

    Attributes:
        answer: ``yes``, ``no`` or ``open``.
        witness: an input that is a yes, int64 ``(N,)``.
        most: upper bounds of each direction that are proven, where the way gives any.
        work: how much was done, in words.
        tree: the splits, for a checker (``check.check_tree``).
    """

    answer: str
    witness: Int64 | None = None
    most: tuple[int, ...] | None = None
    work: str = ""
    tree: BoxTree | None = None


@dataclass(frozen=True, eq=False)
class BoxTree:
    """Splits of a box, node by node; node 0 is the whole.

    Attributes:
        axis: which input a node is split at, -1 for a leaf, ``(nodes,)``.
        cut: the last code of the left child.
        child: number of the left child; the right one follows it.
    """

    axis: Int64
    cut: Int64
    child: Int64


def branch(question: Question, seconds: float) -> Outcome:
    """Decide by splitting boxes until each is proven, a yes is met or the time is over.

    Args:
        question: to be decided.
        seconds: processor time of this thread.
    """
    bounder = Bounder(question)
    end = time.thread_time() + seconds
    low, high = question.low[None], question.high[None]
    score, node = np.full(1, np.inf), np.zeros(1, np.int64)
    splits: list[tuple[Any, Any]] = []
    least = question.bounds.sum(axis=1).min()
    nodes, done, root = 1, 0, None
    while len(low):
        if time.thread_time() > end or len(low) > _MOST_BOXES:
            return Outcome(OPEN, None, root, f"{done} boxes, {len(low)} left")
        pick = np.argpartition(-score, min(bounder.batch, len(low)) - 1)[: bounder.batch]
        rest = np.ones(len(low), bool)
        rest[pick] = False
        some_low, some_high, at = low[pick], high[pick], node[pick]
        low, high, score, node = low[rest], high[rest], score[rest], node[rest]
        done += len(pick)
        # Boxes in which no first observation has a partner hold nothing: leaves.
        some_low, some_high, full = question.tighten(some_low, some_high)
        some_low, some_high, at = some_low[full], some_high[full], at[full]
        if not len(at):
            continue
        bounds = bounder.bounds(some_low, some_high)
        if root is None:
            root = tuple(int(value) for value in bounds.most.max(axis=0))
        left = question.possible(bounds.most, bounds.together)
        # The corner where the line is highest may be a yes itself.
        corner = np.where(bounds.coefficients > 0, some_high, some_low)[left]
        corner, good = question.project(corner)
        met = good & (question.margins(corner) >= 0) if len(corner) else good
        if met.any():
            return Outcome(YES, corner[int(np.argmax(met))], root, f"{done} boxes")
        width = some_high - some_low
        # A single point is decided by its value, just now: a leaf.
        left &= width.sum(axis=1) > 0
        if not left.any():
            continue
        some_low, some_high, width, at = some_low[left], some_high[left], width[left], at[left]
        weight = bounds.weight[left] * width + 1e-9 * width
        axis, row = np.argmax(weight, axis=1), np.arange(len(width))
        middle = (some_low[row, axis] + some_high[row, axis]) // 2
        left_high, right_low = some_high.copy(), some_low.copy()
        left_high[row, axis] = middle
        right_low[row, axis] = middle + 1
        child = nodes + 2 * row
        nodes += 2 * len(row)
        splits.append((at, np.stack([axis, middle, child])))
        value = bounds.together[left] - least
        low = np.concatenate([low, some_low, right_low])
        high = np.concatenate([high, left_high, some_high])
        node = np.concatenate([node, child, child + 1])
        score = np.concatenate([score, value, value])
    table = np.full((3, nodes), -1, np.int64)
    for at, columns in splits:
        table[:, at] = columns
    return Outcome(NO, None, root, f"{done} boxes", BoxTree(*table))
