"""Choosing among a run's snapshots, on seeds that training never sees.

Three disjoint ranges of environment seeds: snapshots compete on the first during training, the
finalists on the second afterwards, and returns are reported on seeds below 100,000 (``qpolicy
evaluate``), on which nothing has been chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.sim.rollout import Policy, evaluate
from qpolicy_training.experience.normaliser import RunningNormaliser
from qpolicy_training.runs.folder import Run

HELD_OUT_SEED = 1_000_000
FINAL_SEED = 2_000_000
FINAL_EPISODES = 50


@dataclass(frozen=True)
class Winner:
    """The chosen snapshot: its file, training step and mean return over the final seeds."""

    path: Path
    step: int
    selection_return: float


def held_out_return(policy: Policy, task: str, episodes: int) -> float:
    """Mean return of the first held-out seeds."""
    return float(np.mean(evaluate(policy, task, episodes, HELD_OUT_SEED)))


def choose(
    run: Run, task: str, load: Callable[[Path], Policy], episodes: int | None = None
) -> Winner:
    """Play every kept snapshot on fresh seeds and take the best mean; ``FINAL_EPISODES`` each.

    Raises ``PolicyError`` where the run was too short to be evaluated once.
    """
    if not run.candidates:
        message = f"{run.folder}: candidates: none; train for more steps than --sac.evaluate-every"
        raise PolicyError(message)
    winners = []
    steps = sorted(run.candidates)
    count = episodes or FINAL_EPISODES
    with tqdm(total=len(steps) * count, unit="episode", desc="choose") as progress:
        for step in steps:
            path = run.candidate_path(step)
            returns = evaluate(
                load(path), task, count, FINAL_SEED, progress=lambda _: progress.update()
            )
            winners.append(Winner(path, step, float(np.mean(returns))))
    return max(winners, key=lambda winner: winner.selection_return)


def normaliser_state(normaliser: RunningNormaliser) -> dict[str, Tensor]:
    """Mean and standard deviation as a snapshot keeps them."""
    return {
        "normaliser.mean": torch.tensor(normaliser.mean),
        "normaliser.std": torch.tensor(normaliser.std),
    }


def restored_normaliser(tensors: dict[str, Tensor]) -> RunningNormaliser:
    """The fixed normaliser of a snapshot."""
    return RunningNormaliser.fixed(
        tensors["normaliser.mean"].numpy().astype(np.float32),
        tensors["normaliser.std"].numpy().astype(np.float32),
    )
