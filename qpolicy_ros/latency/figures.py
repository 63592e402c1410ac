"""The plots of a report; each function draws one on the axes it is given."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from qpolicy_ros.common.plots import colour
from qpolicy_ros.latency.bootstrap import LEVEL
from qpolicy_ros.latency.summary import Report
from qpolicy_ros.latency.ticks import STAGES, Ticks

Draw = Callable[[Axes, Report], None]

_POINTS = 4000  # of a curve, or of a cloud below its tail
_SWAPS = 40  # with more than that, lines would hide the answers
_STAGE_COLOURS = dict(
    zip(
        STAGES,
        ("#bbbbbb", "#56b4e9", "#f0e442", "#cc79a7", "#0072b2", "#e69f00", "#dddddd"),
        strict=True,
    )
)
_WIDE = 20.0  # a span that a linear axis no longer shows
_PLAIN = StrMethodFormatter("{x:,g}")
_STATISTICS = ("mean", "p50", "p99")
_STYLE: Any = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.alpha": 0.3,
    "legend.fontsize": 8,
    "svg.hashsalt": "qpolicy",
    "text.parse_math": False,  # names may hold a dollar sign
}


def ecdf(axis: Axes, report: Report) -> None:
    """Draw which share of the answers took at most how long, and the deadline."""
    for sample in report.samples:
        values = np.sort(sample.latency)
        share = np.arange(1, len(values) + 1) / len(values)
        # All of the tail, enough of the rest.
        tail = max(0, len(values) - _POINTS // 2)
        chosen = np.unique(
            np.concatenate(
                [np.linspace(0, tail, _POINTS // 2).astype(int), np.arange(tail, len(values))]
            )
        )
        chosen = chosen[chosen < len(values)]
        axis.step(
            values[chosen], share[chosen], where="post", color=colour(sample.name), lw=1.4,
            label=f"{_label(sample.name)} (n = {len(values):,})",
        )  # fmt: skip
    if np.isfinite(report.deadline):
        label = f"deadline, {report.deadline:,.0f} µs"
        axis.axvline(report.deadline, color="black", lw=1.0, ls="--", label=label)
    axis.set(xscale="log", xlabel="latency, µs", ylabel="share of answers", ylim=(0.0, 1.01))
    _plain_ticks(axis.xaxis)
    axis.set_title("How long an answer takes")
    axis.legend(loc="lower right")


def over_time(axis: Axes, report: Report) -> None:
    """Draw each answer at its time, with swaps and resets; bags follow one another."""
    start = 0.0
    marks = [0, 0]
    named: set[str] = set()
    for each in report.ticks:
        seconds = start + (each.times - each.times.min()) / 1e9
        for sample in report.samples:
            own = np.flatnonzero((each.backends == sample.name) & np.isfinite(each.latency))
            if not len(own):
                continue
            high = each.latency[own] > np.quantile(sample.latency, 0.99)
            kept = own[high | (np.arange(len(own)) % max(1, len(own) // _POINTS) == 0)]
            axis.plot(
                seconds[kept], each.latency[kept], ".", ms=2.0, color=colour(sample.name),
                rasterized=True, label=None if sample.name in named else _label(sample.name),
            )  # fmt: skip
            named.add(sample.name)
        _mark(axis, each, seconds, start, marks)
        start = float(seconds.max()) + 1.0
        if each is not report.ticks[-1]:
            axis.axvspan(start - 1.0, start, color="black", alpha=0.12, lw=0)
    if np.isfinite(report.deadline):
        axis.axhline(report.deadline, color="black", lw=1.0, ls="--", label="deadline")
    axis.set(yscale="log", xlabel="time, s", ylabel="latency, µs")
    _plain_ticks(axis.yaxis)
    swaps, resets = marks
    axis.set_title(f"Latency over time: {swaps} swaps (lines), {resets} resets (triangles)")
    axis.legend(loc="upper right", markerscale=4, ncol=4)


def _mark(axis: Axes, ticks: Ticks, seconds: Any, start: float, marks: list[int]) -> None:
    """Mark swaps by lines of the new backend's colour, resets by triangles on the axis."""
    width = 1.2 if len(ticks.swaps) <= _SWAPS else 0.3
    for index in ticks.swaps:
        axis.axvline(seconds[index], color=colour(str(ticks.backends[index])), lw=width, alpha=0.8)
    resets = start + (ticks.resets - ticks.times.min()) / 1e9
    axis.plot(
        resets, np.full(len(resets), 0.01), "^", ms=4, color="black", clip_on=False,
        transform=axis.get_xaxis_transform(),
    )  # fmt: skip
    marks[0] += len(ticks.swaps)
    marks[1] += len(resets)


