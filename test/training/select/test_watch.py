"""What a sweep's workers are at, beside its progress bar."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from qpolicy_training.recipes.student import StudentConfig
from qpolicy_training.runs.curve import write_curve
from qpolicy_training.select import watch
from qpolicy_training.select.watch import newest_point, watched
from qpolicy_training.select.worker import Job


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Two jobs whose runs have a folder each."""
    made = []
    for seed in (1, 2):
        config = StudentConfig("distill", "Hopper-v4", "t", (8, 8), 6, 3, 8, seed)
        job = Job(config, "rung0", 0, tmp_path, tmp_path / "teacher", 1, 0, 2)
        (tmp_path / f"hopper-distill-{job.hash}").mkdir()
        made.append(job)
    return made


def write(job: Job, at: float, *points: tuple[int, float, float]) -> None:
    path = job.folder / f"hopper-distill-{job.hash}" / "curve.csv"
    write_curve(path, points)
    os.utime(path, (at, at))


def test_the_run_that_wrote_last_is_shown(jobs: list[Job]) -> None:
    write(jobs[0], 2000.0, (500, 10.0, 1.0), (1000, 1234.56, 2.0))
    write(jobs[1], 1000.0, (5000, 77.0, 9.0))
    assert newest_point(jobs, 0.0) == "seed 1, rung0: 1,234.6 at 1,000"
    write(jobs[1], 3000.0, (6000, 78.0, 10.0))
    assert newest_point(jobs, 0.0) == "seed 2, rung0: 78.0 at 6,000"


def test_earlier_curves_and_unreadable_ones_say_nothing(jobs: list[Job]) -> None:
    assert newest_point(jobs, 0.0) == ""
    write(jobs[0], 1000.0, (500, 10.0, 1.0))
    assert newest_point(jobs, 1000.5) == ""
    write(jobs[1], 2000.0)
    assert newest_point(jobs, 0.0) == ""


def test_points_are_shown_while_the_block_runs(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_SECONDS", 0.01)
    shown: list[str] = []
    with watched(jobs, shown.append):
        for step in (500, 1000):
            write(jobs[0], time.time() + step, (step, 10.0, 1.0))
            deadline = time.monotonic() + 20
            while len(shown) < step // 500 and time.monotonic() < deadline:
                time.sleep(0.01)
    assert shown == ["seed 1, rung0: 10.0 at 500", "seed 1, rung0: 10.0 at 1,000"]
