"""Not one lucky seed: our repetitions of a recipe, beside the paper's ten seeds and DWC's ten."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from qpolicy_training.report.statistics import estimate
from qpolicy_training.select.ledger import Row

DWC = Path(__file__).resolve().parents[1] / "data" / "dwc_sac_returns.csv"
STUDENT, PIPELINE = "student", "whole pipeline"


class Repeated(NamedTuple):
    """One seed of a recipe.

    Attributes:
        task: short name.
        shape: width, input, core and output bits.
        reward_scale: what critics of the last rung are given of a reward; with another one it is
            another recipe.
        teacher: hash of the FP32 policy's function.
        seed: of the student.
        mean: of its exam's episodes; None if it diverged.
        episodes: how many.
    """

    task: str
    shape: tuple[int, int, int, int]
    reward_scale: float
    teacher: str
    seed: int
    mean: float | None
    episodes: int


class Group(NamedTuple):
    """What is put together: one shape and recipe of a task, by what its runs differ in."""

    task: str
    shape: tuple[int, int, int, int]
    reward_scale: float
    differ: str
    runs: list[Repeated]

    @property
    def means(self) -> list[float]:
        """Returns of the runs that have one."""
        return [run.mean for run in self.runs if run.mean is not None]


def is_repetition(rows: Iterable[Row]) -> bool:
    """Whether a ledger is that of `qpolicy select --scope seeds`."""
    return _config(rows).get("scope") == "seeds"


def repeated(task: str, rows: list[Row]) -> list[Repeated]:
    """The last row of every seed, whatever became of it."""
    config = _config(rows)
    last = config.get("last")
    # Absent in ledgers that are older than the option.
    scale = last.get("reward_scale", 1.0) if isinstance(last, dict) else 1.0
    latest = {(row.shape, row.seed): row for row in rows if row.is_candidate}
    return [
        Repeated(
            task,
            (max(row.shape.hidden), row.shape.b_in, row.shape.b_core, row.shape.b_out),
            float(scale),
            str(config.get("teacher", "")),
            row.seed,
            row.mean if row.returns else None,
            len(row.returns),
        )
        for row in latest.values()
    ]


def groups(runs: list[Repeated]) -> list[Group]:
    """Students of one teacher; and, of two teachers or more, the first student of each."""
    found = []
    for recipe in dict.fromkeys(run[:3] for run in runs):
        mine = [run for run in runs if run[:3] == recipe]
        teachers = {name: [r for r in mine if r.teacher == name] for name in _names(mine)}
        found += [Group(*recipe, STUDENT, own) for own in teachers.values() if len(own) > 1]
        if len(teachers) > 1:
            found.append(Group(*recipe, PIPELINE, [own[0] for own in teachers.values()]))
    return found


def dwc(task: str) -> list[float]:
    """Returns of the ten seeds of DWC's best configuration for ``task``."""
    with DWC.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["env"].lower().startswith(f"{task}-")]
    return [float(row["return"]) for row in rows]


def table_row(group: Group, paper: list[float], fp32: list[float]) -> list[str]:
    """A line of the table.

    Args:
        group: our runs.
        paper: returns of the paper's seeds at the same shape, maybe none.
        fp32: returns of the paper's FP32 seeds.
    """
    hidden, b_in, b_core, b_out = group.shape
    means, asked = group.means, float(np.mean(fp32))
    ours = estimate([means]) if means else None
    lost, usual = len(group.runs) - len(means), group.reward_scale == 1
    return [
        group.task,
        f"{hidden}, {b_in} / {b_core} / {b_out}",
        group.differ + ("" if usual else f", reward scale {group.reward_scale:g}"),
        f"{len(group.runs)}" + (f", {lost} diverged" if lost else ""),
        str(ours or "-"),
        f"{min(means):,.0f} to {max(means):,.0f}" if means else "-",
        f"{sum(mean >= asked for mean in means)} of {len(group.runs)} ({asked:,.0f})",
        str(estimate([paper]) if paper else "-"),
        str(estimate([dwc(group.task)])),
    ]


HEAD = [
    "task",
    "width, bits in / core / out",
    "seed of the",
    "runs",
    "ours: IQM [95 %]",
    "lowest to highest",
    "at or above the paper's FP32 mean",
    "paper's ten, same shape",
    "DWC's ten",
]


def _names(runs: list[Repeated]) -> list[str]:
    return list(dict.fromkeys(run.teacher for run in runs))


def _config(rows: Iterable[Row]) -> dict[str, object]:
    found = (row.more.get("config") for row in rows if row.stage == "sweep")
    config = next(found, None)
    return config if isinstance(config, dict) else {}
