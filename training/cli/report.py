"""Put the shipped policies and their sweeps beside the paper's runs: Markdown, HTML and plots."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from qpolicy_ros.common.files import make_folder, write_atomically
from qpolicy_ros.policy import PolicyError
from qpolicy_ros.policy.locate import policy_folders


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy report`."""

    out: str = "report"
    """Folder for report.md, report.html and the plots."""
    policies: str = ""
    """Folder of <task>/<name>.safetensors; empty takes the shipped ones."""
    hardware: str = ""
    """JSON rows of the hardware benchmark (docs/benchmarks/fpga.json); empty leaves ours out."""


def main(args: Args) -> int:
    """Write the report; PolicyError if there is nothing to report on, or a file does not fit."""
    from qpolicy_training.report.figures import FIGURES, draw  # noqa: PLC0415  `--help` needs none
    from qpolicy_training.report.page import html, markdown  # noqa: PLC0415
    from qpolicy_training.report.runs import gather  # noqa: PLC0415

    folders = [Path(args.policies)] if args.policies else policy_folders()
    if not folders:
        wrong, remedy = "no shipped policies were found", "name their folder"
        raise PolicyError.at("", "--policies", wrong, remedy)
    out = make_folder(Path(args.out))
    runs = gather(folders[0], Path(args.hardware) if args.hardware else None)
    figures = {name: draw(name, runs) for name in FIGURES}
    contents = {f"{name}.png": figure for name, figure in figures.items()}
    contents["report.md"] = markdown(runs).encode()
    contents["report.html"] = html(runs, figures).encode()
    for name, content in contents.items():
        write_atomically(out / name, content)
        print(out / name, file=sys.stderr)
    candidates = sum(sweep.candidates for sweep in runs.sweeps)
    print(f"{len(runs.shipped)} policies, {candidates} candidates of sweeps, {out}/report.html")
    return 0
