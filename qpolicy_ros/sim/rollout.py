"""Episodes played offline, one observation at a time, exactly as the ROS nodes play them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.sim.environment import DEFAULT_EPISODE_STEPS, Simulated, Simulation

Policy = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Episode:
    """One finished episode.

    Attributes:
        return_: sum of the rewards as Python floats in step order.
        length: control steps played.
        terminated: the task ended it (a fall); False where time ran out.
        fault: why it failed: the joint whose physics blew up; empty if it did not.
    """

    return_: float
    length: int
    terminated: bool = False
    fault: str = ""


def rollout(policy: Policy, simulation: Simulated, seed: int) -> Episode:
    """Play the episode of ``seed`` with ``policy``: float32 (n,) -> float32 (m,).

    Raises:
        PolicyError: the task has no step limit, so the episode might never end.
    """
    if simulation.step_limit is None:
        raise PolicyError(
            f"task: {simulation.contract.task} has no step limit; give max_episode_steps"
        )
    observation = simulation.reset(seed)
    total, length = 0.0, 0
    terminated = truncated = False
    while not (terminated or truncated):
        observation, reward, terminated, truncated = simulation.step(policy(observation))
        total += reward
        length += 1
    return Episode(total, length, terminated, simulation.fault)


def spread(returns: Sequence[float]) -> float:
    """Return the sample standard deviation of ``returns``; 0 for a single episode.

    NaN where one is not finite: a robot without a task has no reward.
    """
    if not all(map(math.isfinite, returns)):
        return math.nan  # statistics.stdev would fail
    return statistics.stdev(returns) if len(returns) > 1 else 0.0


def evaluate(
    policy: Policy,
    task: str,
    episodes: int,
    seed: int,
    *,
    progress: Callable[[Episode], object] | None = None,
    max_episode_steps: int | None = None,
) -> list[float]:
    """Play ``episodes`` episodes in a new environment, number i from ``reset(seed + i)``.

    Args:
        policy: float32 observation (n,) -> float32 action (m,).
        task: as for :class:`Simulation`.
        episodes: how many.
        seed: seed of the first episode.
        progress: called with each finished episode.
        max_episode_steps: shorter episodes than the task's own; a task without a limit gets one
            of ``DEFAULT_EPISODE_STEPS``.

    Returns:
        The undiscounted return of each episode.

    Raises:
        PolicyError: the physics of an episode blew up; the text names seed, step and joint.
    """
    simulation = Simulation(task, max_episode_steps=max_episode_steps)
    if simulation.step_limit is None:
        simulation.close()
        simulation = Simulation(task, max_episode_steps=DEFAULT_EPISODE_STEPS)
    try:
        returns = []
        for index in range(episodes):
            episode = rollout(policy, simulation, seed + index)
            if episode.fault:
                where = f"episode of seed {seed + index}, step {episode.length}"
                raise PolicyError(f"{task}: {where}: {episode.fault}")
            returns.append(episode.return_)
            if progress is not None:
                progress(episode)
        return returns
    finally:
        simulation.close()
