"""An FP32 policy learnt from another one on a robot (DAgger), without a reward.

The teacher may be a policy file or one that remembers (an LSTM, say): the student then sees a
history of what the teacher sees, and so can know what the teacher remembers.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from qpolicy_ros.policy import Baseline, Channel, Contract, PolicyError
from qpolicy_ros.policy.baseline import baseline_actions
from qpolicy_ros.policy.sources import CONSTANT, HISTORY
from qpolicy_training.experience.experts import Expert
from qpolicy_training.experience.fleet import Fleet
from qpolicy_training.experience.normaliser import CLIP
from qpolicy_training.recipes.config import ImitateConfig
from qpolicy_training.recipes.dagger import fit
from qpolicy_training.recipes.likeness import SECONDS, Likeness, judged_commands, judging_seeds
from qpolicy_training.recipes.scaling import Scaling
from qpolicy_training.rl.networks import Fp32Actor
from qpolicy_training.rl.torch_setup import prepare
from qpolicy_training.runs.folder import DivergedError, Run

Float32 = NDArray[np.float32]

ROBOTS = 16
_LED = 4  # one robot in so many is driven by the teacher, with noise, in every round
_NOISE = (0.0, 0.05, 0.15)  # on the teacher's own actions, of the range that it uses
_LOOK = 20  # control steps of each robot that tell which range the teacher uses
_MOST_VALUES = 4096  # of an observation with its history


@dataclass(frozen=True)
class RobotImitationConfig:
    """The full configuration of a run; its hash names the run."""

    robot: str
    """Digest of the robot."""
    teacher: str
    """Hash of the teacher."""
    seed: int
    hidden: tuple[int, ...]
    history: int
    """Ticks that the student sees, the newest included."""
    imitate: ImitateConfig = field(default_factory=ImitateConfig)
    walks: int = 20
    """Walks at each command that judge the student."""


@dataclass(frozen=True)
class Imitated:
    """What came of it.

    Attributes:
        contract: of the student: the teacher's, with its history.
        baseline: the student.
        likeness: how it walks beside its teacher.
        action_rmse: distance of its actions from the teacher's where it walked at last, in the
            actions' own units.
        observations: some that were met, float32 ``(k, n)``.
    """

    contract: Contract
    baseline: Baseline
    likeness: Likeness
    action_rmse: float
    observations: Float32


def with_history(contract: Contract, ticks: int) -> Contract:
    """Return a contract that also shows the last ``ticks`` - 1 values of all that changes.

    What the contract has already comes first, so that its teacher sees the first values alone.

    Raises:
        PolicyError: that makes a larger observation than a policy can take.
    """
    channels = list(contract.observation)
    lasting = (HISTORY, CONSTANT)
    moving = [c for c in channels if c.source.partition(":")[0].partition(".")[0] not in lasting]
    for ago in range(1, ticks):
        channels += [Channel(f"{c.name}@{ago}", f"{HISTORY}.{ago}:{c.name}") for c in moving]
    if len(channels) > _MOST_VALUES:
        message = f"--history: {ticks}: makes {len(channels)} values; give fewer ticks"
        raise PolicyError(message)
    return replace(contract, observation=tuple(channels))


class RobotImitation:
    """One student's training.

    Args:
        config: names the run.
        expert: the teacher, of ``ROBOTS`` robots.
        robot: a name or a file.
    """

    def __init__(self, config: RobotImitationConfig, expert: Expert, robot: str) -> None:
        prepare(config.seed)
        self.config, self.expert = config, expert
        self.contract = with_history(expert.contract, config.history)
        self.fleet = Fleet(robot, self.contract, ROBOTS)
        self.run = Run(f"{self.contract.task}-fp32-robot", config)
        self.run.rewind([], {})
        self._own = len(expert.contract.observation)

    def train(self) -> Imitated:
        """Train and judge; the caller closes the run. A killed run starts again.

        Raises ``DivergedError`` when the loss is not finite.
        """
        options, config = self.config.imitate, self.config
        rng = np.random.default_rng(config.seed)
        seen, labels = self._collect(None, None, 2 * options.round_steps, rng)
        scaling = Scaling.of(seen, labels, self.contract)
        actor = Fp32Actor(seen.shape[1], labels.shape[1], config.hidden)
        optimiser = torch.optim.Adam(actor.parameters(), options.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimiser, options.rounds * options.round_updates, options.learning_rate / 10
        )
        with self.run.progress(options.rounds * options.round_steps, 0) as progress:
            for index in range(options.rounds):
                data = (scaling.inputs(seen), scaling.targets(labels))
                loss = fit(actor, optimiser, schedule, data, options, rng)
                if not math.isfinite(loss):
                    message = (
                        f"{self.run.folder}: loss: {loss} in round {index + 1}: the run diverged; "
                        "lower --imitate.learning-rate or change --seed"
                    )
                    raise DivergedError(message)
                progress.update((index + 1) * options.round_steps)
                if index + 1 < options.rounds:
                    more = self._collect(actor, scaling, options.round_steps, rng)
                    seen, labels = (
                        np.concatenate(pair) for pair in zip((seen, labels), more, strict=True)
                    )
        baseline = _baseline(actor, scaling)
        fresh, right = self._collect(actor, scaling, options.round_steps, rng)
        error = baseline_actions(baseline, fresh).astype(np.float64) - right
        likeness = self.likeness(baseline)
        self.run.record(options.rounds * options.round_steps, likeness.score)
        rmse = float(np.sqrt(np.mean(error**2)))
        return Imitated(self.contract, baseline, likeness, rmse, seen)

    def likeness(self, baseline: Baseline) -> Likeness:
        """Return how a student walks beside its teacher, on fresh seeds."""
        commands = judged_commands(self.fleet.ranges)
        seeds = judging_seeds(self.config.walks, final=True)
        walked = self.fleet.walk(lambda o: baseline_actions(baseline, o), commands, seeds, SECONDS)
        taught = self.fleet.walk(self._teach, commands, seeds, SECONDS, self.expert.restart)
        return Likeness.of(commands, len(seeds), walked, taught)

    def _teach(self, observations: Float32) -> Float32:
        return self.expert(observations[:, : self._own])

    def _collect(
        self, actor: Fp32Actor | None, scaling: Scaling | None, steps: int, rng: np.random.Generator
    ) -> tuple[Float32, Float32]:
        """Observations ``(steps, n)`` and what the teacher would have done ``(steps, m)``.

        The student drives three robots of four, the noisy teacher the others, and all without a
        student. The teacher is asked once a tick and robot, so that it remembers what happened.
        """
        answers: list[Float32] = []
        low, high = self.contract.low, self.contract.high
        led = np.arange(ROBOTS) % _LED == 0 if actor else np.ones(ROBOTS, np.bool_)
        used = np.zeros(len(low)) if scaling is None else scaling.action_scale / 1.5

        def act(observations: Float32) -> Float32:
            taught = self._teach(observations)
            answers.append(taught)
            noise = np.resize(_NOISE, ROBOTS)[:, None] * used * rng.standard_normal(taught.shape)
            actions = (taught + noise).astype(np.float32)
            if actor is not None and scaling is not None:
                with torch.no_grad():
                    own = torch.tanh(actor(scaling.inputs(observations))[0]).numpy()
                actions[~led] = np.clip(scaling.actions(own), low, high)[~led]
            return actions

        if scaling is None:  # first a quiet look at the range that the teacher uses
            self.fleet.collect(act, _LOOK * ROBOTS, rng, restarted=self.expert.restart)
            quiet = np.concatenate(answers)
            answers.clear()
            used = np.ptp(np.percentile(quiet, (1, 99), axis=0), axis=0) / 2
        seen = self.fleet.collect(act, steps, rng, restarted=self.expert.restart)
        return seen, np.concatenate(answers)[: len(seen)]


def _baseline(actor: Fp32Actor, scaling: Scaling) -> Baseline:
    layers = [*actor.hidden, actor.mean]
    return Baseline(
        mean=scaling.mean,
        std=scaling.std,
        clip=CLIP,
        weights=tuple(layer.weight.detach().numpy().copy() for layer in layers),
        biases=tuple(layer.bias.detach().numpy().copy() for layer in layers),
        scale=scaling.action_scale,
        bias=scaling.action_bias,
    )


def facts_of(imitated: Imitated, config: RobotImitationConfig) -> dict[str, object]:
    """What the provenance of a student says of how it was made, JSON-able."""
    return {
        "rounds": config.imitate.rounds,
        "history": config.history,
        "teacher_digest": config.teacher,
        "likeness": asdict(imitated.likeness),
        "action_rmse": imitated.action_rmse,
    }
