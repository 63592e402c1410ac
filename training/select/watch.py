"""What the workers of a sweep are at, read from the curves that their runs write."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from qpolicy_ros.common.periodic import called_every
from qpolicy_ros.policy import PolicyError
from qpolicy_training.runs.curve import read_curve
from qpolicy_training.select.worker import Job

_SECONDS = 5.0  # between two looks


@contextlib.contextmanager
def watched(jobs: Sequence[Job], show: Callable[[str], None]) -> Iterator[None]:
    """Inside the block, ``show`` the newest point that a run of ``jobs`` added to its curve.

    From another thread, whenever it has changed; the runs' folders are where all workers' are.
    """
    began, shown = time.time(), ""

    def look() -> None:
        nonlocal shown
        line = newest_point(jobs, began)
        if line != shown:
            show(line)
            shown = line

    with called_every(_SECONDS, look):
        yield


def newest_point(jobs: Sequence[Job], since: float) -> str:
    """Which run of ``jobs`` wrote its curve last, and its point; empty before any has.

    ``since``: curves that were written last before this time (s since the epoch) do not count.
    """
    try:
        written = [
            (path.stat().st_mtime, path, job)
            for job in jobs
            for path in job.folder.glob(f"*-{job.hash}/curve.csv")
        ]
        moved, path, job = max(written, key=lambda each: each[0])
        if moved < since:
            return ""
        step, mean = read_curve(path)[-1]
    except (ValueError, OSError, PolicyError):  # none yet, or just being put in its place
        return ""
    return f"seed {job.config.seed}, {job.stage}: {mean:,.1f} at {step:,}"
