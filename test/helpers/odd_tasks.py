"""A point on a line as a Gymnasium task, with one oddity that people's own tasks have."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

ODD_STEP = 330  # of the task's life: when a value is not finite


class Point(gymnasium.Env):
    """Two actions, the first one pushes; the reward is 1 minus the distance to 0."""

    metadata = {"render_fps": 20}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None, odd: str = "") -> None:
        del render_mode
        self.odd = odd
        self.observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        if odd == "float64 limits":
            self.action_space = spaces.Box(-0.1, 0.1, (2,), np.float64)
        if odd == "fixed action":
            low, high = np.array([-1, 0.5], np.float32), np.array([1, 0.5], np.float32)
            self.action_space = spaces.Box(low, high)
        if odd == "own attributes":
            self.model, self.data, self.contract = {"mass": 1.0}, [1, 2], "ESZ4"
            self.dt = "fast"
        self._kept = np.zeros(4, np.float32)
        self.total = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        del options
        super().reset(seed=seed)
        self.x, self.v, self.t = self.np_random.uniform(-1, 1), 0.0, 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert np.isfinite(action).all(), "the task was given an action that is not finite"
        if self.odd == "float64 limits":
            assert self.action_space.contains(np.asarray(action, np.float64)), action
        if self.odd == "action written over":
            action *= 0.5
        self.t, self.total = self.t + 1, self.total + 1
        self.v = 0.9 * self.v + 0.1 * float(action[0])
        self.x += 0.1 * self.v
        reward = 1.0 - abs(self.x)
        now = self.total == ODD_STEP
        if now and self.odd == "reward nan":
            reward = np.nan
        observation = self._observe()
        if now and self.odd in ("terminal nan", "observation nan"):
            observation[1] = np.nan
        return observation, reward, bool(now and self.odd == "terminal nan"), False, {}

    def _observe(self) -> np.ndarray:
        values = np.array([self.x, self.v, np.sin(self.t), 1.0], np.float32)
        if self.odd == "tiny":
            values *= 1e-6
        if self.odd == "huge":
            values[3] = 3e38
        if self.odd == "same array":
            self._kept[:] = values
            return self._kept
        return values


class NoRenderMode(Point):
    def __init__(self) -> None:
        super().__init__()


ODDITIES = (
    "", "float64 limits", "fixed action", "own attributes", "action written over", "reward nan",
    "terminal nan", "observation nan", "tiny", "same array", "huge",
)  # fmt: skip


def task(odd: str = "", *, limit: bool = True, namespace: str = "") -> str:
    """Register the task with this oddity; return its id."""
    name = f"{namespace}Odd{''.join(word.title() for word in odd.split())}-v0"
    if not limit:
        name = name.replace("-v0", "NoLimit-v0")
    if name not in gymnasium.registry:
        entry, kwargs = (NoRenderMode, {}) if odd == "no render mode" else (Point, {"odd": odd})
        steps = {"max_episode_steps": 50} if limit else {}
        gymnasium.register(name, entry_point=entry, kwargs=kwargs, **steps)
    return name
