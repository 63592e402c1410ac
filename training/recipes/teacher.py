"""The FP32 teacher: SAC (or DDPG) on a task, its best checkpoint chosen on held-out seeds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from qpolicy_ros.policy import Baseline, PolicyError
from qpolicy_ros.sim.tasks import file_label
from qpolicy_training.experience.normaliser import CLIP, RunningNormaliser
from qpolicy_training.experience.task_env import TrainingEnv
from qpolicy_training.rl.learners import better, make_learner
from qpolicy_training.rl.networks import Fp32Actor
from qpolicy_training.rl.sac import SacConfig, train
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

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from qpolicy_ros.sim.rollout import Policy


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
            remedy = "distil it on its robot or from recordings: --robot or --bag"
            raise PolicyError.at("", "baseline", wrong, remedy)
        actor = Fp32Actor(baseline.mean.size, baseline.scale.size, baseline.hidden)
        layers = [*actor.hidden, actor.mean]
        with torch.no_grad():
            for layer, weight, bias in zip(layers, baseline.weights, baseline.biases, strict=True):
                layer.weight.copy_(torch.tensor(weight))
                layer.bias.copy_(torch.tensor(bias))
        normaliser = RunningNormaliser.fixed(baseline.mean, baseline.std)
        return cls(actor, normaliser, baseline.scale, baseline.bias)


def train_teacher(
    config: TeacherConfig, resume_from: Path | None = None, *, finish: bool = False
) -> tuple[Teacher, Run, Winner]:
    """Train, or go on training, and return the best snapshot with what is known of it.

    ``resume_from``: a checkpoint to start a new run folder with. ``finish``: train no further than
    the run's checkpoint. The caller closes the run. Raises
    ``PolicyError`` for an unusable task, a folder in use, a full disk or a diverging run.
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
    train(env, learner, normaliser, run, sac, seed=seed, evaluate=held_out, finish=finish)
    winner = choose(run, config.task, lambda path: load_snapshot(path, env).policy())
    return load_snapshot(winner.path, env), run, winner


def load_snapshot(path: Path, env: TrainingEnv) -> Teacher:
    """Load a run's candidate; PolicyError where the file is damaged."""
    tensors, meta = load_state(path)
    with restoring(path):
        actor = Fp32Actor(env.observations, env.actions, meta["hidden"])
        restore_module("actor", actor, tensors)
        return Teacher(actor, restored_normaliser(tensors), env.scale, env.bias)
