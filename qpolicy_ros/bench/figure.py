"""Plots of the benchmarks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.bench.measure import Latency
from qpolicy_ros.common.plots import save_png

# Okabe and Ito's palette; ours first.
_COLOURS = (
    "#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#999999", "#000000", "#cc79a7", "#009e73",
    "#7f5539",
)  # fmt: skip
_LEGEND_COLUMNS = 5
_STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
}
_LAST = 0.999  # share of the calls that the ECDF shows


def draw_medians(results: Mapping[str, Mapping[str, Latency]], path: Path) -> None:
    """Write a PNG: a group of rows a case, a dot at each median, a line to its p99.

    Args:
        results: figures by case and subject.
        path: the file.
    """
    plt = _pyplot()
    subjects = list(next(iter(results.values())))
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(9, 1.5 + 0.75 * len(results)), layout="constrained")
        step = 0.8 / len(subjects)
        for case, found in enumerate(results.values()):
            for index, (name, shade) in enumerate(
                zip(subjects, itertools.cycle(_COLOURS), strict=False)
            ):
                latency = found[name]
                place = case - 0.4 + (index + 0.5) * step
                axis.plot([latency.p50, latency.p99], [place, place], color=shade, lw=2, alpha=0.45)
                axis.plot(
                    latency.p50, place, "o", color=shade, ms=6, label=name if not case else ""
                )
        axis.set(xscale="log", xlabel="latency of one action, µs: dot = median, line to p99")
        axis.set_yticks(range(len(results)), list(results))
        axis.set_ylim(len(results) - 0.45, -0.55)
        axis.grid(visible=False, axis="y")
        for line in range(1, len(results)):
            axis.axhline(line - 0.5, color="black", lw=0.4, alpha=0.3)
        _plain_numbers(axis)
        columns = min(len(subjects), _LEGEND_COLUMNS)
        figure.legend(loc="outside upper center", ncols=columns, frameon=False, fontsize=9)
        save_png(figure, path)
        plt.close(figure)


def draw_bars(values: Mapping[str, Mapping[str, float]], label: str, path: Path) -> None:
    """Write a PNG: a panel a case, a bar a subject with its value, ours in blue.

    Args:
        values: by case and subject; subjects of ours begin with ``ours``.
        label: of the axis.
        path: the file.
    """
    plt = _pyplot()
    count = max(len(found) for found in values.values())
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(
            len(values), 1, figsize=(8, len(values) * (0.7 + 0.3 * count)), squeeze=False,
            layout="constrained",
        )  # fmt: skip
        for axis, (case, found) in zip(axes[:, 0], values.items(), strict=True):
            shades = [_COLOURS[0] if name.startswith("ours") else "#999999" for name in found]
            bars = axis.barh(list(found), list(found.values()), color=shades, height=0.7)
            axis.bar_label(bars, fmt=_figure, fontsize=9)
            axis.invert_yaxis()
            axis.set_title(case, loc="left", fontsize=10)
            axis.grid(visible=False, axis="y")
            axis.margins(x=0.1)
        axes[-1, 0].set_xlabel(label)
        save_png(figure, path)
        plt.close(figure)


def draw_ecdf(
    times: Mapping[str, npt.NDArray[np.int64]], colours: Mapping[str, str], title: str, path: Path
) -> None:
    """Write a PNG: the share of calls that took less than x, with medians and p99 marked.

    Args:
        times: durations in ns by subject.
        colours: ``#rrggbb`` by subject.
        title: of the plot.
        path: the file.
    """
    plt = _pyplot()
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(8, 4.2), layout="constrained")
        for name, values in times.items():
            shade = colours[name]
            ordered = np.sort(values, axis=None) / 1e3
            share = np.arange(1, ordered.size + 1) / ordered.size
            shown = math.ceil(_LAST * ordered.size)
            axis.plot(ordered[:shown], share[:shown], color=shade, lw=1.8, label=name)
            for part in (0.5, 0.99):
                axis.plot(np.quantile(ordered, part), part, "o", color=shade, ms=5)
        axis.set(
            xscale="log", ylim=(0, 1.02), title=title, ylabel="share of round trips",
            xlabel="observation published until action received, µs; dots: median and p99",
        )  # fmt: skip
        _plain_numbers(axis)
        axis.legend(frameon=False, loc="lower right")
        save_png(figure, path)
        plt.close(figure)


def _plain_numbers(axis: Any) -> None:
    """Label a logarithmic axis 5, 10, 20 rather than with powers of ten."""
    from matplotlib import ticker  # noqa: PLC0415  slow to import

    axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=20))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(ticker.NullFormatter())


def _figure(value: float) -> str:
    """A bar's value to three digits, or whole."""
    return f" {value:,.0f}" if value >= 1000 else f" {value:.3g}"


def _pyplot() -> Any:
    import matplotlib as mpl  # noqa: PLC0415  slow to import

    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  after the choice of the back end

    return plt
