"""The tables of figures in docs/results.md: made from the rows, each between two markers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from qpolicy_ros.bench.cases import SHAPES
from qpolicy_ros.bench.rows import Comparison, Core, Results
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import write_atomically

_SHOWN = {"hopper shape": "Hopper", "halfcheetah shape": "HalfCheetah"}
_PEERS = {
    "plain C fp32": "plain C, floats",
    "onnxruntime fp32": "ONNX Runtime FP32",
    "torch eager": "torch eager",
}


def write_results(file: Path, results: Results) -> None:
    """Put the tables of ``results`` between their markers in ``file``, if it is there.

    Raises:
        InputError: a table's first marker has no second one behind it.
    """
    if not file.is_file():
        return
    old = file.read_text(encoding="utf-8")
    new = fill(old, tables(results), str(file))
    if new != old:
        write_atomically(file, new.encode())


def tables(results: Results) -> dict[str, str]:
    """Return the Markdown tables by name; a table without rows is left out."""
    made = {"speed": _speed(results.inference), "cores": _cores(results.cores)}
    # A line of head and one of dashes are no figures.
    return {name: "\n".join(lines) for name, lines in made.items() if len(lines) > 2}


def markers(name: str) -> tuple[str, str]:
    """Return what stands before and behind the table ``name``."""
    return f"<!-- {name}: made by qpolicy bench targets -->", f"<!-- end of {name} -->"


def fill(text: str, found: Mapping[str, str], file: str) -> str:
    """Return ``text`` with the tables ``found``; one without markers in it is left out.

    Raises:
        InputError: the second marker is missing; ``file`` is named.
    """
    for name, table in found.items():
        first, last = markers(name)
        before, begun, rest = text.partition(first)
        if not begun:
            continue
        _, ended, behind = rest.partition(last)
        if not ended:
            wrong = f"no {last!r} behind it"
            raise InputError.at(file, first, wrong, "put it behind the table")
        text = f"{before}{first}\n\n{table}\n\n{last}{behind}"
    return text


def _speed(rows: Iterable[Comparison]) -> list[str]:
    """One action from Python, two of the paper's shapes."""
    ours: dict[str, float] = {}
    theirs: dict[tuple[str, str], float] = {}
    for row in rows:
        if row.subject == "integer C":
            case = row.case
            ours[case] = row.p50_us
            theirs[case, row.peer] = row.peer_p50_us
    heads = ["one action from Python, µs, median", "integer", *_PEERS.values()]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for case, task in _SHOWN.items():
        if case in ours:
            values = [ours[case], *(theirs.get((case, peer)) for peer in _PEERS)]
            cells = ["not measured" if value is None else f"{value:.1f}" for value in values]
            label = f"{task}, {'-'.join(map(str, SHAPES[case].widths))}"
            lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def _cores(rows: Iterable[Core]) -> list[str]:
    """Cores at the paper's widths and bits beside the paper's; `ours, the paper's`."""
    heads = ["core on the paper's XC7A15T at 100 MHz", "cycles", "latency, µs: ours, the paper's"]
    heads += ["LUT: ours, the paper's", "DSP: ours, the paper's"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        if row.policy == "selected":  # neither of the paper's widths nor of its bits
            continue
        paper = row.paper
        cells = [f"`{row.subject}`", str(row.cycles)]
        cells += [f"{row.p50_us:g}, {paper.latency_us:g}"]
        cells += [f"{row.lut:,}, {paper.lut:,}", f"{row.dsp}, {paper.dsp}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