def stages(axis: Axes, report: Report) -> None:
    """Draw the stages' means, which add up to the mean latency."""
    samples = report.samples[::-1]
    left = np.zeros(len(samples))
    for name in STAGES:
        if not all(name in sample.stages for sample in samples):
            continue
        known = [sample.stages[name] for sample in samples]
        known = [values[np.isfinite(values)] for values in known]
        widths = np.array([values.mean() if len(values) else 0.0 for values in known])
        axis.barh(range(len(samples)), widths, left=left, label=name, color=_STAGE_COLOURS[name])
        left += widths
    for place, total in enumerate(left):
        axis.annotate(
            f" {total:,.0f} µs", (total, place), va="center", fontsize=8, annotation_clip=False
        )
    axis.set_yticks(range(len(samples)), [_label(sample.name) for sample in samples])
    axis.set(xlabel="mean, µs", title="Where the time goes")
    axis.margins(x=0.15)
    axis.grid(visible=False, axis="y")
    if left.any():
        axis.legend(ncol=3, loc="upper center", bbox_to_anchor=(0.5, -0.22), frameon=False)
    else:
        axis.text(0.5, 0.5, "no timing topic", ha="center", transform=axis.transAxes)


def side_by_side(axis: Axes, report: Report) -> None:
    """Draw mean, median and 99th percentile with their bootstrap intervals."""
    count = len(report.samples)
    for index, sample in enumerate(report.samples):
        offset = 0.18 * ((count - 1) / 2 - index)
        for row, statistic in enumerate(_STATISTICS):
            found = report.resampled[sample.name][statistic]
            low, high = found.interval
            error = [[max(found.value - low, 0.0)], [max(high - found.value, 0.0)]]
            axis.errorbar(
                found.value, len(_STATISTICS) - 1 - row + offset, xerr=error, fmt="o", ms=4,
                capsize=3, color=colour(sample.name), label=None if row else _label(sample.name),
            )  # fmt: skip
    axis.set_yticks(range(len(_STATISTICS)), _STATISTICS[::-1])
    axis.set(xlabel="latency, µs", ylim=(-0.6, len(_STATISTICS) - 0.4))
    low, high = axis.get_xlim()
    if high > _WIDE * max(low, 1e-3):
        axis.set_xscale("log")
    _plain_ticks(axis.xaxis)
    axis.set_title(f"Side by side, with {LEVEL:.0%} bootstrap intervals")
    axis.legend(loc="best")


def _plain_ticks(along: Axis) -> None:
    """Label with plain numbers, on a logarithmic axis 1, 2, 5, 10, ... and nothing between.

    What Matplotlib writes between them is mathematics, which names with a dollar sign forbid.
    """
    if along.get_scale() == "log":
        along.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        along.set_minor_formatter(NullFormatter())
    along.set_major_formatter(_PLAIN)


def _label(name: str) -> str:
    """Return ``name`` as a legend shows it: one that begins with an underscore would be hidden."""
    shown = "".join(each if each.isprintable() else "?" for each in name)
    return f" {shown}" if shown.startswith("_") else shown


PANELS: dict[str, tuple[Draw, tuple[float, float]]] = {
    "ecdf": (ecdf, (5.6, 3.6)),
    "side_by_side": (side_by_side, (5.6, 3.6)),
    "over_time": (over_time, (11.4, 3.6)),
    "stages": (stages, (11.4, 3.0)),
}


def svg(name: str, report: Report) -> str:
    """Return one panel as SVG to be put into a page."""
    draw, size = PANELS[name]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots(), report)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", dpi=110, metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def png(report: Report) -> bytes:
    """Return all panels as one PNG."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(12.0, 10.5), layout="constrained")
        axes = figure.subplot_mosaic(
            [["ecdf", "side_by_side"], ["over_time", "over_time"], ["stages", "stages"]]
        )
        for name, (draw, _) in PANELS.items():
            draw(axes[name], report)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=90, metadata={"Software": None})
    return stream.getvalue()
