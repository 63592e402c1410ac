"""The report's figures: the paper's runs behind, ours in front; one column a task."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from qpolicy_training.report.runs import TASKS, Point, Runs
from qpolicy_training.report.seeds import STUDENT, dwc, groups
from qpolicy_training.report.statistics import estimate

Axes = Any  # matplotlib's, imported late

_GREY, _SWEPT = "#8a8a8a", "#b8860b"
# Marker, its size, its colour and where its text stands (points), by the name of a shipped policy.
_SHIPPED = {
    "paper": ("*", 10, "#d55e00", (5, 4)),
    "selected": ("D", 5, "#7b3294", (5, -9)),
    "tables": ("s", 5, "#009e73", (-5, -12)),
    "best": ("^", 6, "#a50026", (5, 5)),
}
_OTHER = ("P", 6, "#5c3d2e", (-5, -12))
_NAMES = {"paper": "the paper's shape"}
_SCOPES = {"all": "#0072b2", "input": "#009e73", "core": "#cc79a7", "output": "#56b4e9"}
_REFERENCE = 8  # bits of what a scope leaves alone
_WIDE = 256
_BITS = range(2, 9)
_CROWDED = 100.0  # from this ratio of the axis's ends on, decades alone are named
_STYLE: Any = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 8,
    "grid.alpha": 0.3,
    "legend.fontsize": 8,
    "text.parse_math": False,
}


def bits(axis: Axes, runs: Runs, task: str) -> None:
    """Return against bits at width 256, by what has them; ours at the core's bits."""
    for place, (scope, shade) in enumerate(_SCOPES.items()):
        shapes = [_scoped(scope, count) for count in _BITS]
        groups = [runs.paper(task, shape) for shape in shapes]
        _series(axis, list(_BITS), groups, shade, f"paper, {scope}", shift=0.08 * (place - 1.5))
    _fp32(axis, runs, task)
    _ours(axis, runs, task, lambda point: point.b_core)
    axis.set(xlabel="bits", xlim=(1.5, 8.6))


def width(axis: Axes, runs: Runs, task: str) -> None:
    """Return against width, core at 8 bits and at the paper's choice."""
    _, _, b_core, _ = runs.selected(task)
    widths = sorted({run.hidden for run in runs.quantised if run.task == task})
    for core, shade in ((_REFERENCE, _GREY), (b_core, "#0072b2")):
        known = [size for size in widths if runs.paper(task, (size, 8, core, 8))]
        groups = [runs.paper(task, (size, 8, core, 8)) for size in known]
        places = [float(np.log2(size)) for size in known]
        label = "paper, 8-bit core" if core == _REFERENCE else "paper, its selected core"
        _series(axis, places, groups, shade, label)
    _fp32(axis, runs, task)
    _ours(axis, runs, task, lambda point: float(np.log2(point.hidden)))
    axis.set_xticks([float(np.log2(size)) for size in widths], [str(size) for size in widths])
    axis.set(xlabel=f"hidden width (selected core: {b_core} bits)", xlim=(1.7, 8.7))


def input_bits(axis: Axes, runs: Runs, task: str) -> None:
    """Return against input bits, at the paper's width and core."""
    hidden, _, b_core, b_out = runs.selected(task)
    known = [count for count in _BITS if runs.paper(task, (hidden, count, b_core, b_out))]
    groups = [runs.paper(task, (hidden, count, b_core, b_out)) for count in known]
    _series(axis, known, groups, "#009e73", "paper, its selected width and core")
    _fp32(axis, runs, task)
    _ours(axis, runs, task, lambda point: point.b_in)
    axis.set(xlabel=f"input bits (h {hidden}, core {b_core})", xlim=(1.5, 8.6))


def curves(axis: Axes, runs: Runs, task: str) -> None:
    """Held-out return during our training runs; the paper's ends, by seed, at the right edge."""
    for (owner, name), rows in runs.curves.items():
        if owner == task:
            steps, returns = zip(*rows, strict=True)
            thousands = np.array(steps) / 1000.0
            shade = _SHIPPED[name][2] if name in _SHIPPED else _GREY
            axis.plot(thousands, returns, lw=1.2, color=shade, label=_label(name))
    _at_the_edge(axis, runs.paper(task, runs.selected(task)), "#0072b2", 0.965, "paper, selected")
    _fp32(axis, runs, task)
    axis.set(xlabel="thousand steps or samples")


