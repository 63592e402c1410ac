"""The training side of a task: actions in [-1, 1] and a random state that can be restored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.sim.environment import Simulation

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT_EPISODE_STEPS = 1000


class TrainingEnv:
    """One simulation whose actions are scaled from ``[-1, 1]`` to the task's limits.

    ``action * scale + bias`` is the same affine map that the policy artifact stores. Tasks without
    a time limit get one of ``DEFAULT_EPISODE_STEPS``: checkpoints are taken between episodes.
    """

    def __init__(self, task: str) -> None:
        simulation = Simulation(task)
        if simulation.step_limit is None:
            simulation.close()
            simulation = Simulation(task, max_episode_steps=DEFAULT_EPISODE_STEPS)
        self._simulation = simulation
        self.contract = simulation.contract
        low = np.array([channel.low for channel in self.contract.action])
        high = np.array([channel.high for channel in self.contract.action])
        self.scale = ((high - low) / 2).astype(np.float32)
        self.bias = ((high + low) / 2).astype(np.float32)
        self.observations = len(self.contract.observation)
        self.actions = low.size

    def start(self, seed: int | None) -> NDArray[np.float32]:
        """Begin an episode; ``seed`` None continues the environment's random sequence."""
        observation, _ = self._simulation.env.reset(seed=seed)
        return np.asarray(observation, np.float32)

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool]:
        """Apply an action in [-1, 1]: ``(observation, reward, terminated, truncated)``."""
        observation, reward, terminated, truncated = self._simulation.step(
            action * self.scale + self.bias
        )
        return observation, reward, terminated, truncated

    def expert(self) -> NDArray[np.float32]:
        """What the task's scripted controller would do now, in [-1, 1].

        Raises ``PolicyError`` for a task without one.
        """
        guide = getattr(self._simulation.env.unwrapped, "guide", None)
        if guide is None:
            message = f"task: {self.contract.task} has no scripted controller; train it by RL"
            raise PolicyError(message)
        scaled: NDArray[np.float32] = ((guide() - self.bias) / self.scale).astype(np.float32)
        return scaled

    def random_state(self) -> dict[str, Any]:
        """State of the environment's random generator, JSON-able."""
        return dict(self._simulation.env.unwrapped.np_random.bit_generator.state)

    def restore_random_state(self, state: dict[str, Any]) -> None:
        """Undo ``random_state``."""
        self._simulation.env.reset(seed=0)
        self._simulation.env.unwrapped.np_random.bit_generator.state = state
