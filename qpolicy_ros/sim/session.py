"""Episodes one after another, one control step at a time, for a caller that drives the steps."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from qpolicy_ros.sim.environment import Simulated


class Result(NamedTuple):
    """A finished episode.

    Attributes:
        return_: sum of rewards, added in step order; NaN for a robot without a task.
        length: control steps.
        seed: what the episode was reset with.
        terminated: the task ended it, not the time limit.
        missed: steps that had to use an action that answers an older observation.
        velocity: mean forward, left (m/s) and turning (rad/s) of a robot; NaN of anything else.
        fault: why the episode failed: the joint whose physics blew up; empty if it did not.
    """

    return_: float
    length: int
    seed: int
    terminated: bool
    missed: int
    velocity: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    fault: str = ""


class Session:
    """Plays the episodes of ``seed``, ``seed + 1``, …; the sums are those of ``rollout``.

    Args:
        simulation: what is played.
        seed: of the first episode.

    Attributes:
        observation: float32 (n,) to be answered next.
        seed: of the running episode.
        results: the finished episodes.
    """

    def __init__(self, simulation: Simulated, seed: int) -> None:
        self.simulation = simulation
        self.results: list[Result] = []
        self.seed = seed - 1
        self.next_episode()

    def next_episode(self) -> None:
        """Leave the running episode and reset with the next seed."""
        self.seed += 1
        self._return, self._length, self._missed = 0.0, 0, 0
        self.observation: npt.NDArray[np.float32] = self.simulation.reset(self.seed)

    def step(self, action: npt.NDArray[np.float32], *, missed: bool = False) -> Result | None:
        """Apply ``action`` (m,) for one control period; return the result of a finished episode.

        After the last step of an episode the next one has been started.
        """
        self.observation, reward, terminated, truncated = self.simulation.step(action)
        self._return += reward
        self._length += 1
        self._missed += missed
        if not (terminated or truncated):
            return None
        result = Result(
            self._return,
            self._length,
            self.seed,
            terminated,
            self._missed,
            self._velocity(),
            self.simulation.fault,
        )
        self.results.append(result)
        self.next_episode()
        return result

    def _velocity(self) -> tuple[float, float, float]:
        mean = getattr(self.simulation, "mean_velocity", None)
        if mean is None:
            return (math.nan, math.nan, math.nan)
        forward, left, turning = (float(value) for value in mean)
        return forward, left, turning
