"""A report as text: tables for the terminal and the page, and one sentence a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qpolicy_ros.common.errors import printable
from qpolicy_ros.latency.bootstrap import RESAMPLES, Comparison
from qpolicy_ros.latency.summary import Report

Table = tuple[list[str], list[list[str]]]

_COLUMNS = {
    "n": "n",
    "drops": "drops",
    "duplicates": "dup.",
    "mean_us": "mean",
    "p50_us": "p50",
    "p90_us": "p90",
    "p99_us": "p99",
    "p999_us": "p99.9",
    "max_us": "max",
    "deadline_misses": "missed",
}


def latency_table(report: Report) -> Table:
    """Return the main table: one row a backend, µs."""
    rows = [
        [name, *(number(figures[key]) for key in _COLUMNS)]
        for name, figures in report.figures()["backends"].items()
    ]
    return ["backend", *_COLUMNS.values()], rows


def stage_table(report: Report) -> Table:
    """Return mean, p50 and p99 of every stage, and of what surrounds them, µs."""
    rows = []
    for name, figures in report.figures()["backends"].items():
        parts: dict[str, Any] = dict(figures["stages"])
        for key, label in (("age_at_action", "age at action"), ("round_trip", "round trip")):
            if figures[key]:
                parts[label] = figures[key]
        for stage, values in parts.items():
            numbers = (values[key] for key in ("mean_us", "p50_us", "p99_us", "max_us"))
            rows.append([name, stage, *map(number, numbers)])
        if figures["warm_up"]:
            values = figures["warm_up"]
            numbers = (values[key] for key in ("mean_us", "p50_us", "p99_us", "max_us"))
            rows.append([name, f"warm-up ({values['n']}, apart)", *map(number, numbers)])
    return ["backend", "stage", "mean", "p50", "p99", "max"], rows


def period_table(report: Report) -> Table:
    """Return the time from answer to answer and its jitter, µs."""
    keys = ("median_us", "jitter_std_us", "jitter_p99_us", "jitter_max_us")
    rows = [
        [name, *(number(figures["period"][key]) for key in keys)]
        for name, figures in report.figures()["backends"].items()
        if figures["period"]
    ]
    return ["backend", "period", "jitter, std", "jitter, p99", "jitter, max"], rows


def sentence(each: Comparison) -> str:
    """Say which backend is faster, and with what confidence."""
    interval = f"{each.ratio:.3f} times [{each.low:.3f}, {each.high:.3f}]"
    if not each.shown:
        return (
            f"{each.statistic}: no difference shown between {each.faster} and {each.slower}: "
            f"{interval}"
        )
    # Of a finite number of draws, all can agree without the probability being 1.
    least = 1.0 - 1.0 / RESAMPLES
    sure = f"> {least:.2%}" if each.confidence > least else f"{each.confidence:.2%}"
    return (
        f"{each.statistic}: {each.faster} is faster than {each.slower}: {each.slower} takes "
        f"{interval} as long, confidence {sure}"
    )


def described(report: Report) -> str:
    """Say what the latency is, what the deadline is, and what is left out."""
    return (
        f"Latency: {report.meaning}, µs. Deadline: {report.deadline:,.0f} µs "
        f"({report.deadline_from}). Warm-up: the first {report.warm_up} answers of each backend "
        "and run stand apart."
    )


def render(report: Report, *, compare: bool) -> str:
    """Return what the command prints."""
    bags = ", ".join(str(each.trace.bag.path) for each in report.ticks)
    lines = [
        described(report),
        "",
        *aligned(latency_table(report)),
        "",
        *aligned(stage_table(report)),
        "",
        *aligned(period_table(report)),
        "",
    ]
    if compare:
        lines += [sentence(each) for each in report.comparisons] + [""]
    figures = report.figures()
    lines += [f"{len(figures['swaps'])} swaps, {figures['resets']} resets in {bags}"]
    lines += [f"{name}: {value}" for name, value in report.conditions.items()]
    lines += [f"note: {note}" for note in report.notes]
    return "\n".join(map(printable, lines))  # a bag says what its backends are called


def aligned(table: Table) -> list[str]:
    """Return a table's lines: text to the left, numbers to the right."""
    head, rows = table
    if not rows:
        return []
    widths = [max(len(row[index]) for row in [head, *rows]) for index in range(len(head))]
    texts = [not any(is_number(row[index]) for row in rows) for index in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        placed = [
            cell.ljust(width) if text else cell.rjust(width)
            for cell, width, text in zip(cells, widths, texts, strict=True)
        ]
        return "  ".join(placed).rstrip()

    return [line(head), *map(line, rows)]


def number(value: float | None) -> str:
    """Return a count or a duration, ``-`` if unknown."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def is_number(cell: str) -> bool:
    """Whether a cell is what :func:`number` returns."""
    return cell == "-" or cell.replace(",", "").replace(".", "", 1).isdigit()
