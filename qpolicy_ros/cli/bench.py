"""Measure inference latency and the ROS 2 loop against their peers, interleaved in one run."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

Suite = Literal["inference", "loop", "startup", "training", "returns"]


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy bench`."""

    suites: Annotated[tuple[Suite, ...], tyro.conf.Positional] = (
        "inference",
        "loop",
        "startup",
        "training",
    )
    """inference: one action from Python, against torch, ONNX Runtime and C.
    loop: observation to action over ROS 2, against a bare echo node.
    startup: import, and process start to active node.
    training: steps a second against Stable-Baselines3 and sbx.
    returns: what short training runs of all of them reach (half an hour)."""
    quick: bool = False
    """Few cases and rounds: a look, not a record."""
    out: Path = Path("docs/benchmarks")
    """Folder for the JSON rows, the tables and the plots."""
    cleanrl: Path | None = None
    """A checkout of CleanRL, to time its SAC beside the others."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Run the suites; 1 if a subject does not compute what it is timed for, or a node failed."""
    # BLAS reads this when it is loaded: one thread for everyone.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    from qpolicy_ros.bench import batches, inference, startup, training  # noqa: PLC0415  after that
    from qpolicy_ros.bench.environments import PeerEnvironmentError  # noqa: PLC0415
    from qpolicy_ros.bench.measure import DisagreementError  # noqa: PLC0415
    from qpolicy_ros.bench.training import TrainingError  # noqa: PLC0415
    from qpolicy_ros.demo.processes import NodeError  # noqa: PLC0415

    rows = []
    names = []
    try:
        if "inference" in args.suites:
            rows += inference.run(args.out, _say, quick=args.quick)
            rows += batches.run(args.out, _say, quick=args.quick)
            names += [inference.NAME, batches.NAME]
        if "loop" in args.suites:
            from qpolicy_ros.bench import loop  # noqa: PLC0415  needs rclpy

            rows += loop.run(args.out, _say, quick=args.quick)
            names.append(loop.NAME)
        if "startup" in args.suites:
            rows += startup.run(args.out, _say, quick=args.quick)
            names.append(startup.NAME)
        if "training" in args.suites:
            rows += training.run(args.out, _say, quick=args.quick, cleanrl=args.cleanrl)
            names.append(training.NAME)
        if "returns" in args.suites:
            training.run_returns(args.out, _say, quick=args.quick, cleanrl=args.cleanrl)
            names.append(training.RETURNS)
    except (DisagreementError, NodeError, PeerEnvironmentError, TrainingError) as error:
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
