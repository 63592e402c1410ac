"""SAC's update in few torch operations; tests compare it with the same rule by autograd.

The critics' passes are written out (``twin_critic.py``), in C where that can be. Products are taken
at a lower precision where that is asked for; the quantised actor's integer products stay exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qpolicy_training.experience.replay import Batch
from qpolicy_training.quant.compiled_actor import quantised_once
from qpolicy_training.quant.fast_quant import QuantisedOnce
from qpolicy_training.quant.quant_actor import QuantActor
from qpolicy_training.rl.compiled_critic import flat_twin_critic
from qpolicy_training.rl.config import SacConfig
from qpolicy_training.rl.networks import (
    LOG_STD_MAX,
    LOG_STD_MIN,
    Fp32Actor,
    log_probability_of,
)
from qpolicy_training.rl.quick_adam import QuickAdam
from qpolicy_training.rl.sac import Learner
from qpolicy_training.rl.twin_critic import threshold_backward

_ADAM = ("step", "exp_avg", "exp_avg_sq")
_PARAMETERS = 12  # of two critics with three layers each
_HALF_RANGE = 0.5 * (LOG_STD_MAX - LOG_STD_MIN)


class FastLearner(Learner):
    """The update rule, with products at ``dtype``; float32 gives the gradients of autograd."""

    def __init__(
        self,
        actor: nn.Module,
        sizes: tuple[int, int, int],
        config: SacConfig,
        policy_starts: int = 0,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        super().__init__(actor, sizes, config, policy_starts)
        self._twin = flat_twin_critic(self.critic, dtype)
        self._target_twin = flat_twin_critic(self.target, dtype)
        self._twin.flat.grad = self._twin.gradient
        self.critic_optimiser = QuickAdam([self._twin.flat], config.critic_lr)
        self._passes: Fp32Passes | QuantisedOnce
        if isinstance(actor, QuantActor):
            self._passes = quantised_once(actor, dtype)
        else:
            assert isinstance(actor, Fp32Actor)
            self._passes = Fp32Passes(actor, dtype)
        self.forward = self._passes.values

    def update(self, batch: Batch) -> float:
        """One critic update and, every ``policy_frequency`` calls, one of actor and temperature.

        ``batch`` holds normalised observations. Returns the critic loss.
        """
        config = self.config
        with torch.no_grad():
            alpha = self.log_alpha.exp()
            next_action, next_log_probability = self.sample(batch.next_observation)
            next_q = self._target_twin.values(batch.next_observation, next_action)
            soft_value = torch.amin(next_q, 0) - alpha * next_log_probability
            share = (1.0 - batch.terminated) * config.gamma
            target = batch.reward * config.reward_scale + share * soft_value
            done = self._twin.forward(batch.observation, batch.action)
            error = done.q - target
            # The sum, not the mean, of the two critics' losses, as in CleanRL.
            loss = error.square().sum().item() / len(target)
            self._twin.backward(done, error * (2.0 / len(target)))
            self.critic_optimiser.quick_step()
            self._twin.changed()

        self.updates += 1
        due = self.updates % config.policy_frequency == 0
        if due and self.updates > self._policy_starts:
            self._update_policy(batch.observation, alpha)
            self._update_average()
        self._target_twin.flat.lerp_(self._twin.flat, config.tau)
        self._target_twin.changed()
        return loss

    def _update_policy(self, observation: Tensor, alpha: Tensor) -> None:
        # Activation statistics are taken here alone, not when acting or bootstrapping.
        self.actor.train()
        if isinstance(self.actor, QuantActor) and not self.actor.calibrated:
            log_probability = self._gradients_by_autograd(observation, alpha)
        else:
            log_probability = self._gradients_by_hand(observation, alpha)
        self.actor.eval()
        self.policy_optimiser.quick_step()
        self._passes.changed()
        with torch.no_grad():
            entropy_gap = (log_probability + self.target_entropy).mean()
            self.log_alpha.grad = -self.log_alpha.exp() * entropy_gap
            self.alpha_optimiser.quick_step()

    def _gradients_by_autograd(self, observation: Tensor, alpha: Tensor) -> Tensor:
        """Set the actor's and the head's gradients; return the log-probabilities.

        For the statistics phase, in which Brevitas computes.
        """
        action, log_probability = self.sample(observation)
        d_action = self._action_gradient(observation, action.detach())
        d_log_probability = (alpha / len(action)).expand(len(action))
        gradients = torch.autograd.grad(
            (action, log_probability),
            self.policy_parameters,
            (d_action, d_log_probability),
            allow_unused=True,
        )
        for parameter, gradient in zip(self.policy_parameters, gradients, strict=True):
            parameter.grad = gradient
        return log_probability.detach()

    @torch.no_grad()
    def _gradients_by_hand(self, observation: Tensor, alpha: Tensor) -> Tensor:
        """As ``_gradients_by_autograd``, with ``sample_action``'s derivatives written out."""
        mean, features = self._passes(observation)
        layer = self.head.log_std
        squashed = torch.addmm(layer.bias, features, layer.weight.t()).tanh_()
        log_std = LOG_STD_MIN + _HALF_RANGE * (squashed + 1.0)
        noise = torch.randn_like(mean)
        spread = log_std.exp().mul_(noise)
        pre_tanh = mean + spread
        action = torch.tanh(pre_tanh)
        log_probability = log_probability_of(pre_tanh, noise, log_std)
        weight = alpha / len(action)
        d_action = self._action_gradient(observation, action)
        # d log_probability / d pre_tanh, at fixed noise, is 2 action; d action is 1 - action².
        d_mean = d_action * (1.0 - action.square()) + 2.0 * weight * action
        d_log_std = (d_mean * spread).sub_(weight)
        d_raw = d_log_std.mul_(_HALF_RANGE * (1.0 - squashed.square()))
        layer.weight.grad = torch.mm(d_raw.t(), features)
        layer.bias.grad = d_raw.sum(0)
        self._passes.backward(d_mean, torch.mm(d_raw, layer.weight))
        return log_probability

    @torch.no_grad()
    def _action_gradient(self, observation: Tensor, action: Tensor) -> Tensor:
        """Gradient of minus the smaller Q value, by actions."""
        done = self._twin.forward(observation, action)
        smaller = (done.q[0] <= done.q[1]).float()
        d_value = torch.stack((smaller, 1.0 - smaller)).mul_(-1.0 / len(action))
        return self._twin.action_gradient(done, d_value, action.shape[1])

    def tensors(self) -> dict[str, Tensor]:
        """See ``Learner.tensors``: the same, so that either learner goes on from the other's."""
        tensors = super().tensors()
        for name in _ADAM:
            flat = tensors.pop(f"critic_adam.0.{name}", None)
            if flat is not None:  # before the first update there is none
                one = flat.dim() == 0
                parts = [flat] * _PARAMETERS if one else self._twin.per_parameter(flat)
                tensors |= {f"critic_adam.{i}.{name}": part for i, part in enumerate(parts)}
        return tensors

    def restore(self, tensors: dict[str, Tensor], updates: int) -> None:
        """See ``Learner.restore``."""
        tensors = dict(tensors)
        for name in _ADAM:
            if f"critic_adam.0.{name}" in tensors:
                parts = [tensors.pop(f"critic_adam.{i}.{name}") for i in range(_PARAMETERS)]
                flat = parts[0]
                if flat.dim() > 0:
                    flat = torch.empty_like(self._twin.flat)
                    for view, part in zip(self._twin.per_parameter(flat), parts, strict=True):
                        view.copy_(part)
                tensors[f"critic_adam.0.{name}"] = flat
        super().restore(tensors, updates)
        self.changed()

    def changed(self) -> None:
        """Tell that somebody else has set parameters."""
        self._twin.changed()
        self._target_twin.changed()
        self._passes.changed()


