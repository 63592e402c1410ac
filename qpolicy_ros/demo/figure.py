"""The demo's plot: how long an answer takes, and how well the robot does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.common.plots import colour, save_png
from qpolicy_ros.harness.closed_loop import Micros, Run

_LAST = 0.9999  # the ECDF's axis is cut there: a single hiccup would squeeze all the rest


def draw(runs: Mapping[str, Sequence[Run]], path: Path) -> None:
    """Write a PNG: a row a task, latency on the left, returns on the right.

    Args:
        runs: by task, one run a backend.
        path: the file.
    """
    import matplotlib as mpl  # noqa: PLC0415  slow to import, and not needed by --help

    mpl.use("agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415  after the choice of the back end

    with plt.rc_context(
        {"font.size": 10, "axes.titlesize": "medium", "axes.spines.top": False,
         "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
         "axes.axisbelow": True, "text.parse_math": False}
    ):  # fmt: skip
        figure, axes = plt.subplots(
            len(runs), 2, figsize=(11, 0.8 + 3.4 * len(runs)), squeeze=False,
            width_ratios=(3, 2), layout="constrained",
        )  # fmt: skip
        for (task, ones), (left, right) in zip(runs.items(), axes, strict=True):
            _latency(left, task, ones)
            _returns(right, task, ones)
        handles: dict[str, Any] = {}
        for axis in axes[:, 0]:
            lines, labels = axis.get_legend_handles_labels()
            handles |= dict(zip(labels, lines, strict=True))
        figure.legend(
            list(handles.values()), list(handles), loc="outside lower left", ncols=2, frameon=False
        )
        save_png(figure, path)
        plt.close(figure)


def _latency(axis: Any, task: str, runs: Sequence[Run]) -> None:
    for run in runs:
        for values, style, what in (
            (run.inference, "-", "inference"),
            (run.round_trip, "--", "observation → action"),
        ):
            _ecdf(axis, values, colour(run.backend), style, f"{run.backend}: {what}")
    axis.set(
        xscale="log", ylim=(0, 1.02), xlabel="latency, µs", ylabel="share of control steps",
        title=f"{task}\nlatency, dots: p50 and p99",
    )  # fmt: skip
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("")  # they would be mathematics, unread


def _ecdf(axis: Any, values: Micros, shade: str, style: str, label: str) -> None:
    """Draw the share of values below x, with median and p99 marked."""
    ordered = np.sort(values)
    share = np.arange(1, ordered.size + 1) / ordered.size
    shown = math.ceil(_LAST * ordered.size)
    axis.plot(ordered[:shown], share[:shown], style, color=shade, lw=1.8, label=label)
    for part in (0.5, 0.99):
        axis.plot(np.quantile(ordered, part), part, "o", color=shade, ms=4)


def _returns(axis: Any, task: str, runs: Sequence[Run]) -> None:
    for place, run in enumerate(runs):
        returns = np.array(run.returns)
        shade = colour(run.backend)
        axis.bar(place, returns.mean(), width=0.55, color=shade, alpha=0.3)
        # Side by side rather than on top of each other.
        spread = np.linspace(-0.18, 0.18, returns.size) if returns.size > 1 else np.zeros(1)
        axis.plot(place + spread, returns, "o", color=shade, ms=6, mec="white", mew=0.8)
        axis.annotate(
            f"{returns.mean():,.0f}", (place, returns.mean()), xytext=(0, 12),
            textcoords="offset points", ha="center", fontsize=10, fontweight="bold",
        )  # fmt: skip
    axis.axhline(0, color="black", lw=0.8)
    axis.set_xticks(range(len(runs)), [run.backend for run in runs])
    axis.set(
        xlim=(-0.6, len(runs) - 0.4), ylabel="episode return",
        title=f"{task}\nreturns", xlabel="dots: episodes, bars: means",
    )  # fmt: skip
    axis.margins(y=0.15)
    axis.grid(visible=False, axis="x")
