"""A Gymnasium task's two calls, with what it answers looked at: other people's tasks answer oddly.

Every oddity is a ``PolicyError`` of one line that names the task and what it did.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import PolicyError

_LARGEST = 1e15
"""Of a reward's magnitude: float32 holds its square, and what a critic sums up of it."""


class TaskCalls:
    """``reset`` and ``step`` of one task.

    Args:
        env: the task.
        name: how errors call it.

    Attributes:
        given: the last observation as the task gave it, in its own precision.
    """

    def __init__(self, env: gymnasium.Env, name: str) -> None:
        self._env, self._name = env, name
        self._shape = env.observation_space.shape
        self.given: Any = None

    def reset(self, seed: int | None, options: dict[str, Any] | None = None) -> np.ndarray:
        """Begin an episode; return its first observation, a float32 copy ``(n,)``."""
        answer = self._call("reset", lambda: self._env.reset(seed=seed, options=options))
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise self._error("reset() does not give an observation and a dictionary")
        return self._observation(answer[0], "reset")

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        """Apply ``action``; return observation (a float32 copy), reward, terminated, truncated."""
        answer = self._call("step", lambda: self._env.step(action))
        try:
            seen, reward, terminated, truncated, _ = answer
        except (TypeError, ValueError):
            wrong = "step() does not give observation, reward, terminated, truncated and info"
            raise self._error(wrong) from None
        return (
            self._observation(seen, "step"),
            self._reward(reward),
            self._flag(terminated, "terminated"),
            self._flag(truncated, "truncated"),
        )

    def _call(self, what: str, function: Callable[[], Any]) -> Any:
        """Return what the task answers; name the place where it raises an error of its own."""
        try:
            return function()
        except InputError:  # of a task of ours, which says what is wrong
            raise
        except Exception as error:
            raise failed(self._name, f"{what}()", error) from error

    def _observation(self, values: Any, what: str) -> np.ndarray:
        try:
            # What float32 cannot hold becomes infinite, and is refused where it is used.
            with np.errstate(over="ignore"):
                # A copy: a task may fill the same array again at its next step.
                seen = np.array(values, dtype=np.float32)
        except (TypeError, ValueError):
            raise self._error(f"{what}() gives an observation that is no numbers") from None
        if seen.shape != self._shape:
            wrong = f"{what}() gives an observation of shape {seen.shape}, its space {self._shape}"
            raise self._error(wrong)
        self.given = values
        return seen

    def _reward(self, reward: Any) -> float:
        try:
            value = float(np.asarray(reward, np.float64).item())
        except (TypeError, ValueError):
            raise self._error(f"step() gives the reward {reward!r}, no number") from None
        if np.isfinite(value) and abs(value) > _LARGEST:
            wrong = f"step() gives a reward of {value:g}, more than {_LARGEST:g}"
            raise self._error(wrong, "scale its rewards")
        return value

    def _flag(self, value: Any, name: str) -> bool:
        if isinstance(value, (bool, np.bool_)):
            return bool(value)
        try:
            flag = np.asarray(value).item()
        except ValueError:
            flag = None
        if flag in (0, 1):
            return bool(flag)
        raise self._error(f"step() gives {name} = {value!r}, neither True nor False")

    def _error(self, wrong: str, remedy: str = "mend the task, or wrap it") -> PolicyError:
        return PolicyError.at("", "task", f"{self._name}: {wrong}", remedy)


def failed(name: str, what: str, error: Exception) -> PolicyError:
    """Say which error of its own a task raised in ``what``, and on which line of its code."""
    text = " ".join(str(error).split())
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    frames = traceback.extract_tb(sys.exc_info()[2])
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return PolicyError.at("", "task", f"{name}: {what} raised {said}{where}", "mend the task")
