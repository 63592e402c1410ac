"""The FP32 teacher: SAC on a task, its best checkpoint chosen on held-out seeds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from qpolicy_ros.sim.rollout import Policy, evaluate
from qpolicy_training.networks import Fp32Actor
from qpolicy_training.normaliser import RunningNormaliser
from qpolicy_training.run import Run
from qpolicy_training.sac import Learner, SacConfig, train
from qpolicy_training.state import load_state, module_state, restore_module
from qpolicy_training.task_env import TrainingEnv

if TYPE_CHECKING:
    from pathlib import Path

# Three disjoint ranges of environment seeds: training uses its own seed, snapshots compete on the
# first range, the winner among the finalists is found on the second, and returns are reported on
# seeds below 100,000 (``qpolicy evaluate``), which nothing has been chosen on.
HELD_OUT_SEED = 1_000_000
FINAL_SEED = 2_000_000
FINAL_EPISODES = 50


@dataclass(frozen=True)
class TeacherConfig:
    """The full configuration of a teacher's run; its hash names the run."""

    task: str
    seed: int
    hidden: tuple[int, ...] = (256, 256)
    sac: SacConfig = field(default_factory=SacConfig)
    kind: str = "fp32-sac"


@dataclass(frozen=True)
class Teacher:
    """A trained FP32 actor with the frozen normalisation of its observations."""

    actor: Fp32Actor
    normaliser: RunningNormaliser
    scale: np.ndarray
    bias: np.ndarray

    def policy(self) -> Policy:
        """Deterministic policy: float32 ``(n,)`` → float32 ``(m,)``."""
        return deterministic_policy(self.actor, self.normaliser, self.scale, self.bias)


def deterministic_policy(
    actor: torch.nn.Module, normaliser: RunningNormaliser, scale: np.ndarray, bias: np.ndarray
) -> Policy:
    """``tanh(actor(normalised)) * scale + bias``, one observation at a time, in torch."""

    def act(observation: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            mean, _ = actor(torch.from_numpy(normaliser(observation)[None]))
            action: np.ndarray = torch.tanh(mean[0]).numpy() * scale + bias
            return action

    return act


def train_teacher(config: TeacherConfig) -> tuple[Teacher, Run, dict[str, Any]]:
    """Train (or go on training) and return the best snapshot with what is known of it."""
    torch.set_num_threads(1)
    torch.manual_seed(config.seed)
    env = TrainingEnv(config.task)
    actor = Fp32Actor(env.observations, env.actions, config.hidden)
    learner = Learner(actor, (env.observations, env.actions, config.hidden[-1]), config.sac)
    normaliser = RunningNormaliser(env.observations)
    run = Run(f"{env.contract.task}-{config.kind}", config)

    def held_out(step: int) -> float:
        policy = deterministic_policy(actor, normaliser, env.scale, env.bias)
        returns = evaluate(policy, config.task, config.sac.evaluate_episodes, HELD_OUT_SEED)
        mean = float(np.mean(returns))
        run.consider(step, mean, _snapshot(actor, normaliser), {"hidden": list(config.hidden)})
        return mean

    train(env, learner, normaliser, run, config.sac, seed=config.seed, evaluate=held_out)
    return (*_choose(config, run, env), )


def _snapshot(actor: Fp32Actor, normaliser: RunningNormaliser) -> dict[str, torch.Tensor]:
    tensors = module_state("actor", actor)
    for name, value in normaliser.state().items():
        tensors[f"normaliser.{name}"] = torch.from_numpy(np.asarray(value).copy())
    return tensors


def load_teacher(path: Path, env: TrainingEnv) -> Teacher:
    """Read a snapshot of a teacher's run."""
    tensors, meta = load_state(path)
    actor = Fp32Actor(env.observations, env.actions, meta["hidden"])
    restore_module("actor", actor, tensors)
    normaliser = RunningNormaliser(env.observations)
    normaliser.restore(
        {name: tensors[f"normaliser.{name}"].numpy() for name in normaliser.state()}
    )
    return Teacher(actor, normaliser, env.scale, env.bias)


def _choose(
    config: TeacherConfig, run: Run, env: TrainingEnv
) -> tuple[Teacher, Run, dict[str, Any]]:
    """Play every finalist on fresh seeds and take the best mean."""
    best: tuple[float, int, Teacher] | None = None
    for step in sorted(run.candidates):
        teacher = load_teacher(run.candidate_path(step), env)
        mean = float(
            np.mean(evaluate(teacher.policy(), config.task, FINAL_EPISODES, FINAL_SEED))
        )
        if best is None or mean > best[0]:
            best = (mean, step, teacher)
    assert best is not None, "a finished run has candidates"
    return best[2], run, {"step": best[1], "selection_return": best[0]}
