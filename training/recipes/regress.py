"""Regression of a quantised student onto a teacher's actions: one round of updates."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from qpolicy_training.quant.compiled_actor import quantised_once
from qpolicy_training.quant.processor import products_dtype
from qpolicy_training.quant.quant_actor import QuantActor
from qpolicy_training.recipes.dagger import DaggerConfig
from qpolicy_training.rl.quick_adam import QuickAdam
from qpolicy_training.runs.config import ADDED_LATER


@dataclass(frozen=True)
class DistillConfig(DaggerConfig):
    """Hyperparameters of distillation."""

    prefix = "--distill"

    rounds: int = 24
    """Rounds of: the student drives, the teacher labels, the student trains."""
    products: Literal["float32", "bfloat16"] = field(default="float32", metadata=ADDED_LATER)
    """Precision of the backward pass' matrix products, as --sac.products."""
    evaluate_last: int = field(default=10**6, metadata=ADDED_LATER)
    """On a robot: how many of the last rounds are played and compete."""
    finalists: int = field(default=3, metadata=ADDED_LATER)
    """On a robot: how many students compete on fresh seeds at the end."""
    walks: int = field(default=20, metadata=ADDED_LATER)
    """On a robot: walks at each command by which those are judged."""


def adam(student: QuantActor, config: DistillConfig) -> QuickAdam:
    """Return a new optimiser of the student's parameters."""
    return QuickAdam(student.parameters(), config.learning_rate)


def fit(
    student: QuantActor,
    optimiser: QuickAdam,
    data: tuple[torch.Tensor, torch.Tensor],
    config: DistillConfig,
    rng: np.random.Generator,
    place: tuple[int, int],
) -> float:
    """One round of regression onto the teacher's actions; returns the mean loss.

    Args:
        student: calibrated.
        optimiser: of its parameters.
        data: normalised observations ``(N, n)`` and actions in [-1, 1] ``(N, m)``.
        config: updates, batch and learning rate.
        rng: draws the batches.
        place: this round's number in its stage and the rounds of the stage, over which the
            learning rate falls by a cosine to a twentieth.
    """
    inputs, labels = data
    passes = quantised_once(student, products_dtype(config.products))
    total = 0.0
    for update in range(config.round_updates):
        share = (place[0] + update / config.round_updates) / place[1]
        floor = config.learning_rate / 20
        rate = floor + (config.learning_rate - floor) * 0.5 * (1 + math.cos(math.pi * share))
        for group in optimiser.param_groups:
            group["lr"] = rate
        index = torch.from_numpy(rng.integers(0, len(inputs), config.batch))
        with torch.no_grad():
            actions = torch.tanh(passes(inputs[index])[0])
            error = actions - labels[index]
            # The gradient of the mean square, through tanh.
            passes.backward(error * (1.0 - actions * actions) * (2.0 / error.numel()), None)
            optimiser.quick_step()
            passes.changed()
            total += error.square().mean().item()
    return total / config.round_updates
