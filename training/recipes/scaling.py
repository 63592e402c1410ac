"""What stands before and behind a student of somebody else's policy, taken from data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from qpolicy_ros.policy import Contract
from qpolicy_training.experience.normaliser import CLIP

_CONSTANT = 1e-4  # standard deviation below which a channel says nothing
_SPARE = 1.5  # the student's range over the range that the teacher uses
_LEAST = 0.1  # of the typical joint's range
_INSIDE = 0.99  # actions beyond this share of the range ask tanh for the impossible


@dataclass(frozen=True)
class Scaling:
    """Normalisation of observations, and the range of the actions.

    ``mean`` and ``std`` are float32 ``(n,)``; ``action = tanh(u) * action_scale + action_bias``,
    float32 ``(m,)`` each.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    action_scale: NDArray[np.float32]
    action_bias: NDArray[np.float32]

    @classmethod
    def of(
        cls, observations: NDArray[np.float32], actions: NDArray[np.float32], contract: Contract
    ) -> Scaling:
        """Of what a teacher sees ``(N, n)`` and does ``(N, m)``.

        The range is half again as wide as what the teacher uses: 8 output bits are spent where
        its actions are, not on limits that it never comes near.
        """
        std = observations.std(axis=0, dtype=np.float64)
        low, high = np.percentile(actions, (0.1, 99.9), axis=0)
        reach = (high - low) / 2 * _SPARE
        reach = np.maximum(reach, _LEAST * np.median(reach))
        reach = np.maximum(reach, 1e-3)
        centre = np.clip((low + high) / 2, contract.low, contract.high)
        return cls(
            observations.mean(axis=0, dtype=np.float64).astype(np.float32),
            np.where(std > _CONSTANT, std, 1.0).astype(np.float32),
            reach.astype(np.float32),
            centre.astype(np.float32),
        )

    def inputs(self, observations: NDArray[np.float32]) -> torch.Tensor:
        """Normalise ``(N, n)``."""
        return torch.from_numpy(np.clip((observations - self.mean) / self.std, -CLIP, CLIP))

    def targets(self, actions: NDArray[np.float32]) -> torch.Tensor:
        """Return actions ``(N, m)`` as shares of their range, within (-1, 1)."""
        shares = (actions - self.action_bias) / self.action_scale
        return torch.from_numpy(np.clip(shares, -_INSIDE, _INSIDE))

    def actions(self, shares: NDArray[np.float32]) -> NDArray[np.float32]:
        """Undo ``targets``."""
        return shares * self.action_scale + self.action_bias
