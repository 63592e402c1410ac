"""Say how long answers took: rosbag2 recordings to a table, plots and one HTML page.

Reads MCAP and sqlite3 bags of Humble to Kilted; ROS 2 need not be installed.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.common.files import make_folder, write_atomically
from qpolicy_ros.latency.bag import open_bag
from qpolicy_ros.latency.summary import Report, summarise, to_json
from qpolicy_ros.latency.text import render
from qpolicy_ros.latency.ticks import read_ticks
from qpolicy_ros.latency.trace import read_trace


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy latency`."""

    bags: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Bags: rosbag2 folders, or single .mcap or .db3 files."""
    compare: bool = False
    """Say which backend is faster, and with what confidence."""
    out: str = ""
    """Folder for latency.html, latency.json and latency.png; empty writes none."""
    warm_up: int = 100
    """Answers of each backend and run that stand apart."""
    deadline_us: float = 0.0
    """Deadline, µs; 0 takes the policy's control period from the bag."""
    namespace: str = ""
    """Namespace of the policy node; needed only where a bag has several."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Print the figures of the bags; BagError or UsageError if there are none."""
    if not args.bags:
        raise UsageError("bags: none given; give one or more, for example rosbag2_2026_01_31-12_00")
    if args.warm_up < 0:
        raise UsageError(f"--warm-up: {args.warm_up} is too small; give 0 or more")
    if not (args.deadline_us >= 0 and math.isfinite(args.deadline_us)):
        raise UsageError(f"--deadline-us: {args.deadline_us:g} is no duration; give 0 or more")
    if args.out:
        make_folder(Path(args.out))
    ticks = []
    for path in dict.fromkeys(args.bags):
        ticks.append(read_ticks(read_trace(open_bag(path), args.namespace)))
        print(f"{path}: {len(ticks[-1].times)} answers", file=sys.stderr)
    report = summarise(ticks, args.warm_up, args.deadline_us)
    if args.compare and len(report.samples) < 2:
        only = report.samples[0].name
        raise UsageError(f"--compare: only {only} has answers; give bags of two backends")
    figures = to_json(report)
    if args.out:
        _write(Path(args.out), report, figures)
    print(figures if args.json else render(report, compare=args.compare))
    return 0


def _write(folder: Path, report: Report, figures: str) -> None:
    """Write the page, the figures and the plots."""
    from qpolicy_ros.latency.figures import png  # noqa: PLC0415  matplotlib, only where it is used
    from qpolicy_ros.latency.page import page  # noqa: PLC0415

    for name, content in (
        ("latency.html", page(report).encode()),
        ("latency.json", figures.encode() + b"\n"),
        ("latency.png", png(report)),
    ):
        write_atomically(folder / name, content)
        print(f"{folder / name}", file=sys.stderr)
