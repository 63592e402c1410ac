"""The FP32 teacher: SAC (or DDPG) on a task, its best checkpoint chosen on held-out seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from qpolicy_ros.policy import Baseline, PolicyError
from qpolicy_ros.policy.baseline import baseline_actions
from qpolicy_ros.sim.rollout import Policy
from qpolicy_ros.sim.tasks import file_label
from qpolicy_training.experience.normaliser import CLIP, STD_FLOOR, RunningNormaliser
from qpolicy_training.experience.task_env import TrainingEnv
from qpolicy_training.recipes.dagger import EXPERT_NOISE
from qpolicy_training.rl.config import SacConfig
from qpolicy_training.rl.learners import better, make_learner
from qpolicy_training.rl.networks import Fp32Actor
from qpolicy_training.rl.sac import train
from qpolicy_training.rl.torch_setup import prepare
from qpolicy_training.runs.checkpoint import adopt
from qpolicy_training.runs.folder import Run
from qpolicy_training.runs.snapshots import (
    Winner,
    choose,
    held_out_return,
    normaliser_state,
    restored_normaliser,
)
from qpolicy_training.runs.state import load_state, module_state, restore_module, restoring

_MET = 4000  # observations that say how a policy without a normaliser of its own sees the task
_INSIDE = 0.99  # actions beyond this share of the limits ask tanh for the impossible


@dataclass(frozen=True)
class TeacherConfig:
    """The full configuration of a teacher's run; its hash names the run."""

    task: str
    seed: int
    hidden: tuple[int, ...] = (256, 256)
    sac: SacConfig = field(default_factory=SacConfig)
    """Of SAC; a ``DdpgConfig`` trains by DDPG."""
    kind: str = "fp32-sac"


