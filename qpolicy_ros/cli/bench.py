"""Measure inference latency, the ROS 2 loop and the accelerator against their peers."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

Suite = Literal["inference", "loop", "fpga"]


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy bench`."""

    suites: Annotated[tuple[Suite, ...], tyro.conf.Positional] = ("inference", "loop", "fpga")
    """inference: one action from Python, against torch and ONNX Runtime.
    loop: observation to action over ROS 2, against a bare echo node.
    fpga: cores synthesised by Yosys beside the paper's, and what generating and simulating cost."""
    quick: bool = False
    """Few cases and rounds: a look, not a record. Without it `fpga` synthesises for minutes."""
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

    rows: list[dict[str, Any]] = []
    names = []
    try:
        if "inference" in args.suites:
            rows += map(asdict, inference.run(args.out, _say, quick=args.quick))
            names.append(inference.NAME)
        if "loop" in args.suites:
            from qpolicy_ros.bench import loop  # noqa: PLC0415  needs rclpy

            rows += map(asdict, loop.run(args.out, _say, quick=args.quick))
            names.append(loop.NAME)
        if "fpga" in args.suites:
            from qpolicy_fpga import results  # noqa: PLC0415  needs the generator
            from qpolicy_ros.bench import generation  # noqa: PLC0415  needs MuJoCo

            rows += map(asdict, generation.run(args.out, _say, quick=args.quick))
            rows += results.run(args.out, _say, quick=args.quick)
            names += [generation.NAME, results.NAME]
    except (DisagreementError, NodeError) as error:
        print(f"qpolicy bench: error: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps({"rows": rows, "out": str(args.out)}))
    else:
        for name in names:
            print((args.out / f"{name}.md").read_text(encoding="utf-8"))
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
