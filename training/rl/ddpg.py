"""Deep deterministic policy gradient with the FP32 or the quantised actor.

Lillicrap et al. 2016 (arXiv 1509.02971) as CleanRL's ``ddpg_continuous_action`` writes it: one
critic, target networks of both, Gaussian noise on the action, actor and targets updated every
second time. The loop around it is that of ``sac.py``.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from qpolicy_training.experience.replay import Batch
from qpolicy_training.quant.quant_actor import QuantActor, set_statistics
from qpolicy_training.rl.config import DdpgConfig
from qpolicy_training.rl.networks import TwinCritic
from qpolicy_training.rl.quick_adam import QuickAdam
from qpolicy_training.runs.state import Parts


class DdpgLearner:
    """Networks, optimisers and the update rule; an ``Agent``.

    ``sizes``: observations and actions. ``forward(actor, normalised)`` returns the pre-tanh action
    first, as the actor itself does, and may be a faster way to it.
    """

    def __init__(
        self,
        actor: nn.Module,
        sizes: tuple[int, int],
        config: DdpgConfig,
        policy_starts: int = 0,
        forward: Callable[[Any, Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        self.config = config
        self._policy_starts = policy_starts
        self._forward = forward or (lambda module, normalised: module(normalised))
        self.actor = actor.eval()
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(requires_grad=False)
        self.critic = TwinCritic(*sizes, config.critic_width, count=1)
        self.target = copy.deepcopy(self.critic).requires_grad_(requires_grad=False)
        self._actor_parameters: list[Tensor] = list(actor.parameters())
        self._critic_parameters: list[Tensor] = list(self.critic.parameters())
        self.policy_optimiser = QuickAdam(self._actor_parameters, config.policy_lr)
        self.critic_optimiser = QuickAdam(self._critic_parameters, config.critic_lr)
        self.updates = 0

    def explore(self, normalised: Tensor) -> np.ndarray:
        """Deterministic action with Gaussian noise, clipped to [-1, 1]: float32 ``(m,)``."""
        with torch.no_grad():
            action = torch.tanh(self._forward(self.actor, normalised)[0][0])
            noisy = action + self.config.noise * torch.randn_like(action)
            result: np.ndarray = noisy.clamp_(-1.0, 1.0).numpy()
            return result

    def update(self, batch: Batch) -> float:
        """One critic update and, every ``policy_frequency`` calls, one of actor and targets."""
        config = self.config
        with torch.no_grad():
            next_action = torch.tanh(self._forward(self.target_actor, batch.next_observation)[0])
            next_q = self.target(batch.next_observation, next_action)[0]
            target = batch.reward + (1.0 - batch.terminated) * config.gamma * next_q
        loss = mse_loss(self.critic(batch.observation, batch.action)[0], target)
        gradient_step(self.critic_optimiser, self._critic_parameters, loss)
        self.updates += 1
        if self.updates % config.policy_frequency == 0:
            if self.updates > self._policy_starts:
                self._update_actor(batch.observation)
            self._follow()
        return loss.item()

    def _update_actor(self, observation: Tensor) -> None:
        # Activation statistics are taken here alone, not when acting or bootstrapping.
        self.actor.train()
        action = torch.tanh(self._forward(self.actor, observation)[0])
        self.actor.eval()
        with passed_through(self._critic_parameters):
            loss = -self.critic(observation, action)[0].mean()
        gradient_step(self.policy_optimiser, self._actor_parameters, loss)

    def _follow(self) -> None:
        """Move the targets towards their networks."""
        actor, target = self.actor, self.target_actor
        torch._foreach_lerp_(
            list(self.target.parameters()), self._critic_parameters, self.config.tau
        )
        torch._foreach_lerp_(list(target.parameters()), self._actor_parameters, self.config.tau)
        # While ranges are measured they are no parameters yet: the target has the actor's own.
        if (
            isinstance(actor, QuantActor)
            and isinstance(target, QuantActor)
            and not target.calibrated
        ):
            set_statistics(target, actor.get_extra_state())

    def _parts(self) -> Parts:
        return Parts(
            {
                "actor": self.actor,
                "target_actor": self.target_actor,
                "critic": self.critic,
                "target": self.target,
            },
            {"policy_adam": self.policy_optimiser, "critic_adam": self.critic_optimiser},
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resume needs."""
        return self._parts().tensors()

    def restore(self, tensors: dict[str, Tensor], updates: int) -> None:
        """Undo ``tensors``."""
        self._parts().restore(tensors)
        self.updates = updates

    def scalars(self) -> dict[str, float]:
        """Nothing beside the loss."""
        return {}


@contextlib.contextmanager
def passed_through(parameters: list[Tensor]) -> Iterator[None]:
    """Let gradients go through a network without taking those of its ``parameters``."""
    for parameter in parameters:
        parameter.requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(requires_grad=True)


def gradient_step(optimiser: QuickAdam, parameters: list[Tensor], loss: Tensor) -> None:
    """One optimiser step down the gradient of ``loss``."""
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimiser.quick_step()