@dataclass(frozen=True)
class Teacher:
    """A trained FP32 actor with the frozen normalisation of its observations."""

    actor: Fp32Actor
    normaliser: RunningNormaliser
    scale: np.ndarray
    bias: np.ndarray

    def policy(self) -> Policy:
        """Deterministic policy, one observation at a time: float32 ``(n,)`` → ``(m,)``."""

        def act(observation: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                mean, _ = self.actor(torch.from_numpy(self.normaliser(observation)[None]))
                action: np.ndarray = torch.tanh(mean[0]).numpy() * self.scale + self.bias
                return action

        return act

    def shares(self, observations: np.ndarray) -> torch.Tensor:
        """What it does ``(k, m)`` where it sees ``(k, n)``, as shares of the limits, -1 to 1."""
        with torch.no_grad():
            mean, _ = self.actor(torch.from_numpy(self.normaliser(observations)))
            return torch.tanh(mean)

    def baseline(self) -> Baseline:
        """The same policy as the artifact stores it."""
        layers = [*self.actor.hidden, self.actor.mean]
        return Baseline(
            mean=self.normaliser.mean.copy(),
            std=self.normaliser.std.copy(),
            clip=CLIP,
            weights=tuple(layer.weight.detach().numpy().copy() for layer in layers),
            biases=tuple(layer.bias.detach().numpy().copy() for layer in layers),
            scale=self.scale.copy(),
            bias=self.bias.copy(),
        )

    @classmethod
    def of(cls, baseline: Baseline) -> Teacher:
        """The teacher that an artifact's FP32 baseline is.

        Raises:
            PolicyError: it has other activations than ours: somebody else trained it.
        """
        if baseline.steps:
            kinds = ", ".join(dict.fromkeys(str(s[0]) for s in baseline.steps if s[0] != "linear"))
            wrong = (
                f"has {kinds or 'no activations'}, not ReLU between its layers and tanh at its end"
            )
            remedy = "leave --method ptq out: distillation takes any"
            raise PolicyError.at("", "baseline", wrong, remedy)
        actor = Fp32Actor(baseline.mean.size, baseline.scale.size, baseline.hidden)
        layers = [*actor.hidden, actor.mean]
        with torch.no_grad():
            for layer, weight, bias in zip(layers, baseline.weights, baseline.biases, strict=True):
                layer.weight.copy_(torch.tensor(weight))
                layer.bias.copy_(torch.tensor(bias))
        normaliser = RunningNormaliser.fixed(baseline.mean, baseline.std)
        return cls(actor, normaliser, baseline.scale, baseline.bias)


class ForeignTeacher:
    """Somebody else's FP32 policy of a task, whatever its layers are: it teaches, no more.

    Attributes:
        normaliser: of its student: the policy's own, else of what it sees while it plays.
    """

    def __init__(self, baseline: Baseline, env: TrainingEnv, seed: int) -> None:
        self._baseline, self._env = baseline, env
        own = bool(np.any(baseline.std != 1.0) or np.any(baseline.mean))
        seen = None if own else self._met(seed)
        mean = baseline.mean if seen is None else seen.mean(axis=0).astype(np.float32)
        std = baseline.std if seen is None else np.maximum(seen.std(axis=0), STD_FLOOR)
        self.normaliser = RunningNormaliser.fixed(mean, std.astype(np.float32))

    def policy(self) -> Policy:
        """Deterministic policy, one observation at a time: float32 ``(n,)`` → ``(m,)``."""
        low, high = self._env.bias - self._env.scale, self._env.bias + self._env.scale

        def act(observation: np.ndarray) -> np.ndarray:
            action = baseline_actions(self._baseline, observation[None])[0]
            return np.clip(action, low, high)

        return act

    def shares(self, observations: np.ndarray) -> torch.Tensor:
        """As of :class:`Teacher`."""
        actions = baseline_actions(self._baseline, observations)
        shares = (actions - self._env.bias) / self._env.scale
        return torch.from_numpy(np.clip(shares, -_INSIDE, _INSIDE).astype(np.float32))

    def _met(self, seed: int) -> np.ndarray:
        """Observations of the policy as it plays, with some noise."""
        env, act = self._env, self.policy()
        rng = np.random.default_rng(seed)
        seen, now = [], env.start(seed)
        for _ in range(_MET):
            seen.append(now)
            action = (act(now) - env.bias) / env.scale + EXPERT_NOISE * rng.standard_normal(
                env.actions
            )
            now, _, terminated, truncated = env.step(np.clip(action, -1, 1).astype(np.float32))
            if terminated or truncated:
                now = env.start(None)
        return np.stack(seen)


def train_teacher(
    config: TeacherConfig,
    resume_from: Path | None = None,
    *,
    finish: bool = False,
    cpu_seconds: float = math.inf,
) -> tuple[Teacher, Run, Winner]:
    """Train, or go on training, and return the best snapshot with what is known of it.

    ``resume_from``: a checkpoint to start a new run folder with. ``finish``: train no further than
    the run's checkpoint. ``cpu_seconds``: processor time at which the run ends too. The caller
    closes the run. Raises ``PolicyError`` for an unusable task, a folder in use, a full disk or a
    diverging run.
    """
    prepare(config.seed)
    env = TrainingEnv(config.task)
    actor = Fp32Actor(env.observations, env.actions, config.hidden)
    learner = make_learner(actor, (env.observations, env.actions, config.hidden[-1]), config.sac)
    normaliser = RunningNormaliser(env.observations)
    stands = finish and resume_from is None
    run = Run(f"{file_label(env.contract.task)}-{config.kind}", config, finish=stands)
    if resume_from is not None:
        adopt(run, resume_from)
    now = Teacher(actor, normaliser, env.scale, env.bias)

    def held_out(step: int) -> float:
        with better(
            learner,
            lambda: held_out_return(now.policy(), config.task, config.sac.evaluate_episodes),
        ) as mean:
            tensors = {**module_state("actor", actor), **normaliser_state(normaliser)}
            run.consider(step, mean, tensors, {"hidden": list(config.hidden)})
        return mean

    seed, sac = config.seed, config.sac
    train(
        env, learner, normaliser, run, sac,
        seed=seed, evaluate=held_out, finish=finish, cpu_seconds=cpu_seconds,
    )  # fmt: skip
    winner = choose(run, config.task, lambda path: load_snapshot(path, env).policy())
    return load_snapshot(winner.path, env), run, winner


def load_snapshot(path: Path, env: TrainingEnv) -> Teacher:
    """Load a run's candidate; PolicyError where the file is damaged."""
    tensors, meta = load_state(path)
    with restoring(path):
        actor = Fp32Actor(env.observations, env.actions, meta["hidden"])
        restore_module("actor", actor, tensors)
        return Teacher(actor, restored_normaliser(tensors), env.scale, env.bias)
