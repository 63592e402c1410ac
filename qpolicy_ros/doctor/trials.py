"""Plays many ways to connect one network to one robot, side by side, and says how each moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qpolicy_ros.doctor.fit import Fit
from qpolicy_ros.policy import Baseline
from qpolicy_ros.policy.baseline import baseline_actions
from qpolicy_ros.sim.commanded import FALLEN_BELOW, as_twist
from qpolicy_ros.sim.description import RobotDescription
from qpolicy_ros.sim.robot import RobotSimulation
from qpolicy_ros.sim.robot_model import BuiltRobot

Command = tuple[float, float, float]
_FROM = 0.3  # share of a walk after which its velocity counts
_LARGEST = 1e6  # beyond it a state has blown up


@dataclass(frozen=True)
class Trial:
    """How one walk went.

    Attributes:
        command: forward, left (m/s), turning (rad/s).
        lasted: share of the walk until it fell.
        velocity: mean forward, left, turning of the later part, 0 where it fell.
        shake: root mean square of the base's roll and pitch rate, rad/s.
        jerk: mean change of the outputs between two ticks.
        tilt: mean sine of the base's tilt.
    """

    command: Command
    lasted: float
    velocity: tuple[float, float, float]
    shake: float
    jerk: float
    tilt: float

    @property
    def up(self) -> bool:
        """Whether it stayed up."""
        return self.lasted >= 1.0

    @property
    def cost(self) -> float:
        """Lower is better: falls first, then the distance from the command, then roughness."""
        error = np.abs(np.subtract(self.velocity, self.command)) * (1.0, 1.0, 0.5)
        missed = float(error.sum()) if self.up else float(np.abs(self.command).sum()) + 0.5
        rough = 0.15 * min(self.shake, 5.0) + 0.3 * min(self.jerk, 3.0) + 0.5 * self.tilt
        return 10.0 * (1.0 - self.lasted) + missed + rough


class Stage:
    """One robot and one network.

    Args:
        description: of the robot.
        baseline: the network; its own scale and bias are not used.
        built: the compiled model, of the contract as it was given.
    """

    def __init__(
        self, description: RobotDescription, baseline: Baseline, built: BuiltRobot
    ) -> None:
        ones = np.ones_like(baseline.scale)
        self._network = replace(baseline, scale=ones, bias=0 * ones)
        self._description, self._built = description, built

    def play(
        self, fits: Sequence[Fit], commands: Sequence[Command], seeds: Sequence[int], seconds: float
    ) -> list[list[Trial]]:
        """Play every fit at every command and seed; a list of trials for each fit."""
        jobs = [(f, c, s) for f in range(len(fits)) for c in commands for s in seeds]
        walks = [self._open(fits[f], c, s) for f, c, s in jobs]
        ticks = round(seconds / fits[0].contract.period)
        alive = list(range(len(walks)))
        for tick in range(ticks):
            if not alive:
                break
            seen = np.stack([walks[index].seen for index in alive])
            outputs = baseline_actions(self._network, np.clip(seen, -_LARGEST, _LARGEST))
            alive = [
                index
                for index, output in zip(alive, outputs, strict=True)
                if walks[index].step(output, counted=tick >= _FROM * ticks)
            ]
        results: list[list[Trial]] = [[] for _ in fits]
        for (f, command, _), walk in zip(jobs, walks, strict=True):
            results[f].append(walk.trial(command, ticks))
        return results

    def _open(self, fit: Fit, command: Command, seed: int) -> _Walk:
        robot = RobotSimulation(
            self._description,
            contract=fit.contract,
            fallen_below=FALLEN_BELOW,
            built=self._built,
        )
        robot.command = as_twist(command)
        return _Walk(robot, fit, seed)


class _Walk:
    """One walk under way."""

    def __init__(self, robot: RobotSimulation, fit: Fit, seed: int) -> None:
        self.robot, self._fit = robot, fit
        self.seen = robot.reset(seed)
        self._ticks = self._counted = 0
        self._velocity = np.zeros(3)
        self._shake = self._tilt = self._jerk = 0.0
        self._output: np.ndarray | None = None

    def step(self, output: np.ndarray, *, counted: bool) -> bool:
        """Apply the network's output; return whether the walk goes on."""
        robot = self.robot
        action = output * self._fit.scale + self._fit.bias
        robot.advance(action)
        if robot.fallen or not np.abs(robot.data.qvel).max() < _LARGEST:
            return False
        self._ticks += 1
        if self._output is not None:
            self._jerk += float(np.abs(output - self._output).mean())
        self._output = output
        base = robot.sensors.base
        if base is not None:
            rates = robot.data.qvel[base[1] + 3 : base[1] + 5]
            self._shake += float(rates @ rates)
            x, y, _ = robot.sensors.gravity()
            self._tilt += float(np.hypot(x, y))
        if counted:
            self._counted += 1
            x, y, _ = robot.sensors.velocity()
            self._velocity += (x, y, robot.sensors.turning())
        self.seen = robot.observe()
        return bool(np.isfinite(self.seen).all())

    def trial(self, command: Command, ticks: int) -> Trial:
        """Return how it went."""
        count, counted = max(self._ticks, 1), max(self._counted, 1)
        x, y, turning = (float(v) for v in self._velocity / counted)
        return Trial(
            command,
            self._ticks / ticks,
            (x, y, turning),
            float(np.sqrt(self._shake / count)),
            self._jerk / count,
            self._tilt / count,
        )
