"""Commands to a walking robot, and how it moves at one: what `qpolicy walk --robot` measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qpolicy_ros.policy import Contract
from qpolicy_ros.sim.description import RobotDescription, find_robot
from qpolicy_ros.sim.robot import RobotSimulation
from qpolicy_ros.sim.rollout import Policy

SECONDS = 10.0
FALLEN_BELOW = 0.6  # of the start's height
Command = tuple[float, float, float]

# What a walking policy is commonly told, where its contract does not say it: m/s, m/s, rad/s.
_USUAL = {
    "cmd_vel.linear:x": (-0.5, 1.0),
    "cmd_vel.linear:y": (-0.5, 0.5),
    "cmd_vel.angular:z": (-1.0, 1.0),
}
_AXES = tuple(_USUAL)
# The largest command of each axis at which students are judged, `likeness.COMMANDS`.
_JUDGED = {"cmd_vel.linear:x": 0.5, "cmd_vel.linear:y": 0.2, "cmd_vel.angular:z": 0.5}
_STANDING, _SINGLE = 0.15, 0.4  # shares of drawn commands: none at all, one axis alone


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


def command_ranges(contract: Contract, description: RobotDescription) -> np.ndarray:
    """Lowest and highest forward, left (m/s) and turning command (rad/s), ``(3, 2)``.

    The description's; else the contract's, widened by what students are judged at; else what is
    usual. 0 for what no channel reads.
    """
    known = {}
    for source, low, high in contract.commands:
        judged = _JUDGED.get(source, 0.0)
        known[source] = (min(low, -judged), max(high, judged))
    known |= dict(description.commands)
    read = {channel.source for channel in contract.observation}
    read |= {f"cmd_vel{s.removeprefix('twist')}" for s in read if s.startswith("twist.")}
    rows = [known.get(s, _USUAL[s]) if s in read else (0.0, 0.0) for s in _AXES]
    return np.array(rows, np.float64)


def draw_command(rng: np.random.Generator, ranges: np.ndarray) -> np.ndarray:
    """Draw forward, left and turning (3,): none, along one axis, or along all.

    Args:
        rng: that draws.
        ranges: of :func:`command_ranges`, ``(3, 2)``.
    """
    command = rng.uniform(ranges[:, 0], ranges[:, 1])
    kind = rng.random()
    if kind < _STANDING:
        command[:] = 0.0
    elif kind < _STANDING + _SINGLE:
        free = np.flatnonzero(np.ptp(ranges, axis=1))
        kept = rng.choice(free) if free.size else 0
        command[np.arange(3) != kept] = 0.0
    return command


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
