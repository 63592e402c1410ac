"""Does a policy walk as fast as it is told? The test of a legged robot's policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from qpolicy_ros.policy import Contract, PolicyError
from qpolicy_ros.sim.commanded import Walked
from qpolicy_ros.sim.environment import Simulation
from qpolicy_ros.sim.rollout import Policy

SECONDS = 20.0
WARM_UP = 2.0  # s, not counted: the robot starts standing
TOLERANCE = 0.2  # of the commanded speed
DRIFT = 2.0  # m to the side


@dataclass(frozen=True)
class Walk:
    """One walk of :data:`SECONDS` at a constant command.

    Attributes:
        seed: of the start, the friction, the gains and the pushes.
        commanded: m/s.
        speed: progress along the direction that the robot faced at the start, after the first
            :data:`WARM_UP` seconds, m/s.
        drift: largest distance to the side of that direction, m.
        seconds: until the robot fell, or all.
    """

    seed: int
    commanded: float
    speed: float
    drift: float
    seconds: float

    @property
    def tracks(self) -> bool:
        """Whether it stayed up, within 20 % of the commanded speed and within 2 m of the line."""
        upright = self.seconds >= SECONDS - 1e-6
        error = abs(self.speed - self.commanded)
        return upright and error <= TOLERANCE * self.commanded and self.drift <= DRIFT


def commanded_robot(simulation: Simulation) -> Any:
    """Return the robot of a task that takes a command, a ``RobotModel``.

    Raises:
        PolicyError: the task takes none.
    """
    robot: Any = getattr(simulation.env.unwrapped, "robot", None)
    if robot is None:
        wrong = f"{simulation.contract.task} is no robot, it takes no commanded speed"
        raise PolicyError.at("", "task", wrong, "give a robot's policy, for example go2")
    return robot


def walk(policy: Policy, simulation: Simulation, seed: int, speed: float) -> Walk:
    """Play one walk: float32 observation (n,) -> float32 action (m,).

    Args:
        policy: what answers observations.
        simulation: of a task that takes a command, such as ``go2``.
        seed: of the episode.
        speed: to command, m/s, above 0.

    Raises:
        PolicyError: the task takes no command.
    """
    robot = commanded_robot(simulation)
    period = simulation.contract.period
    steps, warm_up = round(SECONDS / period), round(WARM_UP / period)
    observation = simulation.reset(seed, {"speed": speed})
    x, drift = [], 0.0
    for _ in range(steps):
        observation, _, fallen, _ = simulation.step(policy(observation))
        forward, sideways = (robot.read(f"odom.position:{axis}") for axis in "xy")
        x.append(forward)
        drift = max(drift, abs(sideways))
        if fallen:
            break
    after = len(x) - warm_up
    covered = (x[-1] - x[warm_up - 1]) / (after * period) if after > 0 else 0.0
    return Walk(seed, speed, covered, drift, len(x) * period)


def walk_told(
    policy: Policy, simulation: Simulation, seed: int, command: Sequence[float]
) -> Walked:
    """Play one walk of :data:`SECONDS` at ``command``, with what the task draws for ``seed``.

    Args:
        policy: float32 observation (n,) -> float32 action (m,).
        simulation: of a task that takes a command, such as ``go2_steer``.
        seed: of the start, the friction, the gains and the pushes.
        command: forward and left (m/s), turning (rad/s).

    Raises:
        PolicyError: the task takes no command.
    """
    robot = commanded_robot(simulation)
    period = simulation.contract.period
    observation = simulation.reset(seed, {"command": tuple(command)})
    steps, fallen = 0, False
    while steps < round(SECONDS / period) and not fallen:
        observation, _, fallen, _ = simulation.step(policy(observation))
        steps += 1
    x, y, turn = (float(value) for value in robot.mean_velocity)
    return Walked(seed, not fallen, (x, y, turn), steps * period)


def require_same_robot(contract: Contract, simulation: Simulation) -> None:
    """Refuse a policy that sees or drives something else than the task's robot gives.

    Raises:
        PolicyError: naming the first channel that differs.
    """
    for kind in ("observation", "action"):
        pairs = zip_longest(getattr(contract, kind), getattr(simulation.contract, kind))
        for index, (given, wanted) in enumerate(pairs):
            if given != wanted:
                wrong = f"value {index} is {given}, the task has {wanted}"
                remedy = "give a policy that was trained for this robot's description"
                raise PolicyError.at("", f"contract.{kind}", wrong, remedy)
