"""Plays many ways to connect one network to one robot, side by side, and says how each moves."""

from __future__ import annotations

import math
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
_FAINT = 0.09, 0.003  # less than any term of a sound walk shows; the least that counts
# Pushes: how often, s, the first, m/s, how many times harder each is than the one before; rad/s a
# m/s.
_PUSH_EVERY, _PUSH, _HARDER, _TWIST = 0.5, 0.15, 1.5, 1.0


@dataclass(frozen=True)
class Trial:
    """How one walk went.

    Attributes:
        command: forward, left (m/s), turning (rad/s).
        up: whether it stayed up.
        lasted: share of the walk until it fell, or was stopped.
        velocity: mean forward, left, turning of the later part, 0 where it fell.
        shake: root mean square of the base's roll and pitch rate, rad/s.
        jerk: mean change of the outputs between two ticks.
        tilt: mean sine of the base's tilt.
        strange: how far what the network sees in all walks with one contract is beyond what its
            own normaliser saw; 0 also where it has none.
    """

    command: Command
    up: bool
    lasted: float
    velocity: tuple[float, float, float]
    shake: float
    jerk: float
    tilt: float
    strange: float = 0.0

    @property
    def cost(self) -> float:
        """Lower is better: falls first, then the distance from the command, then roughness."""
        error = np.abs(np.subtract(self.velocity, self.command)) * (1.0, 1.0, 0.5)
        missed = float(error.sum()) if self.up else float(np.abs(self.command).sum()) + 0.5
        rough = 0.15 * min(self.shake, 5.0) + 0.3 * min(self.jerk, 3.0) + 0.5 * self.tilt
        return 10.0 * (1.0 - self.lasted) + missed + rough + _STRANGE * self.strange


class Attempt:
    """One way to connect the network, and its walks so far.

    Attributes:
        fit: how the network is connected.
        walks: by command and seed.
    """

    def __init__(self, fit: Fit) -> None:
        self.fit = fit
        self.walks: dict[tuple[Command, int], _Walk] = {}

    @property
    def fell(self) -> bool:
        """Whether one of its walks has ended with a fall."""
        return not all(walk.up for walk in self.walks.values())


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
        self,
        attempts: Sequence[Attempt],
        commands: Sequence[Command],
        seeds: Sequence[int],
        seconds: float,
        *,
        until_a_fall: bool = False,
        pushed: bool = False,
    ) -> None:
        """Play every attempt at every command and seed until ``seconds`` of each walk are over.

        A walk that was played before goes on from where it stood.

        Args:
            attempts: what is played.
            commands: of the walks.
            seeds: of their starts.
            seconds: of each walk, as it is long in all.
            until_a_fall: an attempt ends with its first fall, whatever its other walks do.
            pushed: the robot is pushed harder and harder, all attempts alike.
        """
        walks, owners, ticks = [], [], []
        for attempt in attempts:
            for command in commands:
                for seed in seeds:
                    if (command, seed) not in attempt.walks:
                        attempt.walks[command, seed] = self._open(attempt.fit, command, seed)
                    walks.append(attempt.walks[command, seed])
                    owners.append(attempt)
                    ticks.append(round(seconds / attempt.fit.contract.period))
        alive = list(range(len(walks)))
        while True:
            alive = [
                index
                for index in alive
                if walks[index].up
                and walks[index].ticks < ticks[index]
                and not (until_a_fall and owners[index].fell)
            ]
            if not alive:
                break
            seen = np.stack([walks[index].seen for index in alive])
            outputs = baseline_actions(self._network, np.clip(seen, -_LARGEST, _LARGEST))
            for index, output in zip(alive, outputs, strict=True):
                if pushed:
                    walks[index].push()
                walks[index].step(output)

    def trials(self, attempt: Attempt, seconds: float) -> list[Trial]:
        """Return how the walks of an attempt went that were played for ``seconds``."""
        strange = self._gauge.strange(_squares(attempt))
        ticks = round(seconds / attempt.fit.contract.period)
        return [walk.trial(command, ticks, strange) for (command, _), walk in attempt.walks.items()]

    def sight(self, attempt: Attempt) -> float:
        """Return how unlike training's is what the network sees of what an attempt changes.

        0: alike, or nothing says what it was in training.
        """
        spread = self._gauge.spread(attempt.fit, _squares(attempt))
        return 0.0 if spread is None else float(abs(np.log(np.clip(spread, _STILL, _FAR) / _QUIET)))

    def revived(self, attempt: Attempt, before: Attempt) -> float:
        """Return by how much an attempt makes out of next to nothing what the network sees.

        Of the values that it changes, as the logarithm of their spread; 0: they were alive before.

        Args:
            attempt: after its walks.
            before: the contract as it was given, after its walks.
        """
        least, floor = _FAINT
        was, now = (self._gauge.spread(attempt.fit, _squares(each)) for each in (before, attempt))
        if was is None or now is None:
            return 0.0
        return float(np.log(np.clip(now, floor, least) / np.clip(was, floor, least)).clip(0.0))

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
        self._given = resolved(contract)
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

    def spread(self, fit: Fit, squares: Sequence[np.ndarray]) -> float | None:
        """Return the spread of what ``fit`` changes in some walks, None: none, or unknown.

        Args:
            fit: that says what changes.
            squares: mean squares ``(n,)`` of each walk.
        """
        if not self.knows:
            return None
        pairs = zip(resolved(fit.contract), self._given, strict=True)
        other = np.array([one != given for one, given in pairs])
        return float(np.sqrt(np.mean(np.mean(squares, axis=0)[other]))) if other.any() else None


