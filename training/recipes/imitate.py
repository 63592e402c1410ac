"""An FP32 policy learnt by DAgger, from a task's scripted controller or from another FP32 policy.

Ross et al. 2011 (arXiv 1011.0686), as in ``distill``: the network drives, the expert says what it
would have done, all states so far are trained on again. With a program as the expert it takes
minutes where RL takes hours; with a policy it gives one of another width, such as the FP32 control
beside a small quantised student.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from qpolicy_ros.policy import PolicyArtifact, require_task
from qpolicy_ros.sim.tasks import file_label
from qpolicy_training.experience.normaliser import RunningNormaliser
from qpolicy_training.experience.task_env import TrainingEnv
from qpolicy_training.recipes.config import ImitateConfig
from qpolicy_training.recipes.dagger import EXPERT_NOISE, fit
from qpolicy_training.recipes.teacher import Teacher, load_snapshot
from qpolicy_training.rl.networks import Fp32Actor
from qpolicy_training.rl.torch_setup import prepare
from qpolicy_training.runs.config import ADDED_LATER
from qpolicy_training.runs.folder import DivergedError, Run
from qpolicy_training.runs.snapshots import Winner, choose, held_out_return, normaliser_state
from qpolicy_training.runs.state import module_state

_INSIDE = 0.99
"""Actions beyond this share of their limits ask tanh for the impossible."""


@dataclass(frozen=True)
class ImitationConfig:
    """The full configuration of a run; its hash names the run."""

    task: str
    seed: int
    hidden: tuple[int, ...] = (256, 256)
    imitate: ImitateConfig = field(default_factory=ImitateConfig)
    kind: str = "fp32-imitate"
    teacher: str = field(default="", metadata=ADDED_LATER)
    """Hash of the function of the policy to learn from; empty: the scripted controller."""


def imitate(
    config: ImitationConfig, teacher: PolicyArtifact | None = None
) -> tuple[Teacher, Run, Winner]:
    """Train and return the best snapshot with what is known of it; a killed run starts again.

    ``teacher``: the policy to learn from, whose normalisation the student keeps; left out, the
    task's scripted controller. The caller closes the run. Raises ``PolicyError`` for a task without
    one, a teacher of another task, or a folder in use, ``DivergedError`` when the loss is not
    finite.
    """
    prepare(config.seed)
    options = config.imitate
    rng = np.random.default_rng(config.seed)
    env = TrainingEnv(config.task)
    observation = env.start(config.seed)
    expert, normaliser = _expert(env, teacher)
    run = Run(f"{file_label(env.contract.task)}-{config.kind}", config)
    run.rewind([], {})
    actor = Fp32Actor(env.observations, env.actions, config.hidden)
    now = Teacher(actor, normaliser, env.scale, env.bias)
    total = options.rounds * options.round_steps
    seen = np.empty((total, env.observations), np.float32)
    wanted = np.empty((total, env.actions), np.float32)
    optimiser = torch.optim.Adam(actor.parameters(), options.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, options.rounds * options.round_updates, options.learning_rate / 10
    )
    drive = now.policy()
    count = 0
    with run.progress(total, 0) as progress:
        for index in range(options.rounds):
            for _ in range(options.round_steps):
                label = expert(observation)
                seen[count], wanted[count] = observation, label
                normaliser.update(observation)
                if index == 0:
                    action = label + rng.normal(0.0, EXPERT_NOISE, env.actions)
                else:
                    action = (drive(observation) - env.bias) / env.scale
                bounded: NDArray[np.float32] = np.clip(action, -1.0, 1.0).astype(np.float32)
                observation, _, terminated, truncated = env.step(bounded)
                if terminated or truncated:
                    observation = env.start(None)
                count += 1
            inputs, targets = normaliser(seen[:count]), wanted[:count]
            data = (torch.from_numpy(inputs), torch.from_numpy(targets))
            loss = fit(actor, optimiser, schedule, data, options, rng)
            if not math.isfinite(loss):
                message = (
                    f"{run.folder}: loss: {loss} in round {index + 1}: the run diverged; snapshots "
                    "of earlier rounds are kept, lower --imitate.learning-rate or change --seed"
                )
                raise DivergedError(message)
            mean = held_out_return(now.policy(), config.task, options.evaluate_episodes)
            tensors = {**module_state("actor", actor), **normaliser_state(normaliser)}
            run.consider(count, mean, tensors, {"hidden": list(config.hidden)})
            run.record(count, mean)
            progress.update(count)
    winner = choose(run, config.task, lambda path: load_snapshot(path, env).policy())
    return load_snapshot(winner.path, env), run, winner


def _expert(
    env: TrainingEnv, artifact: PolicyArtifact | None
) -> tuple[Callable[[NDArray[np.float32]], NDArray[np.float32]], RunningNormaliser]:
    """What to do where an observation has just been made, in [-1, 1], and the normalisation."""
    if artifact is None:
        env.expert()  # refuses a task that has none
        fresh = RunningNormaliser(env.observations)
        return lambda _: np.clip(env.expert(), -_INSIDE, _INSIDE), fresh
    require_task(artifact, env.contract.task)
    teacher = Teacher.of(artifact.baseline)
    policy = teacher.policy()
    return lambda observation: (policy(observation) - env.bias) / env.scale, teacher.normaliser
