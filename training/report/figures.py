"""The report's figures: the paper's runs behind, ours in front; one column a task."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from qpolicy_training.report.runs import TASKS, Runs
from qpolicy_training.report.statistics import estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Axes = Any  # matplotlib's, imported late

_GREY, _OURS, _SWEPT = "#8a8a8a", "#d55e00", "#e69f00"
_SCOPES = {"all": "#0072b2", "input": "#009e73", "core": "#cc79a7", "output": "#56b4e9"}
_REFERENCE = 8  # bits of what a scope leaves alone
_WIDE = 256
_BITS = range(2, 9)
_STYLE: Any = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 8,
    "grid.alpha": 0.3,
    "legend.fontsize": 7,
}


def bits(axis: Axes, runs: Runs, task: str) -> None:
    """Return against bits at width 256, by what has them; ours at the core's bits."""
    for place, (scope, shade) in enumerate(_SCOPES.items()):
        shapes = [_scoped(scope, count) for count in _BITS]
        groups = [runs.paper(task, shape) for shape in shapes]
        _series(axis, list(_BITS), groups, shade, scope, shift=0.08 * (place - 1.5))
    _fp32(axis, runs, task)
    _ours(axis, runs, task, lambda point: point.b_core)
    axis.set(xlabel="bits", xlim=(1.5, 8.6))


def width(axis: Axes, runs: Runs, task: str) -> None:
    """Return against width, core at 8 bits and at the paper's choice."""
    _, _, b_core, _ = runs.selected(task)
    widths = sorted({run.hidden for run in runs.quantised if run.task == task})
    for core, shade in ((8, _GREY), (b_core, "#0072b2")):
        known = [size for size in widths if runs.paper(task, (size, 8, core, 8))]
        groups = [runs.paper(task, (size, 8, core, 8)) for size in known]
        places = [float(np.log2(size)) for size in known]
        _series(axis, places, groups, shade, f"core {core} bits")
    _fp32(axis, runs, task)
    _ours(axis, runs, task, lambda point: float(np.log2(point.hidden)))
    axis.set_xticks([float(np.log2(size)) for size in widths], [str(size) for size in widths])
    axis.set(xlabel="hidden width")


def input_bits(axis: Axes, runs: Runs, task: str) -> None:
    """Return against input bits, at the paper's width and core."""
    hidden, _, b_core, b_out = runs.selected(task)
    known = [count for count in _BITS if runs.paper(task, (hidden, count, b_core, b_out))]
    groups = [runs.paper(task, (hidden, count, b_core, b_out)) for count in known]
    _series(axis, known, groups, "#009e73", f"h {hidden}, core {b_core}")
    _fp32(axis, runs, task)
    _ours(axis, runs, task, lambda point: point.b_in)
    axis.set(xlabel="input bits", xlim=(1.5, 8.6))


def curves(axis: Axes, runs: Runs, task: str) -> None:
    """Held-out return during our training runs."""
    shades = {"fp32": _GREY, "paper": _OURS, "selected": "#0072b2"}
    for (owner, name), rows in runs.curves.items():
        if owner == task:
            steps, returns = zip(*rows, strict=True)
            thousands = np.array(steps) / 1000.0
            axis.plot(thousands, returns, lw=1.2, color=shades.get(name, "black"), label=name)
    _fp32(axis, runs, task)
    axis.set(xlabel="thousand steps")


def pareto(axis: Axes, runs: Runs, task: str) -> None:
    """Return against cycles."""
    _pareto(axis, runs, task, "cycles")
    axis.set(xlabel="cycles an action")


def pareto_lut(axis: Axes, runs: Runs, task: str) -> None:
    """Return against LUT."""
    _pareto(axis, runs, task, "lut")
    axis.set(xlabel="LUT (XC7A15T has 10,400)")


FIGURES: dict[str, tuple[Callable[[Axes, Runs, str], None], str]] = {
    "bits": (
        bits,
        (
            "Return against bits. Lines: the paper's runs at width 256, interquartile mean and "
            "95 % interval of 10 seeds; a scope has the bits of the axis, the rest 8. Dots: its "
            "seeds. Stars: our shipped policies at their own widths, bars the deviation of their "
            "episodes."
        ),
    ),
    "width": (
        width,
        "Return against hidden width: the paper's runs with 8-bit input and output.",
    ),
    "input_bits": (
        input_bits,
        (
            "Return against input bits: the paper's runs at the width and core that it selected. "
            "Many of these rows equal another configuration's row."
        ),
    ),
    "curves": (
        curves,
        (
            "Our training: held-out return by environment step (teachers, fine-tuning) or sample "
            "(distillation). One run each."
        ),
    ),
    "pareto": (
        pareto,
        (
            "Return against cycles, core alone, 100 MHz: the paper's designs (8-4-8 and selected; "
            "returns of its runs of that shape) and ours, the front drawn through."
        ),
    ),
    "pareto_lut": (pareto_lut, "Return against LUT, the same designs."),
}


