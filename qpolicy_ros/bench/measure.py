"""Timing several subjects in turn, so that a busy moment of the machine hits them all."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Block = Callable[[int], list[int]]  # number of calls -> duration of each, ns


class DisagreementError(RuntimeError):
    """A subject does not compute what it is timed for; the text is one line."""


@dataclass(frozen=True)
class Latency:
    """Durations of one subject, µs.

    Attributes:
        p50, p99: over all calls.
        low, high: quartiles of the rounds' medians, which tell how far ``p50`` can be trusted.
        calls: how many.
    """

    p50: float
    p99: float
    low: float
    high: float
    calls: int


def summary(rounds: npt.NDArray[np.int64]) -> Latency:
    """Return the figures of durations in ns, shape (rounds, calls)."""
    p50, p99 = np.quantile(rounds, (0.5, 0.99)) / 1e3
    low, high = np.quantile(np.median(rounds, axis=1), (0.25, 0.75)) / 1e3
    return Latency(float(p50), float(p99), float(low), float(high), rounds.size)


def interleave(
    subjects: Mapping[str, Block],
    rounds: int,
    calls: int,
    *,
    seed: int = 0,
    progress: Callable[[int], object] | None = None,
) -> dict[str, npt.NDArray[np.int64]]:
    """Run one block of every subject in each round, in an order shuffled anew.

    Args:
        subjects: what runs a block, by name.
        rounds: how many.
        calls: calls a block that count; a tenth more come before, to warm up.
        seed: of the order.
        progress: called with the number of each finished round.

    Returns:
        Durations by name, ns, shape (rounds, calls).
    """
    durations = {name: np.empty((rounds, calls), np.int64) for name in subjects}
    order = list(subjects)
    shuffle = random.Random(seed).shuffle  # noqa: S311  no secrets here
    warm_up = max(1, calls // 10)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for index in range(rounds):
            shuffle(order)
            for name in order:
                durations[name][index] = subjects[name](warm_up + calls)[warm_up:]
            if progress is not None:
                progress(index + 1)
    finally:
        if collecting:
            gc.enable()
    return durations


def calling(function: Callable[[np.ndarray], object], observations: np.ndarray) -> Block:
    """Return a block that calls ``function`` with one observation after another.

    Args:
        function: float32 (n,) -> anything.
        observations: float32 (k, n), taken in turn.
    """
    rows = list(observations)

    def block(calls: int) -> list[int]:
        clock, durations = time.perf_counter_ns, []
        for index in range(calls):
            row = rows[index % len(rows)]
            start = clock()
            function(row)
            durations.append(clock() - start)
        return durations

    return block