class Fp32Passes:
    """Forward and backward pass of an ``Fp32Actor``, hidden layers' products at ``dtype``."""

    def __init__(self, actor: Fp32Actor, dtype: torch.dtype) -> None:
        self._actor, self._dtype = actor, dtype
        self._hidden: Any = actor.hidden  # ModuleList would hide what its layers have
        self._layers: list[tuple[Tensor, Tensor]] = []
        self._inputs: list[Tensor] = []

    def __call__(self, normalised: Tensor) -> tuple[Tensor, Tensor]:
        """Pre-tanh mean and features of a batch, as the actor's own forward; no gradients."""
        with torch.no_grad():
            if not self._layers:
                self._layers = [
                    (layer.weight.to(self._dtype), layer.bias.to(self._dtype))
                    for layer in self._hidden
                ]
            self._inputs = [normalised.to(self._dtype)]
            for weight, bias in self._layers:
                self._inputs.append(torch.addmm(bias, self._inputs[-1], weight.t()).relu_())
            features = self._inputs[-1].float()
            return self._actor.mean(features), features

    def values(self, normalised: Tensor) -> tuple[Tensor, Tensor]:
        """The same of observations for which no ``backward`` follows."""
        return self(normalised)

    def backward(self, d_mean: Tensor, d_features: Tensor) -> None:
        """Set the parameters' gradients for those of the last call's outputs."""
        last = self._actor.mean
        last.weight.grad = torch.mm(d_mean.t(), self._inputs[-1].float())
        last.bias.grad = d_mean.sum(0)
        grad = torch.addmm(d_features, d_mean, last.weight).to(self._dtype)
        for index in reversed(range(len(self._layers))):
            grad = threshold_backward(grad, self._inputs[index + 1], 0)
            layer = self._hidden[index]
            layer.weight.grad = torch.mm(grad.t(), self._inputs[index]).float()
            layer.bias.grad = grad.sum(0, dtype=torch.float32)
            if index:
                grad = torch.mm(grad, self._layers[index][0])

    def changed(self) -> None:
        """Tell that the actor's parameters have new values."""
        self._layers = []
