"""Regression of a quantised student onto a teacher's actions: one round of updates."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from qpolicy_training.quant.compiled_actor import quantised_once
from qpolicy_training.quant.processor import products_dtype
from qpolicy_training.quant.quant_actor import QuantActor
from qpolicy_training.recipes.config import DistillConfig
from qpolicy_training.rl.quick_adam import QuickAdam


class Lesson(NamedTuple):
    """What a student is taught."""

    inputs: Tensor
    """Normalised observations ``(N, n)``."""
    labels: Tensor
    """The teacher's actions ``(N, m)``, in [-1, 1]."""
    spreads: Tensor | None = None
    """Their standard deviations before tanh ``(N, m)``, for the loss ``divergence``."""

    def with_more(self, other: Lesson) -> Lesson:
        """This and another one, of the same kind."""
        spreads = None
        if self.spreads is not None and other.spreads is not None:
            spreads = torch.cat((self.spreads, other.spreads))
        return Lesson(
            torch.cat((self.inputs, other.inputs)), torch.cat((self.labels, other.labels)), spreads
        )


_FARTHEST = 4.0  # spreads: an error beyond pulls no harder
_SATURATED = 1.0 - 1e-6  # float32 rounds what tanh makes of large numbers to 1


def adam(student: QuantActor, config: DistillConfig) -> QuickAdam:
    """Return a new optimiser of the student's parameters."""
    return QuickAdam(student.parameters(), config.learning_rate)


def fit(
    student: QuantActor,
    optimiser: QuickAdam,
    lesson: Lesson,
    config: DistillConfig,
    rng: np.random.Generator,
    place: tuple[int, int],
) -> float:
    """One round of regression onto the teacher's actions; returns the mean loss.

    Without spreads that is the square error. With them it is the divergence between two normal
    distributions of the same spread, half the square of the error in spreads, and grows linearly
    from ``_FARTHEST`` spreads on (Huber's loss).

    Args:
        student: calibrated.
        optimiser: of its parameters.
        lesson: what is taught.
        config: updates, batch and learning rate.
        rng: draws the batches.
        place: this round's number in its stage and the rounds of the stage, over which the
            learning rate falls by a cosine to a twentieth.
    """
    passes = quantised_once(student, products_dtype(config.products))
    total = 0.0
    for update in range(config.round_updates):
        share = (place[0] + update / config.round_updates) / place[1]
        floor = config.learning_rate / 20
        rate = floor + (config.learning_rate - floor) * 0.5 * (1 + math.cos(math.pi * share))
        for group in optimiser.param_groups:
            group["lr"] = rate
        index = torch.from_numpy(rng.integers(0, len(lesson.inputs), config.batch))
        with torch.no_grad():
            output, labels = passes(lesson.inputs[index])[0], lesson.labels[index]
            if lesson.spreads is None:
                loss, gradient = _square(output, labels)
            else:
                loss, gradient = _divergence(output, labels, lesson.spreads[index])
            passes.backward(gradient, None)
            optimiser.quick_step()
            passes.changed()
            total += loss
    return total / config.round_updates


def _square(output: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """Mean square error of ``tanh(output)``, and its gradient."""
    actions = torch.tanh(output)
    error = actions - labels
    gradient = error * (1.0 - actions * actions) * (2.0 / error.numel())
    return error.square().mean().item(), gradient


def _divergence(output: Tensor, labels: Tensor, spreads: Tensor) -> tuple[float, Tensor]:
    """Mean divergence of ``output`` from the labels before tanh, and its gradient."""
    meant = torch.atanh(labels.clamp(-_SATURATED, _SATURATED))
    error = (output - meant).div_(spreads)
    near = error.clamp(-_FARTHEST, _FARTHEST)
    loss = (near * (error - 0.5 * near)).mean().item()
    return loss, near.div_(spreads).div_(near.numel())
