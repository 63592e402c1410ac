"""A teacher's training in a process of its own, which a test may kill."""

from __future__ import annotations

import os
from contextlib import redirect_stderr
from pathlib import Path

from qpolicy_training.recipes.teacher import TeacherConfig, train_teacher
from qpolicy_training.runs import checkpoint, snapshots


def train_in_child(config: TeacherConfig, runs: Path) -> None:
    """Train below ``runs``; save after every step, evaluate by one episode."""
    os.environ["QPOLICY_RUNS"] = str(runs)
    checkpoint.CHECKPOINT_SECONDS = 0.0
    snapshots.FINAL_EPISODES = 1
    with Path(os.devnull).open("w", encoding="utf-8") as quiet, redirect_stderr(quiet):
        train_teacher(config)
