"""SAC's update by autograd, as CleanRL writes it: what the fast learner is compared with."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from qpolicy_training.experience.replay import Batch
from qpolicy_training.rl.ddpg import gradient_step, passed_through
from qpolicy_training.rl.sac import Learner


class PlainLearner(Learner):
    """``FastLearner`` without its written-out passes."""

    def update(self, batch: Batch) -> float:
        """See ``FastLearner.update``."""
        config = self.config
        with torch.no_grad():
            alpha = self.log_alpha.exp()
            next_action, next_log_probability = self.sample(batch.next_observation)
            next_q = self.target(batch.next_observation, next_action).min(dim=0).values
            soft_value = next_q - alpha * next_log_probability
            target = batch.reward + (1.0 - batch.terminated) * config.gamma * soft_value
        q = self.critic(batch.observation, batch.action)
        # Sum, not mean, over the two critics, as in CleanRL.
        critic_loss = 2.0 * mse_loss(q, target.expand_as(q))
        critics = list(self.critic.parameters())
        gradient_step(self.critic_optimiser, critics, critic_loss)

        self.updates += 1
        due = self.updates % config.policy_frequency == 0
        if due and self.updates > self._policy_starts:
            self._update_policy(batch.observation, alpha)
            self._update_average()
        torch._foreach_lerp_(list(self.target.parameters()), critics, config.tau)
        return critic_loss.item()

    def _update_policy(self, observation: Tensor, alpha: Tensor) -> None:
        # Activation statistics are taken here alone, not when acting or bootstrapping.
        self.actor.train()
        action, log_probability = self.sample(observation)
        self.actor.eval()
        with passed_through(list(self.critic.parameters())):
            q = self.critic(observation, action).min(dim=0).values
        gradient_step(
            self.policy_optimiser, self.policy_parameters, (alpha * log_probability - q).mean()
        )
        entropy_gap = (log_probability.detach() + self.target_entropy).mean()
        gradient_step(self.alpha_optimiser, [self.log_alpha], -self.log_alpha.exp() * entropy_gap)
