"""Returns under Gaussian noise on the normalised observation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qpolicy_ros.sim import Simulation
from qpolicy_ros.sim.rollout import Policy, rollout

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Noisy:
    """A policy that sees its observations through noise.

    Attributes:
        policy: float32 observation (n,) -> float32 action (m,).
        std: what the normalisation divides by, float32 (n,); noise of ``sigma`` is ``sigma * std``
            on the raw observation.
        sigma: standard deviation of the noise on the normalised observation.
        generator: draws it.
    """

    policy: Policy
    std: npt.NDArray[np.float32]
    sigma: float
    generator: np.random.Generator

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Answer a disturbed observation; with ``sigma`` 0 the observation itself."""
        if not self.sigma:
            return self.policy(observation)
        drawn = self.generator.standard_normal(len(self.std)).astype(np.float32)
        return self.policy(observation + np.float32(self.sigma) * self.std * drawn)


def returns_under_noise(
    policy: Policy,
    std: npt.NDArray[np.float32],
    task: str,
    sigma: float,
    episodes: int,
    seed: int,
    done: Callable[[float], object] = lambda _: None,
) -> list[float]:
    """Play ``episodes`` episodes from ``reset(seed + i)``.

    Episode i draws the same noise whoever plays it, so that policies are compared on equal terms.
    """
    simulation = Simulation(task)
    try:
        found = []
        for index in range(seed, seed + episodes):
            noisy = Noisy(policy, std, sigma, np.random.default_rng(index))
            found.append(rollout(noisy, simulation, index).return_)
            done(found[-1])
        return found
    finally:
        simulation.close()


def interval(returns: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval of the mean over episodes, at :data:`LEVEL`."""
    values = np.asarray(returns)
    generator = np.random.default_rng(seed)
    draws = values[generator.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
