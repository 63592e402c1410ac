"""Running mean and standard deviation of observations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STD_FLOOR = 1e-3
CLIP = 10.0
_SETTLED = 100  # observations before anything is said of how they vary


class RunningNormaliser:
    """Welford's running mean and variance of ``n`` observation values.

    ``normalised = clip((x - mean) / std, -CLIP, CLIP)``. Frozen for evaluation simply by not
    calling ``update``; the integer export folds the same mean and std into its input gain.
    """

    def __init__(self, size: int) -> None:
        self.frozen = False
        self.count = 0
        self._mean = np.zeros(size)
        self._m2 = np.zeros(size)
        self.mean = np.zeros(size, np.float32)
        self.std = np.ones(size, np.float32)

    @classmethod
    def fixed(cls, mean: NDArray[np.float32], std: NDArray[np.float32]) -> RunningNormaliser:
        """A normaliser that stays at ``mean`` and ``std``, both float32 ``(n,)``."""
        normaliser = cls(mean.size)
        normaliser.frozen = True
        normaliser.mean, normaliser.std = mean.copy(), std.copy()
        return normaliser

    def update(self, observation: NDArray[np.float32]) -> None:
        """Add one observation of shape ``(n,)``; no effect where the statistics are fixed."""
        if self.frozen:
            return
        self.count += 1
        delta = observation - self._mean
        self._mean += delta / self.count
        self._m2 += delta * (observation - self._mean)
        self.mean = self._mean.astype(np.float32)
        if self.count > 1:
            std = np.sqrt(self._m2 / self.count)
            self.std = np.maximum(std, STD_FLOOR).astype(np.float32)

    def blind(self) -> list[int]:
        """Indices of observations that vary, but by less than ``STD_FLOOR``.

        They are divided by the floor, so they stay near zero and a policy hardly sees them.
        """
        if self.frozen or self.count < _SETTLED:
            return []
        std = np.sqrt(self._m2 / self.count)
        # What rounding makes of a constant is no variation.
        varies = std > 1e-6 * np.abs(self._mean)
        return np.flatnonzero(varies & (std > 0) & (std < STD_FLOOR)).tolist()

    def __call__(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalise ``(n,)`` or ``(batch, n)`` observations, float32."""
        return np.clip((observations - self.mean) / self.std, -CLIP, CLIP)

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Arrays that restore this object exactly."""
        return {"count": np.array(self.count, np.float64), "mean": self._mean, "m2": self._m2}

    def restore(self, state: dict[str, NDArray[np.float64]]) -> None:
        """Undo ``state``; no effect where the statistics are fixed."""
        if self.frozen:
            return
        self.count = int(state["count"])
        self._mean = state["mean"].copy()
        self._m2 = state["m2"].copy()
        self.mean = self._mean.astype(np.float32)
        if self.count > 1:
            std = np.sqrt(self._m2 / self.count)
            self.std = np.maximum(std, STD_FLOOR).astype(np.float32)
