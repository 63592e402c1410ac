"""An FP32 teacher that imitates a task's scripted controller by DAgger.

Ross et al. 2011 (arXiv 1011.0686), as in ``distill``, with a program as the expert: the network
drives, the program says what it would have done, all states so far are trained on again. It takes
minutes where RL takes hours, and only a task with such a program can be learnt this way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import mse_loss

from qpolicy_training.networks import Fp32Actor
from qpolicy_training.normaliser import RunningNormaliser
from qpolicy_training.run import Run, require_positive
from qpolicy_training.selection import Winner, choose, held_out_return, normaliser_state
from qpolicy_training.state import module_state
from qpolicy_training.task_env import TrainingEnv
from qpolicy_training.teacher import Teacher, load_snapshot
from qpolicy_training.torch_setup import prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXPERT_NOISE = 0.1
"""Of the expert's own actions in the first round, of full scale: states beside its path."""
_INSIDE = 0.99
"""Actions beyond this share of their limits ask tanh for the impossible."""


@dataclass(frozen=True)
class ImitateConfig:
    """Hyperparameters of imitation."""

    rounds: int = 12
    """Rounds of: the network drives, the expert labels, the network trains."""
    round_steps: int = 4_000
    """Environment steps that each round adds."""
    round_updates: int = 1_500
    """Gradient updates of each round."""
    batch: int = 256
    """Observations per update."""
    learning_rate: float = 1e-3
    """Of Adam; falls to a tenth by a cosine over the rounds."""
    evaluate_episodes: int = 5
    """Held-out episodes after each round."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        require_positive(self, "--imitate")


@dataclass(frozen=True)
class ImitationConfig:
    """The full configuration of a run; its hash names the run."""

    task: str
    seed: int
    hidden: tuple[int, ...] = (256, 256)
    imitate: ImitateConfig = field(default_factory=ImitateConfig)
    kind: str = "fp32-imitate"


def imitate(config: ImitationConfig) -> tuple[Teacher, Run, Winner]:
    """Train and return the best snapshot with what is known of it; a killed run starts again.

    The caller closes the run. Raises ``PolicyError`` for a task without a scripted controller, or
    a folder in use.
    """
    prepare(config.seed)
    options = config.imitate
    rng = np.random.default_rng(config.seed)
    env = TrainingEnv(config.task)
    observation = env.start(config.seed)
    env.expert()  # refuses a task that has none
    run = Run(f"{env.contract.task}-{config.kind}", config)
    run.rewind([], {})
    actor = Fp32Actor(env.observations, env.actions, config.hidden)
    normaliser = RunningNormaliser(env.observations)
    now = Teacher(actor, normaliser, env.scale, env.bias)
    total = options.rounds * options.round_steps
    seen = np.empty((total, env.observations), np.float32)
    wanted = np.empty((total, env.actions), np.float32)
    optimiser = torch.optim.Adam(actor.parameters(), options.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, options.rounds * options.round_updates, options.learning_rate / 10
    )
    drive = now.policy()
    count = 0
    with run.progress(total, 0) as progress:
        for index in range(options.rounds):
            for _ in range(options.round_steps):
                expert = np.clip(env.expert(), -_INSIDE, _INSIDE)
                seen[count], wanted[count] = observation, expert
                normaliser.update(observation)
                if index == 0:
                    action = expert + rng.normal(0.0, _EXPERT_NOISE, env.actions)
                else:
                    action = (drive(observation) - env.bias) / env.scale
                bounded: NDArray[np.float32] = np.clip(action, -1.0, 1.0).astype(np.float32)
                observation, _, terminated, truncated = env.step(bounded)
                if terminated or truncated:
                    observation = env.start(None)
                count += 1
            _fit(actor, normaliser, optimiser, schedule, seen[:count], wanted[:count], options, rng)
            mean = held_out_return(now.policy(), config.task, options.evaluate_episodes)
            tensors = {**module_state("actor", actor), **normaliser_state(normaliser)}
            run.consider(count, mean, tensors, {"hidden": list(config.hidden)})
            run.record(count, mean)
            progress.update(count)
    winner = choose(run, config.task, lambda path: load_snapshot(path, env).policy())
    return load_snapshot(winner.path, env), run, winner


def _fit(
    actor: Fp32Actor,
    normaliser: RunningNormaliser,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    seen: NDArray[np.float32],
    wanted: NDArray[np.float32],
    options: ImitateConfig,
    rng: np.random.Generator,
) -> None:
    """Train on all states so far: squared error of the action in [-1, 1]."""
    inputs, targets = torch.from_numpy(normaliser(seen)), torch.from_numpy(wanted)
    for _ in range(options.round_updates):
        rows = torch.from_numpy(rng.integers(0, len(seen), options.batch))
        loss = mse_loss(torch.tanh(actor(inputs[rows])[0]), targets[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
