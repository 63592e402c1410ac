"""Sweeps without training: an executor that makes up returns from a candidate's shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.policy import IntegerNetwork, load_policy
from qpolicy_training.recipes.config import DistillConfig
from qpolicy_training.select.config import Axes, SelectConfig, Shape
from qpolicy_training.select.ledger import Row
from qpolicy_training.select.sweep import Sweep
from qpolicy_training.select.worker import Job, work

TEACHER = Path(__file__).parents[2] / "config" / "policies" / "hopper" / "fp32.safetensors"
FP32 = 1000.0


class Inline:
    """Runs jobs in this process."""

    def run(self, jobs: Sequence[Job]) -> Iterator[Row]:
        for job in jobs:
            yield work(job)

    def close(self) -> None:
        pass


class MadeUp:
    """``mean(shape, stage)`` plus noise instead of training; notes every job that it ran."""

    def __init__(self, mean: Callable[[Shape, str], float]) -> None:
        self._mean = mean
        self.ran: list[tuple[str, str]] = []

    def run(self, jobs: Sequence[Job]) -> Iterator[Row]:
        for job in jobs:
            self.ran.append((job.hash, job.stage))
            config = job.config
            shape = Shape(config.hidden, config.b_core, config.b_in, config.b_out)
            noise = np.random.default_rng(len(self.ran)).normal(0, 5, job.episodes)
            returns = (self._mean(shape, job.stage) + noise - noise.mean()).tolist()
            yield Row(
                stage=job.stage,
                hash=job.hash,
                seed=config.seed,
                shape=shape,
                snapshot="snapshot.safetensors",
                snapshot_step=1,
                returns=tuple(returns),
                mean=float(np.mean(returns)),
                std=5.0,
                cpu_seconds=60.0,
            )

    def close(self) -> None:
        pass


def no_hardware(_: IntegerNetwork, _part: str, _clock: float, _prefer: str) -> None:
    """Stand in for the FPGA generator where cost is bytes."""
    raise AssertionError


def make_sweep(
    executor: MadeUp,
    monkeypatch: Any,
    *,
    limit: float = 0.0,
    critic: Path | None = None,
    **options: Any,
) -> Sweep:
    """A sweep over small axes, its FP32 baseline always at ``FP32``; close it."""
    monkeypatch.setattr(Sweep, "baseline", lambda _self, _first, count: [FP32] * count)
    teacher = load_policy(TEACHER)
    settings: dict[str, Any] = {
        "axes": Axes(hidden=(8, 16, 32, 64), b_core=(2, 3, 4), b_in=(4, 6, 8)),
        "cost": "bytes",
        "candidates": 6,
        "further": (1, 2),
        "distill": DistillConfig(rounds=2),
        "exam_episodes": 30,
        "finetune": 0,
    }
    config = SelectConfig(
        task="Hopper-v4",
        teacher=teacher.function_hash,
        critic="" if critic is None else "its hash",
        **{**settings, **options},
    )
    return Sweep(config, teacher, executor, no_hardware, limit, critic)
