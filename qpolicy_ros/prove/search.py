"""Looking for a yes by random inputs and by climbing: the refuter."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy.model import Int64
from qpolicy_ros.prove.branch import OPEN, YES, Outcome
from qpolicy_ros.prove.question import Question

_CROWD = 256
_CLIMBERS = 8


def search(
    question: Question, seconds: float, seed: int = 1, starts: npt.NDArray[Any] | None = None
) -> Outcome:
    """Random inputs, ends of the box and ``starts``; the best of them climb, value by value.

    Args:
        question: to be answered with yes, if it can be.
        seconds: processor time of this thread.
        seed: of the random numbers.
        starts: inputs to begin from, ``(rows, N)``.

    Returns:
        ``yes``, or ``open`` with the input that came nearest.
    """
    rng = np.random.default_rng(seed)
    end = time.thread_time() + seconds
    looked, top, champion = 0, -np.inf, None
    while True:
        crowd = _crowd(question, rng, starts)
        starts = None
        crowd, good = question.project(crowd)
        looked += len(crowd)
        margins = np.where(good, question.margins(crowd), -np.inf)
        best = np.argsort(-margins)[:_CLIMBERS]
        crowd, margins = crowd[best], margins[best]
        while True:
            if margins[0] >= 0:
                return Outcome(YES, crowd[0], work=f"{looked} inputs tried")
            if margins[0] > top:
                top, champion = margins[0], crowd[0]
            if time.thread_time() > end:
                return Outcome(OPEN, champion, work=f"{looked} inputs tried")
            steps, good = question.project(_steps(question, rng, crowd))
            looked += len(steps)
            values = np.where(good, question.margins(steps), -np.inf)
            values = values.reshape(len(crowd), -1)
            pick = values.argmax(axis=1)
            found = values[np.arange(len(crowd)), pick]
            better = found > margins
            if not better.any():
                break
            chosen = steps.reshape(len(crowd), values.shape[1], -1)[np.arange(len(crowd)), pick]
            crowd = np.where(better[:, None], chosen, crowd)
            margins = np.where(better, found, margins)
            order = np.argsort(-margins)
            crowd, margins = crowd[order], margins[order]


def _crowd(question: Question, rng: np.random.Generator, starts: npt.NDArray[Any] | None) -> Int64:
    """Random inputs, half of them at ends of the box, and what one begins from."""
    low, high = question.low, question.high
    crowd = rng.integers(low, high + 1, (_CROWD, len(low)))
    ends = rng.random(crowd.shape) < rng.random((_CROWD, 1))
    crowd = np.where(ends, np.where(rng.random(crowd.shape) < 0.5, low, high), crowd)
    if starts is not None:
        crowd = np.concatenate([starts, crowd])
    return np.asarray(crowd, np.int64)


def _steps(question: Question, rng: np.random.Generator, crowd: Int64) -> Int64:
    """For each climber: each value to either end, one code off, or anywhere; and two at once."""
    inputs = len(question.low)
    movable = np.nonzero(question.high > question.low)[0]
    if len(movable) > 64:  # as many inputs as a robot with hundreds of values has: a sample
        movable = rng.choice(movable, 64, replace=False)
    rows = np.repeat(crowd[:, None], 6 * len(movable), axis=1)
    for kind in range(6):
        at = slice(kind * len(movable), (kind + 1) * len(movable))
        block = rows[:, at]
        k = np.arange(len(movable))
        anywhere = rng.integers(question.low[movable], question.high[movable] + 1, block.shape[:2])
        new = (
            np.broadcast_to(question.low[movable], anywhere.shape),
            np.broadcast_to(question.high[movable], anywhere.shape),
            block[:, k, movable] - 1,
            block[:, k, movable] + 1,
            anywhere,
            anywhere,
        )[kind]
        block[:, k, movable] = new
        if kind == 5 and len(movable) > 1:
            other = np.roll(movable, int(rng.integers(1, len(movable))))
            ends = np.where(
                rng.random(anywhere.shape) < 0.5, question.low[other], question.high[other]
            )
            block[:, k, other] = ends
        rows[:, at] = block
    return np.asarray(rows.reshape(-1, inputs), np.int64)
