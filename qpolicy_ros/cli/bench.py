"""Measure inference latency and the ROS 2 loop against their peers, interleaved in one run."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

Suite = Literal["inference", "loop"]


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy bench`."""

    suites: Annotated[tuple[Suite, ...], tyro.conf.Positional] = ("inference", "loop")
    """inference: one action from Python, against torch and ONNX Runtime.
    loop: observation to action over ROS 2, against a bare echo node."""
    quick: bool = False
    """Few cases and rounds: a look, not a record."""
    out: Path = Path("docs/benchmarks")
    """Folder for the JSON rows, the tables and the plots."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Run the suites; 1 if a subject does not compute what it is timed for, or a node failed."""
    # BLAS reads this when it is loaded: one thread for everyone.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    from qpolicy_ros.bench import inference  # noqa: PLC0415  after that
    from qpolicy_ros.bench.measure import DisagreementError  # noqa: PLC0415
    from qpolicy_ros.demo.processes import NodeError  # noqa: PLC0415

    rows = []
    names = []
    try:
        if "inference" in args.suites:
            rows += inference.run(args.out, _say, quick=args.quick)
            names.append(inference.NAME)
        if "loop" in args.suites:
            from qpolicy_ros.bench import loop  # noqa: PLC0415  needs rclpy

            rows += loop.run(args.out, _say, quick=args.quick)
            names.append(loop.NAME)
    except (DisagreementError, NodeError) as error:
        print(f"qpolicy bench: error: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "out": str(args.out)}))
    else:
        for name in names:
            print((args.out / f"{name}.md").read_text(encoding="utf-8"))
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