def pareto(axis: Axes, runs: Runs, task: str) -> None:
    """Return against cycles."""
    _pareto(axis, runs, task, "cycles")
    axis.set(xlabel="cycles an action")


def pareto_lut(axis: Axes, runs: Runs, task: str) -> None:
    """Return against LUT."""
    _pareto(axis, runs, task, "lut")
    axis.set(xlabel="LUT (XC7A15T: 10,400)")


def seeds(axis: Axes, runs: Runs, task: str) -> None:
    """Return by seed: the paper's, DWC's, ours."""
    columns = [
        ("paper,\nFP32", runs.paper_fp32(task), "black"),
        ("paper,\nselected", runs.paper(task, runs.selected(task)), "#0072b2"),
        ("DWC", dwc(task), "#009e73"),
    ]
    for group in groups(runs.repeats):
        if group.task == task and group.means:
            what = "students" if group.differ == STUDENT else "pipelines"
            scale = "" if group.reward_scale == 1 else f"\nrewards {group.reward_scale:g}"
            columns.append((f"ours,\n{what}{scale}", group.means, "#d55e00"))
    for at, (_, returns, shade) in enumerate(columns):
        found = estimate([returns])
        axis.plot([at] * len(returns), returns, "o", ms=4, color=shade, alpha=0.5, mec="none")
        error = [[found.value - found.low], [found.high - found.value]]
        axis.errorbar(at + 0.2, found.value, yerr=error, fmt="_", ms=9, color=shade, capsize=2)
    axis.set_xticks(range(len(columns)), [name for name, _, _ in columns], fontsize=6)
    axis.set_xlim(-0.5, len(columns) - 0.3)


_EDGE = "The paper's FP32: line, interval, and a dot a seed at the right edge."
_COSTS = (
    "Core alone, 100 MHz. The paper's designs (8-4-8 and selected; returns of its runs of that "
    "shape, a dot a seed) and our shipped policies' cores as generated and synthesised; the front "
    "is drawn through these. Crosses: candidates of our sweeps at the cost that the generator's "
    "model gave before training, random weights of their shape: estimates, which take no part in "
    "the front. "
)

FIGURES: dict[str, tuple[Callable[[Axes, Runs, str], None], str]] = {
    "bits": (
        bits,
        (
            "Return against bits. Lines: the paper's runs at width 256, interquartile mean and "
            "95 % interval of 10 seeds; a scope has the bits of the axis, the rest 8. Dots: its "
            "seeds. Our shipped policies stand at their core's bits and have their own widths (h), "
            f"bars the deviation of their episodes; crosses: candidates of our sweeps. {_EDGE}"
        ),
    ),
    "width": (
        width,
        f"Return against hidden width: the paper's runs with 8-bit input and output. {_EDGE}",
    ),
    "input_bits": (
        input_bits,
        (
            "Return against input bits: the paper's runs at the width and core that it selected. "
            f"Many of these rows equal another configuration's row. {_EDGE}"
        ),
    ),
    "seeds": (
        seeds,
        (
            "Return by seed: a dot a training run, beside it the interquartile mean with its 95 % "
            "interval. The paper's FP32 and selected shape, DWC's best configuration, and our "
            "repetitions (below); none dropped."
        ),
    ),
    "curves": (
        curves,
        (
            "Our training: held-out return by environment step (teachers, RL) or sample "
            "(distillation). One run each. At the right edge the paper's runs at their end, a dot "
            "a seed: FP32 and its selected shape."
        ),
    ),
    "pareto": (pareto, f"Return against cycles. {_COSTS}{_EDGE}"),
    "pareto_lut": (pareto_lut, f"Return against LUT, the same designs. {_COSTS}{_EDGE}"),
}


