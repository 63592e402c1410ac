"""What an off-policy algorithm is to the loop that trains it, and to a run that keeps it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from torch import Tensor

from qpolicy_training.experience.replay import Batch


class Agent(Protocol):
    """Networks, optimisers and an update rule: ``sac.Learner`` or ``ddpg.DdpgLearner``."""

    updates: int

    def explore(self, normalised: Tensor) -> np.ndarray:
        """Action in [-1, 1] with exploration, float32 ``(m,)``, for observations ``(1, n)``."""

    def update(self, batch: Batch) -> float:
        """One gradient update on normalised transitions; returns the critic loss."""

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resume needs."""

    def restore(self, tensors: dict[str, Tensor], updates: int) -> None:
        """Undo ``tensors``."""

    def scalars(self) -> dict[str, float]:
        """What is worth logging beside the loss."""
