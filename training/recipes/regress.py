"""Regression of a quantised student onto a teacher's actions: one round of updates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from qpolicy_training.quant.compiled_actor import quantised_once

if TYPE_CHECKING:
    import numpy as np

    from qpolicy_training.quant.quant_actor import QuantActor
    from qpolicy_training.recipes.distill import DistillConfig


def adam(student: QuantActor, config: DistillConfig) -> torch.optim.Optimizer:
    """Return a new optimiser of the student's parameters."""
    return torch.optim.Adam(student.parameters(), config.learning_rate, fused=True)


def fit(
    student: QuantActor,
    optimiser: torch.optim.Optimizer,
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
    passes = quantised_once(student, getattr(torch, config.products))
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
            optimiser.step()
            passes.changed()
            total += error.square().mean().item()
    return total / config.round_updates
