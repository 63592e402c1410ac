"""Table and figure of the published properties."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.common.plots import save_png

_COLOURS = {2: "#0072b2", 3: "#d55e00", 4: "#009e73"}  # Okabe and Ito's palette, by core bits
_MARKS = {"proved": "o", "refuted": "x", "open": "s"}
_MADE = (
    "Made by `python -m qpolicy_ros.prove.published` (make, decide, growth, report); "
    "[../../proofs.md](../../proofs.md) says what each verdict means. Seconds are processor time "
    "of one core, proof and check together; each property had 60 s at most."
)
_ASKED = (
    "17 inputs of 8 bits, two hidden layers, one action: can it rise by 48 of its 256 codes while "
    "every input moves by at most one code? Median seconds of processor time (10 s at most), and "
    "how many networks were decided."
)
_LEAST = 1e-2  # s; what is quicker is drawn there


def table(rows: list[dict[str, Any]], growth: list[dict[str, Any]], written: int) -> str:
    """The page beside the rows, of ``written`` properties in all."""
    decided = [row for row in rows if row["verdict"] != "open"]
    within = [row for row in decided if row["seconds"] <= 60.0]
    counts = {v: sum(row["verdict"] == v for row in rows) for v in _MARKS}
    share = len(within) / max(len(rows), 1)
    found = f"Of {len(rows)} properties {counts['proved']} are proved, {counts['refuted']} refuted "
    found += f"and {counts['open']} open: {share:.0%} decided within 60 s each."
    if len(rows) < written:
        found += (
            f" {written - len(rows)} of the {written} have not been run yet (`decide` goes on)."
        )
    lines = [
        "# A hundred properties of the shipped policies",
        "",
        _MADE,
        "",
        found,
        "",
        "![How it grows](growth.png)",
        "",
        "| policy | inputs | width | bits | proved | refuted | open | median s | longest s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for subject in dict.fromkeys(row["subject"] for row in rows):
        own = [row for row in rows if row["subject"] == subject]
        of = [sum(row["verdict"] == verdict for row in own) for verdict in _MARKS]
        times = [row["seconds"] for row in own]
        lines.append(
            f"| `{subject}` | {own[0]['inputs']} | {own[0]['width']} | {own[0]['bits']} "
            f"| {of[0]} | {of[1]} | {of[2]} | {np.median(times):.2f} | {max(times):.1f} |"
        )
    lines += ["", "| question | proved | refuted | open |", "|---|---:|---:|---:|"]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        of = [sum(row["verdict"] == verdict for row in own) for verdict in _MARKS]
        lines.append(f"| {kind} | {of[0]} | {of[1]} | {of[2]} |")
    lines += ["", "| property | verdict | s | by | checked by |", "|---|---|---:|---|---|"]
    for row in rows:
        by, checked = (", ".join(row[key]) for key in ("by", "checked_by"))
        lines.append(
            f"| [{row['property']}]({row['property']}.yaml) | {row['verdict']} "
            f"| {row['seconds']:.2f} | {by} | {checked} |"
        )
    if growth:
        lines += _growth_table(growth)
    return "\n".join(lines) + "\n"


def _growth_table(growth: list[dict[str, Any]]) -> list[str]:
    lines = [
        "",
        "## Random networks",
        "",
        _ASKED,
        "",
        "| width | 2 bits | 3 bits | 4 bits |",
        "|---:|---:|---:|---:|",
    ]
    for width in dict.fromkeys(row["width"] for row in growth):
        cells = []
        for bits in _COLOURS:
            own = [r for r in growth if (r["width"], r["bits"]) == (width, bits)]
            if own:
                median = float(np.median([row["seconds"] for row in own]))
                done = sum(row["decided"] for row in own)
                cells.append(f"{median:.2f} ({done} of {len(own)})")
            else:
                cells.append("")
        lines.append(f"| {width} | {' | '.join(cells)} |")
    return lines


def draw(rows: list[dict[str, Any]], growth: list[dict[str, Any]], path: Path) -> None:
    """Seconds by width and bits: the published properties, and random networks."""
    import matplotlib as mpl  # noqa: PLC0415  an extra, and slow to import

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415  as above

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    rng = np.random.default_rng(0)
    for verdict, mark in _MARKS.items():
        for bits, colour in _COLOURS.items():
            own = [r for r in rows if r["verdict"] == verdict and r["bits"] == bits]
            widths = [row["width"] * float(2 ** rng.uniform(-0.25, 0.25)) for row in own]
            times = [max(row["seconds"], _LEAST) for row in own]
            left.scatter(widths, times, marker=mark, color=colour, s=22, alpha=0.8)
    for verdict, mark in _MARKS.items():
        left.scatter([], [], marker=mark, color="#666666", label=verdict)
    for bits, colour in _COLOURS.items():
        own = [row for row in growth if row["bits"] == bits]
        widths = list(dict.fromkeys(row["width"] for row in own))
        median = [
            max(float(np.median([r["seconds"] for r in own if r["width"] == w])), _LEAST)
            for w in widths
        ]
        right.plot(widths, median, "o-", color=colour, label=f"{bits} bits")
    left.set_title("shipped policies, 100 properties")
    right.set_title("random networks, one code of noise")
    left.set_ylabel("processor time to a verdict, s")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("width of the hidden layers")
        axes.axhline(60, color="#999999", linewidth=0.8, linestyle="--")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xticks([16, 32, 64, 128, 256], ["16", "32", "64", "128", "256"])
    left.legend(frameon=False)
    right.legend(frameon=False)
    save_png(figure, path)
    plt.close(figure)
