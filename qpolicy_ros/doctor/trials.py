"""Plays many ways to connect one network to one robot, side by side, and says how each moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qpolicy_ros.doctor.fit import Fit, base_of, resolved
from qpolicy_ros.policy import Baseline, Contract
from qpolicy_ros.policy.baseline import baseline_actions
from qpolicy_ros.sim.commanded import FALLEN_BELOW, as_twist
from qpolicy_ros.sim.description import RobotDescription
from qpolicy_ros.sim.robot import RobotSimulation
from qpolicy_ros.sim.robot_model import BuiltRobot, build_model

Command = tuple[float, float, float]
_FROM = 0.3  # share of a walk after which its velocity counts
_LARGEST = 1e6  # beyond it a state has blown up
# Spreads in units of training's: what a walk without pushes and noise shows as a rule, the least
# that counts, and the most.
_QUIET, _STILL, _FAR = 0.35, 0.1, 30.0
_STRANGE = 0.2  # cost of one term that is e times off


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
        strange: how far what the network sees in all walks with one contract is beyond what its
            own normaliser saw; 0 also where it has none.
        sight: how unlike that is what the contract has changed of it.
    """

    command: Command
    lasted: float
    velocity: tuple[float, float, float]
    shake: float
    jerk: float
    tilt: float
    strange: float = 0.0
    sight: float = 0.0

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
        return 10.0 * (1.0 - self.lasted) + missed + rough + _STRANGE * self.strange


class Stage:
    """One robot and one network.

    Args:
        description: of the robot.
        baseline: the network; its own scale and bias are not used.
        given: how the network is connected.
        built: the compiled model, of that contract.
    """

    def __init__(
        self, description: RobotDescription, baseline: Baseline, given: Fit, built: BuiltRobot
    ) -> None:
        ones = np.ones_like(baseline.scale)
        self._network = replace(baseline, scale=ones, bias=0 * ones)
        self._description, self._built = description, built
        self._others: dict[tuple[object, ...], BuiltRobot] = {}
        self._gauge = _Gauge(baseline, given.contract)
        self._gains = given.gains

    def play(
        self, fits: Sequence[Fit], commands: Sequence[Command], seeds: Sequence[int], seconds: float
    ) -> list[list[Trial]]:
        """Play every fit at every command and seed; a list of trials for each fit."""
        jobs = [(f, c, s) for f in range(len(fits)) for c in commands for s in seeds]
        walks = [self._open(fits[f], c, s) for f, c, s in jobs]
        ticks = [round(seconds / fits[f].contract.period) for f, _, _ in jobs]
        alive = list(range(len(walks)))
        for tick in range(max(ticks, default=0)):
            alive = [index for index in alive if tick < ticks[index]]
            if not alive:
                break
            seen = np.stack([walks[index].seen for index in alive])
            outputs = baseline_actions(self._network, np.clip(seen, -_LARGEST, _LARGEST))
            alive = [
                index
                for index, output in zip(alive, outputs, strict=True)
                if walks[index].step(output, counted=tick >= _FROM * ticks[index])
            ]
        results: list[list[Trial]] = [[] for _ in fits]
        squares: list[list[np.ndarray]] = [[] for _ in fits]
        for (f, _, _), walk in zip(jobs, walks, strict=True):
            squares[f].append(walk.squares)
        strange = [self._gauge.strange(each) for each in squares]
        sight = [self._gauge.sight(fit, each) for fit, each in zip(fits, squares, strict=True)]
        for (f, command, _), walk, count in zip(jobs, walks, ticks, strict=True):
            results[f].append(walk.trial(command, count, strange[f], sight[f]))
        return results

    def _open(self, fit: Fit, command: Command, seed: int) -> _Walk:
        robot = RobotSimulation(
            self._description,
            contract=fit.contract,
            fallen_below=FALLEN_BELOW,
            built=self._model_of(fit),
        )
        robot.command = as_twist(command)
        return _Walk(robot, fit, seed, self._gauge)

    def _model_of(self, fit: Fit) -> BuiltRobot:
        """Return the model with the gains of a contract."""
        if fit.gains == self._gains:
            return self._built
        if fit.gains not in self._others:
            built = build_model(self._description, fit.contract, visual=False)
            self._others[fit.gains] = built
        return self._others[fit.gains]


class _Gauge:
    """How unlike a network's training what it sees is: its normaliser knows what that was.

    Args:
        baseline: the network.
        contract: as it was given; every term counts alike, however many values it has.
    """

    def __init__(self, baseline: Baseline, contract: Contract) -> None:
        # A network without a normaliser was given the mean 0 and the spread 1.
        self.knows = bool(np.ptp(baseline.std) > 0)
        self._mean, self._std = baseline.mean, baseline.std
        self._given = [(c.source, c.scale, c.offset) for c in resolved(contract)]
        terms = [base_of(contract, c)[0].source.partition(":")[0] for c in contract.observation]
        self._weights = np.array([1 / terms.count(term) for term in terms])

    def squares(self, seen: np.ndarray) -> np.ndarray:
        """Squares of an observation in units of the normaliser's spread ``(n,)``."""
        normal: np.ndarray = np.clip((seen - self._mean) / self._std, -_FAR, _FAR)
        return normal * normal

    def strange(self, squares: Sequence[np.ndarray]) -> float:
        """Return how far beyond that of training the spread of some walks is, 0 = not at all.

        Args:
            squares: mean squares ``(n,)`` of each walk.
        """
        if not self.knows:
            return 0.0
        spread = np.clip(np.sqrt(np.mean(squares, axis=0)), 1.0, _FAR)
        return float(np.log(spread) ** 2 @ self._weights)

    def sight(self, fit: Fit, squares: Sequence[np.ndarray]) -> float:
        """Return how unlike training's the spread is of what ``fit`` changes, 0 = quite alike."""
        pairs = zip(resolved(fit.contract), self._given, strict=True)
        other = np.array([(a.source, a.scale, a.offset) != b for a, b in pairs])
        if not self.knows or not other.any():
            return 0.0
        spread = np.sqrt(np.mean(np.mean(squares, axis=0)[other]))
        return float(abs(np.log(np.clip(spread, _STILL, _FAR) / _QUIET)))


class _Walk:
    """One walk under way."""

    def __init__(self, robot: RobotSimulation, fit: Fit, seed: int, gauge: _Gauge) -> None:
        self.robot, self._fit, self._gauge = robot, fit, gauge
        self.seen = robot.reset(seed)
        self._sum = np.zeros(len(self.seen))
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
        if self._gauge.knows:
            self._sum += self._gauge.squares(self.seen)
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

    @property
    def squares(self) -> np.ndarray:
        """Mean squares of what it saw, in units of the normaliser's spread ``(n,)``."""
        return self._sum / max(self._ticks, 1)

    def trial(self, command: Command, ticks: int, strange: float, sight: float) -> Trial:
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
            strange,
            sight,
        )
