"""Few inputs a neuron: which weights of a ``QuantActor`` count, and how training chooses them.

With 2-bit codes a neuron of three inputs is one look-up table for each bit of its code. A weight
that does not count is exactly 0, in training, in the trained module and in the policy, so nothing
after training knows of it.

While a student is distilled, the weights that count are chosen anew after every update: the
largest of each neuron, among weights that all go on learning from the gradients of the few (dynamic
pruning with feedback, Lin et al. 2020, arXiv 2006.07253). Later training keeps the choice.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from qpolicy_training.quant.quant_actor import QuantActor, limited_weights, prune


class Choice:
    """Chooses the weights of a student that count after each step of its optimiser.

    Attributes:
        all: the weights of each limited layer, with those that do not count, where the student
            has 0.
    """

    def __init__(self, student: QuantActor, optimiser: torch.optim.Optimizer) -> None:
        self._weights = limited_weights(student)
        self.all = [weight.detach().clone() for weight, _ in self._weights]
        if self.all:
            optimiser.register_step_pre_hook(self._before)
            optimiser.register_step_post_hook(self._after)

    @torch.no_grad()
    def _before(self, *_: Any) -> None:
        for (weight, _most), values in zip(self._weights, self.all, strict=True):
            weight.copy_(values)

    @torch.no_grad()
    def _after(self, *_: Any) -> None:
        for (weight, most), values in zip(self._weights, self.all, strict=True):
            values.copy_(weight)
            prune(weight, most)
            bound(weight, most)

    def tensors(self) -> dict[str, Tensor]:
        """What a resume needs."""
        return {f"all.{index}": values for index, values in enumerate(self.all)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Undo ``tensors``."""
        for index, values in enumerate(self.all):
            values.copy_(tensors[f"all.{index}"])


def keep_choice(optimiser: torch.optim.Optimizer, actor: QuantActor) -> None:
    """Let ``optimiser`` leave the weights of ``actor`` that do not count at 0, from now on."""
    limited = limited_weights(actor)

    def before(*_: Any) -> None:
        for weight, _most in limited:
            if weight.grad is not None:
                weight.grad *= weight != 0

    @torch.no_grad()
    def after(*_: Any) -> None:
        for weight, most in limited:
            bound(weight, most)

    if limited:
        optimiser.register_step_pre_hook(before)
        optimiser.register_step_post_hook(after)


def bound(weight: Tensor, most: int) -> None:
    """Clip weights to where they began.

    The largest one sets the step of all: of few that count, one that grows would round others to 0.
    """
    largest = 1.0 / math.sqrt(most)
    weight.clamp_(-largest, largest)
