"""Many copies of one described robot, stepped together, so that policies answer in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from qpolicy_ros.policy import Contract
from qpolicy_ros.sim.commanded import FALLEN_BELOW, as_twist, command_ranges, draw_command
from qpolicy_ros.sim.description import RobotDescription, find_robot
from qpolicy_ros.sim.robot import START_SPREAD, RobotSimulation

Float32 = NDArray[np.float32]
Batch = Callable[[Float32], Float32]
Restarted = Callable[[int], None]

_HOLD = (1.0, 5.0)  # s that a command lasts
_EPISODE = 10.0  # s
_PUSH_EVERY, _PUSH = 4.0, 0.3  # s on average, m/s


def _nobody(robot: int) -> None:
    """Tell nobody that a robot starts anew."""


class Fleet:
    """Robots that share a model and differ in state, command and start.

    Args:
        robot: a name, a file, or a description.
        contract: of the policy that is to run.
        count: how many.

    Attributes:
        contract: as given.
        ranges: lowest and highest forward, left (m/s) and turning command (rad/s), ``(3, 2)``; 0
            where the policy does not listen to it.
    """

    def __init__(self, robot: str | RobotDescription, contract: Contract, count: int) -> None:
        described = find_robot(robot) if isinstance(robot, str) else robot
        self.contract = contract
        first = RobotSimulation(described, contract=contract, fallen_below=FALLEN_BELOW)
        self.robots = [first]
        for _ in range(count - 1):
            self.robots.append(
                RobotSimulation(
                    described, contract=contract, fallen_below=FALLEN_BELOW, built=first.built
                )
            )
        self.ranges = command_ranges(contract, described)
        self._period = contract.period

    def collect(
        self,
        act: Batch,
        steps: int,
        rng: np.random.Generator,
        *,
        disturbed: bool = True,
        restarted: Restarted = _nobody,
    ) -> Float32:
        """Return the observations of ``steps`` control steps in all, float32 ``(steps, n)``.

        Commands, starts and pushes are drawn; a robot that falls, or whose 10 s are over, starts
        anew.

        Args:
            act: observations ``(count, n)`` to actions ``(count, m)``.
            steps: rounded up to a multiple of the number of robots.
            rng: draws.
            disturbed: whether robots are pushed.
            restarted: told the number of a robot whose next observation is an episode's first.
        """
        count = len(self.robots)
        rows = -(-steps // count)
        seen = np.empty((rows, count, len(self.contract.observation)), np.float32)
        now = np.stack([self._start(robot, rng) for robot in self.robots])
        for index in range(count):
            restarted(index)
        age = rng.integers(0, round(_EPISODE / self._period), count)  # ends do not fall together
        for row in range(rows):
            seen[row] = now
            actions = act(now)
            for index, robot in enumerate(self.robots):
                if disturbed and rng.random() < self._period / _PUSH_EVERY:
                    self._push(robot, rng)
                robot.advance(actions[index])
                age[index] += 1
                if robot.fallen or age[index] * self._period >= _EPISODE:
                    now[index] = self._start(robot, rng)
                    restarted(index)
                    age[index] = 0
                    continue
                if rng.random() < self._period / float(np.mean(_HOLD)):
                    robot.command = as_twist(draw_command(rng, self.ranges))
                now[index] = robot.observe()
        return seen.reshape(-1, seen.shape[-1])[:steps]

    def walk(
        self,
        act: Batch,
        commands: Sequence[Sequence[float]],
        seeds: Sequence[int],
        seconds: float,
        restarted: Restarted = _nobody,
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Play one walk a command and seed, as ``qpolicy walk --robot`` does.

        ``restarted``: as of :meth:`collect`.

        Returns:
            Whether each stayed up ``(commands, seeds)``, and its mean velocity
            ``(commands, seeds, 3)``, NaN where it fell too early.
        """
        jobs = [(c, s) for c in range(len(commands)) for s in range(len(seeds))]
        up = np.zeros((len(commands), len(seeds)), np.bool_)
        velocity = np.full((len(commands), len(seeds), 3), np.nan)
        ticks = round(seconds / self._period)
        for start in range(0, len(jobs), len(self.robots)):
            batch = jobs[start : start + len(self.robots)]
            now = np.zeros((len(self.robots), len(self.contract.observation)), np.float32)
            alive = list(range(len(batch)))
            for index, (c, s) in enumerate(batch):
                self.robots[index].command = as_twist(commands[c])
                now[index] = self.robots[index].reset(seeds[s])
                restarted(index)
            for _ in range(ticks):
                actions = act(now)
                for index in list(alive):
                    robot = self.robots[index]
                    robot.advance(actions[index])
                    if robot.fallen:
                        alive.remove(index)
                    else:
                        now[index] = robot.observe()
                if not alive:
                    break
            for index in alive:
                up[batch[index]] = True
                velocity[batch[index]] = self.robots[index].mean_velocity
        return up, velocity

    def _start(self, robot: RobotSimulation, rng: np.random.Generator) -> Float32:
        robot.command = as_twist(draw_command(rng, self.ranges))
        robot.stand(rng, START_SPREAD * rng.uniform(0.0, 2.0))
        return robot.observe()

    def _push(self, robot: RobotSimulation, rng: np.random.Generator) -> None:
        if robot.sensors.base is not None:
            first = robot.sensors.base[1]
            robot.data.qvel[first : first + 2] += rng.uniform(-_PUSH, _PUSH, 2)
