"""Benchmark results as files: JSON rows with their conditions, a Markdown table."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from qpolicy_ros import __version__
from qpolicy_ros.bench.measure import Latency
from qpolicy_ros.common.files import make_folder, write_atomically
from qpolicy_ros.common.machine import cpu, kernel
from qpolicy_ros.common.revision import revision

_PACKAGES = ("numpy", "torch", "onnxruntime", "ros-rclpy", "ros-rmw-fastrtps-cpp")


@dataclass(frozen=True)
class Row:
    """One comparison; ``ratio`` = the peer's median over the subject's, > 1 = we are faster.

    The ``_low`` and ``_high`` figures are quartiles of the rounds' medians, µs.
    """

    bench: str
    subject: str
    peer: str
    ratio: float
    p50_us: float
    p99_us: float
    peer_p50_us: float
    peer_p99_us: float
    p50_low_us: float
    p50_high_us: float
    peer_p50_low_us: float
    peer_p50_high_us: float
    calls: int


def compare(bench: str, subject: str, peer: str, ours: Latency, theirs: Latency) -> Row:
    """Return the row of one comparison."""
    return Row(
        bench=bench,
        subject=subject,
        peer=peer,
        ratio=theirs.p50 / ours.p50,
        p50_us=ours.p50,
        p99_us=ours.p99,
        peer_p50_us=theirs.p50,
        peer_p99_us=theirs.p99,
        p50_low_us=ours.low,
        p50_high_us=ours.high,
        peer_p50_low_us=theirs.low,
        peer_p50_high_us=theirs.high,
        calls=ours.calls,
    )


def conditions(**more: object) -> dict[str, Any]:
    """Return what the figures depend on: machine, versions, revision, load, date."""
    return {
        "date": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
        "kernel": kernel(),
        "python": platform.python_version(),
        "versions": {"qpolicy_ros": __version__, **_versions()},
        "git_revision": revision(),
        **more,
    }


def write(
    folder: Path,
    name: str,
    rows: Sequence[Row | dict[str, Any]],
    facts: Mapping[str, Any],
    table: Iterable[str],
) -> None:
    """Write ``<name>.json`` (a list of rows, each with its conditions) and ``<name>.md``.

    Args:
        folder: made where it is not there.
        name: of both files.
        rows: the comparisons.
        facts: the conditions, of rows that do not say theirs.
        table: lines of Markdown.
    """
    make_folder(folder)
    found = [row if isinstance(row, dict) else asdict(row) for row in rows]
    lines = [json.dumps({"conditions": dict(facts)} | row) for row in found]
    text = "[\n" + ",\n".join(lines) + "\n]\n"
    write_atomically(folder / f"{name}.json", text.encode())
    write_atomically(folder / f"{name}.md", ("\n".join(table) + "\n").encode())


def describe(facts: Mapping[str, Any]) -> list[str]:
    """Return the conditions as lines of Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    load = ", ".join(f"{value:g}" for value in facts["load_average"])
    machine = f"{facts['cpu']}, {facts['cores']} cores, {facts['kernel']}"
    return [
        f"- {facts['date']}, revision {facts['git_revision']}",
        f"- {machine}, load average {load} at the start",
        f"- Python {facts['python']}, {versions}",
    ]


def _versions() -> dict[str, str]:
    installed = {each.name.lower(): each.version for each in metadata.distributions()}
    return {name: installed[name] for name in _PACKAGES if name in installed}
