"""What imitation and distillation share: DAgger's options, its first noise, a round.

Ross et al. 2011 (arXiv 1011.0686): the student drives, an expert says what it would have done, all
states so far are trained on again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch.nn.functional import mse_loss

from qpolicy_training.rl.networks import Fp32Actor
from qpolicy_training.runs.config import require_positive

EXPERT_NOISE = 0.1
"""Standard deviation of the noise on the expert's own actions in the first round, of full scale:
it shows the student states beside the expert's path."""


@dataclass(frozen=True)
class DaggerConfig:
    """Hyperparameters of DAgger."""

    prefix: ClassVar[str]
    """Of the command line's options."""

    rounds: int = 12
    """Rounds of: the student drives, the expert labels, the student trains."""
    round_steps: int = 4_000
    """Environment steps that each round adds."""
    round_updates: int = 1_500
    """Gradient updates of each round."""
    batch: int = 256
    """Observations per update."""
    learning_rate: float = 1e-3
    """Of Adam; falls by a cosine, to a tenth over the rounds of imitation, to a twentieth within
    each of distillation's stages of bit-widths."""
    evaluate_episodes: int = 5
    """Held-out episodes after each round; in distillation, of the last stage's."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        require_positive(self, self.prefix)


@dataclass(frozen=True)
class ImitateConfig(DaggerConfig):
    """Hyperparameters of imitation."""

    prefix = "--imitate"


def fit(
    actor: Fp32Actor,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    data: tuple[torch.Tensor, torch.Tensor],
    options: ImitateConfig,
    rng: np.random.Generator,
) -> float:
    """One round of imitation: regression on all ``data``, inputs and targets in [-1, 1].

    Returns the last squared error.
    """
    inputs, targets = data
    loss = torch.zeros(())
    for _ in range(options.round_updates):
        rows = torch.from_numpy(rng.integers(0, len(inputs), options.batch))
        loss = mse_loss(torch.tanh(actor(inputs[rows])[0]), targets[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    return loss.item()
