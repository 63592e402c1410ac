"""Distillation: a quantised student learns an FP32 teacher's actions on its own states (DAgger).

Ross et al. 2011 (arXiv 1011.0686): the student drives, the teacher says what it would have done,
all states so far are trained on again. Bit-widths of the core are lowered step by step on the way
(8, 4, 3, 2 down to the target), which a 2-bit student needs and a 4-bit one does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from qpolicy_training.fast_quant import actor_forward
from qpolicy_training.integer_policy import integer_policy
from qpolicy_training.quant_actor import ActorSpec, QuantActor, calibrate, with_bits

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpolicy_training.task_env import TrainingEnv
    from qpolicy_training.teacher import Teacher

TEACHER_NOISE = 0.1
"""Standard deviation of the noise on the teacher's own actions in the first round, of full scale:
it shows the student states beside the teacher's path."""


@dataclass(frozen=True)
class DistillConfig:
    """Hyperparameters of DAgger."""

    rounds: int = 24
    """Rounds of: the student drives, the teacher labels, the student trains."""
    round_steps: int = 4_000
    """Environment steps that each round adds."""
    round_updates: int = 1_500
    """Gradient updates of each round."""
    batch: int = 256
    """Observations per update."""
    learning_rate: float = 1e-3
    """Of Adam; falls to a twentieth by a cosine within each stage of bit-widths."""
    evaluate_episodes: int = 5
    """Held-out episodes after each round of the last stage."""


def stages(b_core: int) -> list[int]:
    """Bit-widths of the core on the way down to ``b_core``."""
    return [bits for bits in (8, 4, 3, 2) if bits > b_core] + [b_core]


def distill(
    teacher: Teacher,
    env: TrainingEnv,
    spec: ActorSpec,
    config: DistillConfig,
    *,
    seed: int,
    evaluate: Callable[[int, QuantActor], float],
) -> QuantActor:
    """Train a student of ``spec``; returns it as it stands after the last round.

    ``evaluate(round, student)`` returns a mean held-out return and keeps the best students: rounds
    swing, so the caller chooses among them.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    observations = collect_teacher(teacher, env, config.round_steps * 2, seed)
    labels = _labels(teacher, observations)
    widths = stages(spec.b_core)
    first = ActorSpec(spec.observations, spec.actions, spec.hidden, 8, widths[0], spec.b_out)
    student = QuantActor(first)
    calibrate(student, _normalised(teacher, observations))
    # Half of the rounds belong to the last stage, the others share the rest.
    last = max(config.rounds // 2, 1)
    early = (config.rounds - last) // max(len(widths) - 1, 1)
    done = 0
    with tqdm(total=early * (len(widths) - 1) + last, unit="round", desc="distill") as progress:
        for stage, bits in enumerate(widths):
            final = stage == len(widths) - 1
            target = spec if final else ActorSpec(
                spec.observations, spec.actions, spec.hidden, max(spec.b_in, bits), bits, spec.b_out
            )
            inputs = _normalised(teacher, observations)
            student = with_bits(student, target, inputs[rng.permutation(len(inputs))[:4096]])
            rounds = last if final else early
            optimiser = torch.optim.Adam(student.parameters(), config.learning_rate, fused=True)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
                optimiser,
                max(rounds * config.round_updates, 1),
                config.learning_rate / 20,
            )
            for _ in range(rounds):
                loss = _fit(student, optimiser, schedule, (inputs, labels), config, rng)
                done += 1
                postfix = {"bits": bits, "loss": f"{loss:.4f}"}
                if final:
                    postfix["held_out"] = f"{evaluate(done, student):.0f}"
                progress.set_postfix(postfix, refresh=False)
                progress.update()
                new = _drive_student(student, teacher, env, config.round_steps, seed + done)
                observations = np.concatenate((observations, new))
                labels = torch.cat((labels, _labels(teacher, new)))
                inputs = _normalised(teacher, observations)
    return student


def _fit(
    student: QuantActor,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    data: tuple[torch.Tensor, torch.Tensor],
    config: DistillConfig,
    rng: np.random.Generator,
) -> float:
    """One round of regression onto the teacher's actions; returns the mean loss."""
    inputs, labels = data
    parameters = list(student.parameters())
    total = 0.0
    for _ in range(config.round_updates):
        index = torch.from_numpy(rng.integers(0, len(inputs), config.batch))
        mean, _ = actor_forward(student, inputs[index])
        loss = F.mse_loss(torch.tanh(mean), labels[index])
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimiser.step()
        schedule.step()
        total += loss.item()
    return total / config.round_updates


def _normalised(teacher: Teacher, observations: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(teacher.normaliser(observations))


def _labels(teacher: Teacher, observations: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        mean, _ = teacher.actor(_normalised(teacher, observations))
        return torch.tanh(mean)


def collect_teacher(teacher: Teacher, env: TrainingEnv, steps: int, seed: int) -> np.ndarray:
    """Observations of the teacher with noise on its actions, float32 ``(steps, n)``."""
    policy = teacher.policy()
    rng = np.random.default_rng(seed)

    def act(observation: np.ndarray) -> np.ndarray:
        action = (policy(observation) - env.bias) / env.scale
        noisy = action + TEACHER_NOISE * rng.standard_normal(action.shape)
        return np.clip(noisy, -1.0, 1.0).astype(np.float32)

    return _collect(env, act, steps, seed)


def _drive_student(
    student: QuantActor, teacher: Teacher, env: TrainingEnv, steps: int, seed: int
) -> np.ndarray:
    policy = integer_policy(student, teacher.normaliser, env)

    def act(observation: np.ndarray) -> np.ndarray:
        action: np.ndarray = (policy(observation) - env.bias) / env.scale
        return action

    return _collect(env, act, steps, seed)


def _collect(
    env: TrainingEnv, act: Callable[[np.ndarray], np.ndarray], steps: int, seed: int
) -> np.ndarray:
    rows = np.empty((steps, env.observations), np.float32)
    observation = env.start(seed)
    for row in rows:
        row[:] = observation
        observation, _, terminated, truncated = env.step(act(observation))
        if terminated or truncated:
            observation = env.start(None)
    return rows
