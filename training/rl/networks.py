"""FP32 networks of the teacher: squashed-Gaussian actor and twin critics.

Architecture and initialisation follow CleanRL's ``sac_continuous_action`` (two hidden layers of
256 ReLU units by default, state-dependent log standard deviation).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

LOG_STD_MIN = -5.0
LOG_STD_MAX = 2.0


class Fp32Actor(nn.Module):
    """ReLU network from a normalised observation to the mean of the action before tanh.

    Shares the interface of ``QuantActor``: ``forward`` takes ``(batch, n)`` and returns the
    pre-tanh mean ``(batch, m)`` and the last hidden layer ``(batch, h)``, which the exploration
    head reads.
    """

    def __init__(self, observations: int, actions: int, hidden: Sequence[int]) -> None:
        super().__init__()
        widths = (observations, *hidden)
        self.hidden = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(widths))
        self.mean = nn.Linear(widths[-1], actions)

    def forward(self, normalised: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(pre-tanh mean, features)`` of a batch of normalised observations."""
        x = normalised
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.mean(x), x


class GaussianHead(nn.Module):
    """Exploration head: log standard deviation from the actor's features; never deployed."""

    def __init__(self, features: int, actions: int) -> None:
        super().__init__()
        self.log_std = nn.Linear(features, actions)

    def forward(self, features: Tensor) -> Tensor:
        """Log standard deviation ``(batch, m)``, squashed smoothly into its range."""
        squashed = torch.tanh(self.log_std(features))
        return LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (squashed + 1.0)


class TwinCritic(nn.Module):
    """Independent Q networks ``Q(normalised observation, action)``: two, or one for DDPG.

    ``norm``: each hidden layer's sums are normalised over its units before ReLU (layer
    normalisation without parameters), which keeps units alive over millions of updates.
    """

    def __init__(
        self,
        observations: int,
        actions: int,
        width: int = 256,
        count: int = 2,
        *,
        norm: bool = False,
    ) -> None:
        super().__init__()

        def hidden(inputs: int) -> list[nn.Module]:
            between = [nn.LayerNorm(width, elementwise_affine=False)] if norm else []
            return [nn.Linear(inputs, width), *between, nn.ReLU(inplace=True)]

        self.observations, self.actions, self.width, self.norm = observations, actions, width, norm
        inputs = observations + actions
        self.critics = nn.ModuleList(
            nn.Sequential(*hidden(inputs), *hidden(width), nn.Linear(width, 1))
            for _ in range(count)
        )

    def forward(self, normalised: Tensor, action: Tensor) -> Tensor:
        """All Q values, ``(count, batch)``."""
        x = torch.cat((normalised, action), dim=1)
        return torch.stack([critic(x).squeeze(1) for critic in self.critics])

    @torch.no_grad()
    def scale_values(self, by: float) -> None:
        """Multiply everything that it gives."""
        for critic in self.critics:
            assert isinstance(critic, nn.Sequential)
            for parameter in critic[-1].parameters():
                parameter.mul_(by)


def sample_action(mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
    """Reparameterised squashed-Gaussian sample in ``[-1, 1]`` and its log-probability.

    Returns actions ``(batch, m)`` and log-probabilities ``(batch,)`` with the change of variables
    of tanh (Haarnoja et al. 2018, appendix C, in its numerically safe softplus form).
    """
    pre_tanh, noise = perturbed(mean, log_std)
    return torch.tanh(pre_tanh), log_probability_of(pre_tanh, noise, log_std)


def perturbed(mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
    """Action before tanh, reparameterised, and its standard normal noise; all ``(batch, m)``."""
    noise = torch.randn_like(mean)
    return mean + log_std.exp() * noise, noise


def log_probability_of(pre_tanh: Tensor, noise: Tensor, log_std: Tensor) -> Tensor:
    """Log-probabilities ``(batch,)`` of the actions ``tanh(pre_tanh)``; all ``(batch, m)``."""
    gaussian = -0.5 * noise.square() - log_std - 0.9189385332046727
    correction = 2.0 * (0.6931471805599453 - pre_tanh - nn.functional.softplus(-2.0 * pre_tanh))
    return (gaussian - correction).sum(dim=1)
