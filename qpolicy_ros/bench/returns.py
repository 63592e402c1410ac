"""Returns of the shipped policies beside the paper's, from the files' own provenance."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from qpolicy_training.report.runs import TASKS, Point, Runs, gather


class Return(NamedTuple):
    """A shipped policy of at most the paper's width and bits, beside the paper's runs.

    Attributes:
        policy: as in ``hopper/paper``.
        mean, std: of its episodes through the integer backend.
        episodes: how many.
        limits: the paper's width, and input, core and output bits.
        fp32: mean of the paper's FP32 runs: the target.
        selected: mean of the paper's runs of these limits.
    """

    policy: str
    mean: float
    std: float
    episodes: int
    limits: tuple[int, int, int, int]
    fp32: float
    selected: float


def shipped_returns(policies: Path) -> list[Return]:
    """Return those of the policies under ``policies`` that a target is set for.

    Raises:
        InputError: a policy cannot be read, says nothing of its return, or there is none.
    """
    runs = gather(policies, None)
    return [
        Return(
            f"{task}/{point.name}",
            point.mean,
            point.std,
            point.episodes,
            limits,
            float(np.mean(runs.paper_fp32(task))),
            float(np.mean(runs.paper(task, limits))),
        )
        for task in TASKS
        for limits, point in _within(runs, task)
    ]


def _within(runs: Runs, task: str) -> list[tuple[tuple[int, int, int, int], Point]]:
    """The shipped policies of ``task`` that need no more than the paper selected."""
    limits = runs.selected(task)
    points = [point for point in runs.shipped if point.task == task]
    return [
        (limits, point)
        for point in points
        if all(
            mine <= most
            for mine, most in zip(
                (point.hidden, point.b_in, point.b_core, point.b_out), limits, strict=True
            )
        )
    ]
