"""Interquartile means and their bootstrap intervals, as rliable recommends for few seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
RESAMPLES = 2000


class Estimate(NamedTuple):
    """A figure of ``runs`` runs and its bootstrap interval at :data:`LEVEL`."""

    value: float
    low: float
    high: float
    runs: int

    def __str__(self) -> str:
        """The figure with its interval, as in the tables."""
        return f"{self.value:,.0f} [{self.low:,.0f}, {self.high:,.0f}]"


def interquartile_mean(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Mean of the middle half along the last axis: a quarter is cut at each end, rounded down."""
    ordered = np.sort(np.asarray(values, np.float64), axis=-1)
    count = ordered.shape[-1]
    cut = count // 4
    return np.asarray(ordered[..., cut : count - cut].mean(axis=-1))


def estimate(groups: Sequence[Sequence[float]], seed: int = 0) -> Estimate:
    """Return the interquartile mean over all runs of all groups.

    Runs are drawn anew within their group (a task), so that each draw has every task as often.

    Args:
        groups: returns, one sequence a task; one group for a single task.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    arrays = [np.asarray(group, np.float64) for group in groups if len(group)]
    drawn = [
        array[generator.integers(len(array), size=(RESAMPLES, len(array)))] for array in arrays
    ]
    draws = interquartile_mean(np.concatenate(drawn, axis=1))
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    everything = np.concatenate(arrays)
    return Estimate(float(interquartile_mean(everything)), float(low), float(high), len(everything))