def _squares(attempt: Attempt) -> list[np.ndarray]:
    return [walk.squares for walk in attempt.walks.values()]


class _Walk:
    """One walk under way.

    Attributes:
        fit: how the network is connected.
        robot: that walks.
        seen: the newest observation ``(n,)``.
        up: whether it has not fallen.
        ticks: that it lasted so far.
    """

    def __init__(self, robot: RobotSimulation, fit: Fit, seed: int, gauge: _Gauge) -> None:
        self.fit, self.robot, self._gauge = fit, robot, gauge
        self.seen = robot.reset(seed)
        self.up, self.ticks = True, 0
        self._chance = np.random.default_rng((seed, 1))
        self._sum = np.zeros(len(self.seen))
        self._velocities: list[tuple[float, float, float]] = []
        self._shake = self._tilt = self._jerk = 0.0
        self._output: np.ndarray | None = None

    def push(self) -> None:
        """Push the base now and then, harder each time: its velocity changes at once."""
        every = max(round(_PUSH_EVERY / self.fit.contract.period), 1)
        base, (number, since) = self.robot.sensors.base, divmod(self.ticks, every)
        if base is None or since or not number:
            return
        way = self._chance.normal(size=4)
        way *= _PUSH * _HARDER ** (number - 1) / np.linalg.norm(way[:2])
        self.robot.data.qvel[base[1] : base[1] + 2] += way[:2]
        self.robot.data.qvel[base[1] + 3 : base[1] + 5] += _TWIST * way[2:]

    def step(self, output: np.ndarray) -> None:
        """Apply the network's output ``(m,)`` for one control period."""
        robot, fit = self.robot, self.fit
        robot.advance(output * fit.scale + fit.bias)
        if robot.fallen or not np.abs(robot.data.qvel).max() < _LARGEST:
            self.up = False
            return
        self.ticks += 1
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
        x, y, _ = robot.sensors.velocity()
        self._velocities.append((float(x), float(y), float(robot.sensors.turning())))
        self.seen = robot.observe()
        self.up = bool(np.isfinite(self.seen).all())

    @property
    def squares(self) -> np.ndarray:
        """Mean squares of what it saw, in units of the normaliser's spread ``(n,)``."""
        return self._sum / max(self.ticks, 1)

    def trial(self, command: Command, ticks: int, strange: float) -> Trial:
        """Return how it went; it was to last ``ticks``."""
        count, later = max(self.ticks, 1), self._velocities[math.ceil(_FROM * ticks) :]
        x, y, turning = (float(v) for v in np.mean(later or [(0.0, 0.0, 0.0)], axis=0))
        return Trial(
            command,
            self.up,
            self.ticks / ticks,
            (x, y, turning),
            float(np.sqrt(self._shake / count)),
            self._jerk / count,
            self._tilt / count,
            strange,
        )
