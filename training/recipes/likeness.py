"""How alike two policies walk: what a student of a policy without a reward is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qpolicy_ros.sim.likeness import CLOSE, COMMANDS

Walked: TypeAlias = tuple[NDArray[np.bool_], NDArray[np.float64]]

SECONDS = 10.0
HELD_OUT_SEED, HELD_OUT_WALKS, FINAL_SEED = 1_000_000, 4, 2_000_000


def judged_commands(ranges: NDArray[np.float64]) -> list[tuple[float, ...]]:
    """Return the commands to judge at, within a policy's ranges ``(3, 2)``, each once."""
    low, high = ranges.T
    clipped = [tuple(np.clip(command, low, high).tolist()) for command in COMMANDS]
    return list(dict.fromkeys(clipped))


def judging_seeds(walks: int, *, final: bool) -> range:
    """Return the seeds of the walks: fresh ones at the end, a few others on the way."""
    first = FINAL_SEED if final else HELD_OUT_SEED
    return range(first, first + (walks if final else min(walks, HELD_OUT_WALKS)))


@dataclass(frozen=True)
class Likeness:
    """How a student walks beside its teacher.

    Attributes:
        seeds: walks a command.
        commands: forward, left (m/s), turning (rad/s).
        up, teacher_up: shares of walks that stayed up, one a command.
        velocity, teacher_velocity: means over those, ``(commands, 3)``, None where none did.
    """

    seeds: int
    commands: list[list[float]]
    up: list[float]
    teacher_up: list[float]
    velocity: list[list[float] | None]
    teacher_velocity: list[list[float] | None]

    @classmethod
    def of(
        cls, commands: Sequence[Sequence[float]], seeds: int, walked: Walked, taught: Walked
    ) -> Likeness:
        """Of what ``Fleet.walk`` returned for the student and for the teacher."""
        return cls(
            seeds,
            [list(command) for command in commands],
            [float(row.mean()) for row in walked[0]],
            [float(row.mean()) for row in taught[0]],
            _means(*walked),
            _means(*taught),
        )

    @property
    def score(self) -> float:
        """Greater is better; 0 = all up and every velocity the teacher's."""
        pairs = zip(self.up, self.teacher_up, strict=True)
        fallen = sum(max(theirs - ours, 0.0) for ours, theirs in pairs)
        return (-100.0 * fallen - sum(self.excess())) / len(self.up)

    def excess(self) -> list[float]:
        """Distance of each command's velocity from the teacher's, in tolerances."""
        pairs = zip(self.velocity, self.teacher_velocity, strict=True)
        return [
            float((np.abs(np.subtract(s, t)) / CLOSE).max()) if s and t else 0.0 for s, t in pairs
        ]


def _means(up: NDArray[np.bool_], velocity: NDArray[np.float64]) -> list[list[float] | None]:
    return [
        velocity[row][up[row]].mean(axis=0).tolist() if up[row].any() else None
        for row in range(len(up))
    ]
