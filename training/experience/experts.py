"""Who says what would be right: a policy, or a teacher that remembers, one for each robot."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qpolicy_ros.interchange.incoming.opaque import load_teacher
from qpolicy_ros.policy import Contract, PolicyArtifact
from qpolicy_ros.policy.baseline import baseline_actions

Float32 = NDArray[np.float32]


class Expert(Protocol):
    """Answers the observations of several robots, tick by tick.

    Attributes:
        contract: what it sees and drives.
        digest: names it.
    """

    contract: Contract
    digest: str

    def restart(self, robot: int) -> None:
        """Forget what robot number ``robot`` did: its next observation is an episode's first."""

    def __call__(self, observations: Float32) -> Float32:
        """Actions ``(robots, m)`` for the observations ``(robots, n)`` of one tick."""


class PolicyExpert:
    """A policy file's FP32 network, which remembers nothing."""

    def __init__(self, artifact: PolicyArtifact) -> None:
        self.contract, self.digest = artifact.contract, artifact.function_hash
        self._baseline = artifact.baseline

    def restart(self, robot: int) -> None:
        """Forget nothing: nothing is kept."""

    def __call__(self, observations: Float32) -> Float32:
        """Actions for the observations ``(robots, n)``."""
        return baseline_actions(self._baseline, observations)


class RememberingExpert:
    """A teacher's file (`import --teacher-only`), opened once a robot: each has its own memory.

    Args:
        path: of the teacher's file.
        robots: how many.
    """

    def __init__(self, path: Path, robots: int) -> None:
        self._teachers = [load_teacher(path) for _ in range(robots)]
        self.contract, self.digest = self._teachers[0].contract, self._teachers[0].digest

    def restart(self, robot: int) -> None:
        """Forget what robot number ``robot`` did."""
        self._teachers[robot].reset()

    def __call__(self, observations: Float32) -> Float32:
        """Actions for the observations ``(robots, n)``, each of the tick after the last."""
        pairs = zip(self._teachers, observations, strict=True)
        return np.array([teacher.act(row) for teacher, row in pairs], np.float32)
