"""Replay buffer in a memory-mapped file, so that a full checkpoint costs only a flush."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qpolicy_ros.policy import PolicyError


class Batch(NamedTuple):
    """Transitions: observations ``(b, n)``, actions ``(b, m)`` in [-1, 1], the rest ``(b,)``."""

    observation: Tensor
    action: Tensor
    reward: Tensor
    next_observation: Tensor
    terminated: Tensor


class ReplayBuffer:
    """Transitions in one float32 row each: observation, action, next observation, reward, end.

    One row is one gather per sample. The capacity is the number of steps of the run, so no row is
    ever overwritten and a checkpoint needs only the row count: rows behind it are written again
    after a resume.
    """

    def __init__(self, path: Path, capacity: int, observations: int, actions: int) -> None:
        self._n, self._m = observations, actions
        width = 2 * observations + actions + 2
        size = 4 * width * capacity
        # A file of this run's size was reserved by an earlier process: its rows may be resumed.
        self._reused = path.exists() and path.stat().st_size == size
        try:
            with path.open("a+b") as file:
                # Reserve the space now: a memory-mapped write to a full disk kills the process.
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            message = (
                f"{path}: replay buffer: cannot reserve {size / 2**20:.0f} MiB "
                f"({error.strerror}); free space or point QPOLICY_RUNS at another disk"
            )
            raise PolicyError(message) from None
        self._file = np.memmap(path, np.float32, "r+", shape=(capacity, width))
        self._rows = np.asarray(self._file)  # a memmap's views cost more than what they show
        self.size = 0

    def add(
        self,
        observation: NDArray[np.float32],
        action: NDArray[np.float32],
        next_observation: NDArray[np.float32],
        reward: float,
        terminated: bool,
    ) -> None:
        """Append one transition."""
        row = self._rows[self.size]
        n, m = self._n, self._m
        row[:n] = observation
        row[n : n + m] = action
        row[n + m : 2 * n + m] = next_observation
        row[-2] = reward
        row[-1] = terminated
        self.size += 1

    def sample(self, count: int, rng: np.random.Generator) -> Batch:
        """Draw ``count`` transitions uniformly, with replacement."""
        drawn = rng.integers(0, self.size, count)
        rows = torch.from_numpy(self._rows.take(drawn, axis=0, mode="clip"))
        n, m = self._n, self._m
        return Batch(
            observation=rows[:, :n],
            action=rows[:, n : n + m],
            next_observation=rows[:, n + m : 2 * n + m],
            reward=rows[:, -2],
            terminated=rows[:, -1],
        )

    def holds(self, rows: int) -> bool:
        """Whether the file already held ``rows`` transitions when it was opened."""
        return self._reused and bool(rows == 0 or np.any(self._rows[rows - 1]))

    def observations(self) -> NDArray[np.float32]:
        """All stored observations, a view ``(size, n)``."""
        return self._rows[: self.size, : self._n]

    def flush(self) -> None:
        """Write dirty pages to disk."""
        self._file.flush()
