"""How a policy moves its robot at a constant command: what `qpolicy walk --robot` measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qpolicy_ros.policy import Contract
from qpolicy_ros.sim.description import find_robot
from qpolicy_ros.sim.robot import RobotSimulation
from qpolicy_ros.sim.rollout import Policy

SECONDS = 10.0
FALLEN_BELOW = 0.6  # of the start's height
Command = tuple[float, float, float]


@dataclass(frozen=True)
class Walked:
    """One walk at a constant command.

    Attributes:
        seed: of the start.
        up: whether it stayed up to the end.
        velocity: mean forward and left (m/s) and turning (rad/s), the base's own, after 2 s; NaN
            where it fell before that.
        seconds: until it fell, or all.
    """

    seed: int
    up: bool
    velocity: tuple[float, float, float]
    seconds: float


@dataclass(frozen=True)
class Walks:
    """Several walks at one command: what is printed.

    Attributes:
        command: forward and left (m/s), turning (rad/s).
        walks: one a seed.
    """

    command: Command
    walks: tuple[Walked, ...]

    @property
    def up(self) -> int:
        """How many stayed up."""
        return sum(walk.up for walk in self.walks)

    @property
    def velocity(self) -> list[float | None]:
        """Mean velocity of those that stayed up (3,); None for each where none did."""
        return self._over_those_up(np.mean)

    @property
    def velocity_std(self) -> list[float | None]:
        """Its standard deviation over them (3,)."""
        return self._over_those_up(np.std)

    def _over_those_up(self, statistic: object) -> list[float | None]:
        seen = [walk.velocity for walk in self.walks if walk.up]
        if not seen:
            return [None] * 3
        return [float(value) for value in statistic(seen, axis=0)]  # type: ignore[operator]


def open_commanded(robot: str, contract: Contract, seconds: float = SECONDS) -> RobotSimulation:
    """Open a robot for a policy of ``contract``: it falls, and its episodes last ``seconds``.

    Raises:
        PolicyError: as :class:`RobotSimulation`.
    """
    return RobotSimulation(
        find_robot(robot),
        max_episode_steps=round(seconds / contract.period),
        contract=contract,
        fallen_below=FALLEN_BELOW,
    )


def as_twist(command: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return forward, left and turning as a velocity (6,): linear x, y, z, angular x, y, z."""
    return np.array([command[0], command[1], 0.0, 0.0, 0.0, command[2]])


def walk_at(
    policy: Policy, simulation: RobotSimulation, seed: int, command: Sequence[float]
) -> Walked:
    """Play one episode of ``simulation`` at ``command`` with a policy: (n,) -> (m,), float32."""
    simulation.command = as_twist(command)
    observation = simulation.reset(seed)
    steps, fallen, over = 0, False, False
    while not (fallen or over):
        observation, _, fallen, over = simulation.step(policy(observation))
        steps += 1
    x, y, turn = (float(value) for value in simulation.mean_velocity)
    return Walked(seed, not fallen, (x, y, turn), steps * simulation.contract.period)
