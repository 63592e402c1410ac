"""What imitation and distillation share: DAgger's options, its first noise, a round.

Ross et al. 2011 (arXiv 1011.0686): the student drives, an expert says what it would have done, all
states so far are trained on again.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import mse_loss

from qpolicy_training.recipes.config import ImitateConfig
from qpolicy_training.rl.networks import Fp32Actor

EXPERT_NOISE = 0.1
"""Standard deviation of the noise on the expert's own actions in the first round, of full scale:
it shows the student states beside the expert's path."""


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