def draw(name: str, runs: Runs) -> bytes:
    """Return a figure as PNG."""
    import matplotlib as mpl  # noqa: PLC0415  not needed to train
    from matplotlib.figure import Figure  # noqa: PLC0415

    panel, _ = FIGURES[name]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(15.0, 3.1), layout="constrained")
        axes = figure.subplots(1, len(TASKS))
        for axis, task in zip(axes, TASKS, strict=True):
            panel(axis, runs, task)
            axis.set_title(task)
            if axis.get_legend_handles_labels()[0]:
                axis.legend(loc="best")
        axes[0].set_ylabel("return")
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=100, metadata={"Software": None})
    return stream.getvalue()


def _scoped(scope: str, count: int) -> tuple[int, int, int, int]:
    b_in, b_core, b_out = (
        count if scope in ("all", part) else _REFERENCE for part in ("input", "core", "output")
    )
    return _WIDE, b_in, b_core, b_out


def _series(
    axis: Axes,
    places: Sequence[float],
    groups: list[list[float]],
    shade: str,
    label: str,
    shift: float = 0.0,
) -> None:
    """Draw seeds as dots, their interquartile mean as a line with its interval."""
    known = [(at + shift, group) for at, group in zip(places, groups, strict=True) if group]
    for at, group in known:
        axis.plot([at] * len(group), group, ".", ms=2, color=shade, alpha=0.3)
    found = [estimate([group]) for _, group in known]
    values = [each.value for each in found]
    errors = [
        [each.value - each.low for each in found],
        [each.high - each.value for each in found],
    ]
    axis.errorbar(
        [at for at, _ in known], values, yerr=errors, fmt="-o", ms=2.5, lw=1, capsize=1.5,
        color=shade, label=label,
    )  # fmt: skip


def _fp32(axis: Axes, runs: Runs, task: str) -> None:
    found = estimate([runs.paper_fp32(task)])
    axis.axhspan(found.low, found.high, color="black", alpha=0.08, lw=0)
    axis.axhline(found.value, color="black", lw=0.8, ls="--", label="paper FP32")


def _ours(axis: Axes, runs: Runs, task: str, place: Callable[[Any], float]) -> None:
    """Draw our quantised policies in front."""
    own = [point for point in runs.swept if point.task == task]
    axis.plot(
        [place(point) for point in own], [point.mean for point in own], "x", ms=3, color=_SWEPT,
        zorder=4, label="our sweep" if own else None,
    )  # fmt: skip
    for point in runs.shipped:
        if point.task == task and point.name != "fp32":
            axis.errorbar(
                place(point), point.mean, yerr=point.std, fmt="*", ms=9, mec="white", mew=0.5,
                color=_OURS, zorder=5, capsize=2, label=f"ours: {point.name}, h {point.hidden}",
            )  # fmt: skip


def _pareto(axis: Axes, runs: Runs, task: str, cost: str) -> None:
    found = []
    for design in runs.hardware:
        returns = runs.paper(task, design.shape)
        if design.task != task or not returns:
            continue
        estimated = estimate([returns])
        at = getattr(design, cost)
        error = [[estimated.value - estimated.low], [estimated.high - estimated.value]]
        axis.errorbar(
            at, estimated.value, yerr=error, fmt="o" if design.design == "selected" else "s", ms=4,
            color=_GREY, capsize=2,
            label=f"paper, {design.design.replace('reference_', '')}",
        )  # fmt: skip
        found.append((at, estimated.value))
    for point in (*runs.swept, *runs.shipped):
        at = getattr(point, cost)
        if point.task != task or at is None:
            continue
        shipped = point.name != "sweep"
        axis.plot(
            at, point.mean, "*" if shipped else "x", ms=9 if shipped else 3, mec="white", mew=0.5,
            color=_OURS if shipped else _SWEPT, zorder=5,
            label=f"ours: {point.name}" if shipped else None,
        )  # fmt: skip
        found.append((at, point.mean))
    front = pareto_front(found)
    if front:
        axis.step(*zip(*front, strict=True), where="post", color="black", lw=0.8, alpha=0.6)
    axis.set_xscale("log")
    low, high = min(at for at, _ in found), max(at for at, _ in found)
    axis.set_xlim(low / 1.5, high * 1.5)
    decades = [10.0**power for power in range(6) if low / 1.5 <= 10.0**power <= high * 1.5]
    axis.set_xticks(decades or [low, high])
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.xaxis.set_minor_formatter("")


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the (cost, return) that no other beats in both, cheapest first."""
    front: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or value > front[-1][1]:
            front.append((cost, value))
    return front
