"""One stage of one candidate, in whatever process: train on, choose a snapshot, play."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.common.invocation import invocation, invoked
from qpolicy_ros.policy import load_policy
from qpolicy_ros.sim import evaluate, task_name
from qpolicy_training.experience.task_env import TrainingEnv
from qpolicy_training.quant.integer_policy import integer_policy
from qpolicy_training.quant.quant_actor import ActorSpec
from qpolicy_training.recipes.student import (
    Student,
    StudentConfig,
    load_student,
    train_student,
)
from qpolicy_training.runs.config import config_hash
from qpolicy_training.runs.folder import DivergedError, Run
from qpolicy_training.runs.snapshots import Winner
from qpolicy_training.select.config import Shape
from qpolicy_training.select.ledger import Row, read_row

ROWS = "rows"
"""Folder, inside the sweep's, of the rows as workers write them."""


@dataclass(frozen=True)
class Job:
    """All that a worker needs; paths are those of a file system that all workers share.

    Attributes:
        config: of the candidate; its hash names the run.
        stage: name of this stage, unique within the run.
        rung: at whose end distillation stops for now; None: the whole run.
        folder: of the sweep, which holds the runs.
        teacher: the FP32 policy's file.
        snapshot_episodes: in which the run's best snapshots compete; None: as ``choose`` does.
        first_seed: of the episodes by which the stage is judged.
        episodes: how many.
        start: snapshot that RL goes on from.
        critic: checkpoint whose critics RL goes on from, or whose exploration distillation
            measures by.
        command: of the sweep, which the runs name as theirs in whatever process they train.
    """

    config: StudentConfig
    stage: str
    rung: int | None
    folder: Path
    teacher: Path
    snapshot_episodes: int | None
    first_seed: int
    episodes: int
    start: Path | None = None
    critic: Path | None = None
    command: tuple[str, ...] = field(default_factory=lambda: tuple(invocation()))

    @property
    def hash(self) -> str:
        """Of the candidate's configuration."""
        return config_hash(self.config)


def work(job: Job) -> Row:
    """Do a job and return its row of the ledger, without the verdict.

    What was finished is not done again: a stage that was interrupted goes on from its last round,
    one that was finished returns the row that it wrote. Raises ``PolicyError`` as
    ``train_student`` does, but for a run that diverges: that is a result, with ``error`` in its
    row.
    """
    began = time.process_time()
    rows = job.folder / ROWS
    finished = rows / f"{job.hash}-{job.stage}.json"
    if finished.exists():
        return read_row(finished)
    row = _description(job)
    try:
        with invoked(job.command):
            student, run, winner = train(job)
    except DivergedError as error:
        row = replace(row, error=str(error), cpu_seconds=_since(began))
    else:
        with contextlib.closing(run):
            row = _played(row, job, student, run, winner, began)
    rows.mkdir(exist_ok=True)
    write_atomically(finished, json.dumps(row.as_json()).encode())
    return row


def train(job: Job) -> tuple[Student, Run, Winner]:
    """Bring the candidate to the end of the stage, or open it there; the caller closes the run."""
    teacher = load_policy(job.teacher)
    start = None
    if job.start is not None:
        widths = (len(teacher.contract.observation), len(teacher.contract.action))
        bits = (job.config.b_in, job.config.b_core, job.config.b_out)
        start = load_student(job.start, ActorSpec(*widths, job.config.hidden, *bits))
    return train_student(
        job.config,
        teacher.baseline,
        start,
        job.critic,
        parent=job.folder,
        further=job.rung,
        final_episodes=job.snapshot_episodes,
    )


def _played(row: Row, job: Job, student: Student, run: Run, winner: Winner, began: float) -> Row:
    """The row with how the stage went."""
    env = TrainingEnv(job.config.task)
    policy = integer_policy(student.actor, student.normaliser, env)
    returns = evaluate(policy, job.config.task, job.episodes, job.first_seed)
    earlier = [read_row(path) for path in (job.folder / ROWS).glob(f"{job.hash}-*.json")]
    paid = max((each.training_cpu for each in earlier), default=0.0)
    return replace(
        row,
        snapshot=str(winner.path.relative_to(job.folder)),
        snapshot_step=winner.step,
        returns=tuple(round(value, 3) for value in returns),
        mean=float(np.mean(returns)),
        std=float(np.std(returns, ddof=1)) if len(returns) > 1 else 0.0,
        # With what interrupted tries of this stage took, as far as they came to save it.
        cpu_seconds=round(max(run.log.earlier_cpu - paid, 0.0) + _since(began), 2),
        training_cpu=run.log.saved_cpu,
        interruptions=max(len(run.resumes) - len(earlier), 0),
    )


def _description(job: Job) -> Row:
    """The row as far as it says what the stage is."""
    config = job.config
    return Row(
        stage=job.stage,
        hash=job.hash,
        cpu_seconds=0.0,
        shape=Shape(config.hidden, config.b_core, config.b_in, config.b_out),
        task=task_name(config.task),
        method=config.method,
        seed=config.seed,
        first_seed=job.first_seed,
        episodes=job.episodes,
    )


def _since(began: float) -> float:
    return round(time.process_time() - began, 2)