def draw(name: str, runs: Runs) -> bytes:
    """Return a figure as PNG."""
    import matplotlib as mpl  # noqa: PLC0415  not needed to train
    from matplotlib.figure import Figure  # noqa: PLC0415

    panel, _ = FIGURES[name]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(15.0, 3.5), layout="constrained")
        axes = figure.subplots(1, len(TASKS))
        for axis, task in zip(axes, TASKS, strict=True):
            panel(axis, runs, task)
            axis.set_title(task)
        axes[0].set_ylabel("return")
        # One legend, below the row: inside a panel it would cover data.
        named = {
            label: handle
            for axis in axes
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        if named:
            figure.legend(
                named.values(),
                named.keys(),
                loc="outside lower center",
                ncols=len(named),
                frameon=False,
            )
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
    returns = runs.paper_fp32(task)
    found = estimate([returns])
    axis.axhspan(found.low, found.high, color="black", alpha=0.08, lw=0)
    axis.axhline(found.value, color="black", lw=0.8, ls="--", label="paper, FP32")
    _at_the_edge(axis, returns, "black", 0.99)


def _at_the_edge(
    axis: Axes, returns: list[float], shade: str, place: float, label: str | None = None
) -> None:
    """Draw seeds as dots at ``place`` of the panel's width: they have no value on its axis."""
    axis.plot(
        [place] * len(returns), returns, ".", ms=3, color=shade, alpha=0.5, label=label,
        transform=axis.get_yaxis_transform(),
    )  # fmt: skip


def _label(name: str) -> str:
    return f"ours: {_NAMES.get(name, name)}"


def _crosses(axis: Axes, places: list[float], points: list[Point], label: str) -> None:
    """Draw candidates of our sweeps."""
    if points:
        means = [point.mean for point in points]
        axis.plot(places, means, "x", ms=4, mew=1.0, color=_SWEPT, zorder=4, label=label)


def _ours(axis: Axes, runs: Runs, task: str, place: Callable[[Point], float]) -> None:
    """Draw our quantised policies in front, each with its width."""
    own = [point for point in runs.swept if point.task == task]
    _crosses(axis, [place(point) for point in own], own, "our sweep")
    for point in runs.shipped:
        if point.task == task and point.name != "fp32":
            marker, size, shade, aside = _SHIPPED.get(point.name, _OTHER)
            axis.errorbar(
                place(point), point.mean, yerr=point.std, fmt=marker, ms=size, mec="black", mew=0.5,
                color=shade, zorder=5, capsize=2, label=_label(point.name),
            )  # fmt: skip
            axis.annotate(
                f"h {point.hidden}", (place(point), point.mean), aside,
                textcoords="offset points", fontsize=7, color=shade, zorder=6,
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
        axis.plot([at] * len(returns), returns, ".", ms=3, color=_GREY, alpha=0.4)
        axis.errorbar(
            at, estimated.value, yerr=error, fmt="o" if design.design == "selected" else "s", ms=4,
            color=_GREY, capsize=2,
            label=f"paper, {design.design.replace('reference_', '')}",
        )  # fmt: skip
        found.append((at, estimated.value))
    for point in runs.shipped:
        at = getattr(point, cost)
        if point.task == task and at is not None:
            marker, size, shade, _ = _SHIPPED.get(point.name, _OTHER)
            axis.plot(
                at, point.mean, marker, ms=size, mec="black", mew=0.5, color=shade, zorder=5,
                label=_label(point.name),
            )  # fmt: skip
            found.append((at, point.mean))
    front = pareto_front(found)
    axis.step(
        *zip(*front, strict=True), where="post", color="black", lw=0.8, alpha=0.6, label="front"
    )
    swept = [
        point for point in runs.swept if point.task == task and getattr(point, cost) is not None
    ]
    modelled = [getattr(point, cost) for point in swept]
    _crosses(axis, modelled, swept, "our sweep, modelled cost")
    _fp32(axis, runs, task)
    places = [at for at, _ in found] + modelled
    margin = 1.2 * (max(places) / min(places)) ** 0.05
    low, high = min(places) / margin, max(places) * margin
    axis.set_xscale("log")
    axis.set_xlim(low, high)
    ticks = log_ticks(low, high)
    axis.set_xticks(ticks, [_short(tick) for tick in ticks])
    axis.set_xticks([], minor=True)


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5, 10, ... from ``low`` to ``high``; decades where these would be crowded."""
    leads = (1, 2, 5) if high / low < _CROWDED else (1,)
    ticks = [lead * 10.0**power for power in range(7) for lead in leads]
    return [tick for tick in ticks if low <= tick <= high]


def _short(tick: float) -> str:
    """Return a tick's text, thousands as k: neighbours must not run into each other."""
    return f"{tick / 1000:g}k" if tick >= 1000 else f"{tick:g}"


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the (cost, return) that no other beats in both, cheapest first."""
    front: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or value > front[-1][1]:
            front.append((cost, value))
    return front
