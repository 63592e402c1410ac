"""When a policy passes: a lower confidence bound of its return against the FP32 baseline's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000


@dataclass(frozen=True)
class Verdict:
    """What a rule says of a policy.

    Attributes:
        required: mean return that was asked for.
        bound: lower bound of the mean return (the paper's rule: the mean itself), less what was
            asked for; passes from 0 on.
    """

    required: float
    bound: float

    @property
    def passes(self) -> bool:
        """Whether the policy is good enough."""
        return self.bound >= 0.0


def bound_rule(
    returns: Sequence[float],
    baseline: Sequence[float],
    *,
    margin: float,
    confidence: float,
    floor: float | None = None,
) -> Verdict:
    """Judge ``returns`` against ``baseline``, both of the same environment seeds in order.

    What is asked for is the baseline's return less ``margin`` % of the magnitude of its mean, or
    ``floor``. The bound is the one-sided ``confidence`` % percentile-bootstrap bound of the mean
    difference, episodes of the same seed paired.
    """
    ours, theirs = np.asarray(returns, float), np.asarray(baseline, float)
    if floor is None:
        wanted = theirs - margin / 100 * abs(theirs.mean())
    else:
        wanted = np.full_like(ours, floor)
    return Verdict(float(wanted.mean()), lower_bound(ours - wanted, confidence))


def lower_bound(values: np.ndarray, confidence: float) -> float:
    """One-sided lower bound of the mean of ``values`` ``(n,)``, n > 1, by bootstrap."""
    rng = np.random.default_rng(0)
    means = [
        values[rng.integers(0, len(values), (RESAMPLES // 10, len(values)))].mean(axis=1)
        for _ in range(10)
    ]
    return float(np.quantile(np.concatenate(means), 1 - confidence / 100))


def paper_rule(
    returns: Sequence[float], baseline: Sequence[float], floor: float | None = None
) -> Verdict:
    """The paper's: the mean return is at least the FP32 mean less one sample SD, or ``floor``."""
    theirs = np.asarray(baseline, float)
    required = float(theirs.mean() - theirs.std(ddof=1)) if floor is None else floor
    return Verdict(required, float(np.mean(returns)) - required)
