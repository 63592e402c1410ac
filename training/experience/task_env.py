"""The training side of a task: actions in [-1, 1] and a random state that can be restored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.sim.environment import DEFAULT_EPISODE_STEPS, Simulation


class TaskError(PolicyError):
    """A task gave a value that nothing can be learnt from."""


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
        self._episode_steps = 0
        self._last = np.zeros(self.observations, np.float32)
        self.actions = low.size

    def start(self, seed: int | None) -> NDArray[np.float32]:
        """Begin an episode; ``seed`` None continues the environment's random sequence."""
        self._episode_steps = 0
        self._last = self._finite(self._simulation.reset(seed), "observation")
        return self._last

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool]:
        """Apply an action in [-1, 1]: ``(observation, reward, terminated, truncated)``.

        The last observation of an episode that the task ended takes no part in learning, so where
        a simulation blew up and it is not finite, the one before stands in for it.

        Raises ``TaskError`` for a reward, or another observation, that is not finite.
        """
        observation, reward, terminated, truncated = self._simulation.step(
            action * self.scale + self.bias
        )
        self._episode_steps += 1
        self._finite(np.array([reward]), "reward")
        if terminated and not np.isfinite(observation).all():
            observation = self._last
        self._last = self._finite(observation, "observation")
        return observation, reward, terminated, truncated

    def _finite(self, values: NDArray[Any], what: str) -> NDArray[Any]:
        """Return ``values`` if all are finite."""
        if np.isfinite(values).all():
            return values
        index = int(np.argmin(np.isfinite(values)))
        where = f"{what}[{index}]" if what == "observation" else what
        names = self.contract.observation
        name = f" ({names[index].name})" if what == "observation" else ""
        message = (
            f"task: {self.contract.task}: {where}{name} is {values[index]} at step "
            f"{self._episode_steps} of an episode; mend the task, or end the episode there "
            "(terminated); what was saved before goes on with the same command"
        )
        raise TaskError(message)

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

    @property
    def seeded(self) -> bool:
        """Whether one seed gives one episode."""
        return self._simulation.seeded

    def random_state(self) -> dict[str, Any]:
        """State of the environment's random generator, JSON-able.

        Empty where the task draws from something that NumPy does not know.
        """
        generator = getattr(self._simulation.env.unwrapped, "np_random", None)
        if isinstance(generator, np.random.RandomState):  # of old tasks
            return _plain(generator.get_state(legacy=False))
        if isinstance(generator, np.random.Generator):
            return _plain(generator.bit_generator.state)
        return {}

    def restore_random_state(self, state: dict[str, Any]) -> None:
        """Undo ``random_state``; TypeError where ``state`` is none."""
        state = dict(state)
        self._simulation.reset(0)
        generator = getattr(self._simulation.env.unwrapped, "np_random", None)
        if not state:
            return
        if isinstance(generator, np.random.RandomState):
            generator.set_state(state)
        elif isinstance(generator, np.random.Generator):
            generator.bit_generator.state = state


def _plain(state: Any) -> dict[str, Any]:
    """Return a generator's state with its arrays as lists."""
    return {
        key: _plain(value)
        if isinstance(value, dict)
        else getattr(value, "tolist", lambda v=value: v)()
        for key, value in state.items()
    }
