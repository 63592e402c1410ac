"""An imported policy answers what its source's own runtime answers: shown, not assumed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qpolicy_ros.interchange.incoming.graph import Incoming
from qpolicy_ros.policy.baseline import FP32_TOLERANCE, baseline_actions
from qpolicy_ros.policy.model import Baseline, Float32

OBSERVATIONS = 1000


@dataclass(frozen=True)
class Equality:
    """How far apart two runtimes are.

    Attributes:
        observations: on how many.
        worst: largest difference of an output.
        largest: largest output, in magnitude.
    """

    observations: int
    worst: float
    largest: float

    @property
    def bound(self) -> float:
        """The difference that rounding may make: 1e-5, more where outputs exceed 1."""
        return FP32_TOLERANCE * max(1.0, self.largest)

    @property
    def holds(self) -> bool:
        """Whether the two are equal within ``bound``."""
        return bool(self.worst <= self.bound)


def draw(baseline: Baseline, count: int, seed: int = 0) -> Float32:
    """Observations as the policy may meet them: around its means, near and far, ``(count, n)``."""
    rng = np.random.default_rng(seed)
    spread = rng.choice([0.1, 0.5, 1.0, 2.0], (count, 1))
    wide = baseline.mean + baseline.std.astype(np.float64) * spread * rng.normal(
        size=(count, baseline.mean.size)
    )
    return wide.astype(np.float32)


def compare(incoming: Incoming, count: int = OBSERVATIONS) -> Equality:
    """Compare a source's network, as a baseline, with the source's own runtime."""
    assert incoming.network is not None
    baseline = incoming.network.baseline()
    observations = draw(baseline, count)
    theirs = incoming.run(observations)[:, : baseline.scale.size]
    ours = baseline_actions(baseline, observations)
    worst = np.abs(ours.astype(np.float64) - theirs).max(initial=0.0)
    return Equality(count, float(worst), float(np.abs(theirs).max(initial=0.0)))
