"""What is played with a finished policy before it is saved: its returns and golden observations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from qpolicy_ros.sim.environment import Simulation
from qpolicy_ros.sim.rollout import Policy, evaluate
from qpolicy_training.runs.provenance import returns_summary

if TYPE_CHECKING:
    from qpolicy_ros.backends import Backend

GOLDEN_SEED = 3_000_000
GOLDEN_COUNT = 32
GOLDEN_STRIDE = 7
EVALUATION_SEED = 0


def golden_observations(policy: Policy, task: str) -> np.ndarray:
    """Observations for an artifact's golden vectors, float32 ``(32, n)``.

    Half are visited in closed loop, a quarter are those times ten (inputs that clip), the rest are
    zeros and steps of either sign.
    """
    simulation = Simulation(task)
    observation = simulation.reset(GOLDEN_SEED)
    visited = []
    for index in range(GOLDEN_COUNT // 2 * GOLDEN_STRIDE):
        if index % GOLDEN_STRIDE == 0:
            visited.append(observation)
        observation, _, terminated, truncated = simulation.step(policy(observation))
        if terminated or truncated:
            observation = simulation.reset(GOLDEN_SEED + index + 1)
    simulation.close()
    path = np.stack(visited)
    quarter = GOLDEN_COUNT // 4
    levels = np.linspace(-2.0, 2.0, quarter)[:, None] * np.ones_like(path[:1])
    golden = np.concatenate((path, 10.0 * path[:quarter].astype(np.float64), levels))
    largest = float(np.finfo(np.float32).max)
    rounded: np.ndarray = np.clip(golden, -largest, largest).astype(np.float32)
    return rounded


def measured_returns(backend: Backend, task: str, episodes: int) -> dict[str, Any]:
    """Play ``episodes`` episodes from seed 0 through ``backend``, one observation at a time."""
    with tqdm(total=episodes, unit="episode", desc=f"evaluate {backend.name}") as progress:
        returns = evaluate(
            backend.act, task, episodes, EVALUATION_SEED, progress=lambda _: progress.update()
        )
    return returns_summary(returns, seed=EVALUATION_SEED, backend=backend.name)
