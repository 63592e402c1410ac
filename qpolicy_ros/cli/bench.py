"""Measure inference latency and the ROS 2 loop against their peers, interleaved in one run."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpolicy_ros.bench.report import Row

Suite = Literal["inference", "loop", "startup", "training", "returns", "soak"]


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
    returns: what short training runs of all of them reach (half an hour).
    soak: a node's memory over many ticks."""
    quick: bool = False
    """Few cases and rounds: a look, not a record."""
    out: Path = Path("docs/benchmarks")
    """Folder for the JSON rows, the tables and the plots."""
    ticks: int = 100_000
    """Observations of the soak."""
    steps: int = 25_000
    """Environment steps of each run of the returns."""
    cleanrl: Path | None = None
    """A checkout of CleanRL, to time its SAC beside the others."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Run the suites; 1 if a subject does not compute what it is timed for, or failed."""
    # BLAS reads this when it is loaded: one thread for everyone.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    from qpolicy_ros.bench.environments import PeerEnvironmentError  # noqa: PLC0415  after that
    from qpolicy_ros.bench.measure import DisagreementError  # noqa: PLC0415
    from qpolicy_ros.bench.training import TrainingError  # noqa: PLC0415
    from qpolicy_ros.demo.processes import NodeError  # noqa: PLC0415

    rows: list[Row] = []
    pages: list[str] = []
    try:
        for suite, run in _SUITES.items():
            if suite in args.suites:
                rows += run(args, pages)
    except (DisagreementError, NodeError, PeerEnvironmentError, TrainingError) as error:
        print(f"qpolicy bench: error: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "out": str(args.out)}))
    else:
        for name in pages:
            print((args.out / f"{name}.md").read_text(encoding="utf-8"))
    return 0


def _inference(args: Args, pages: list[str]) -> list[Row]:
    from qpolicy_ros.bench import batches, inference  # noqa: PLC0415  after the number of threads

    pages += [inference.NAME, batches.NAME]
    rows = inference.run(args.out, _say, quick=args.quick)
    return rows + batches.run(args.out, _say, quick=args.quick)


def _loop(args: Args, pages: list[str]) -> list[Row]:
    from qpolicy_ros.bench import loop  # noqa: PLC0415  needs rclpy

    pages.append(loop.NAME)
    return loop.run(args.out, _say, quick=args.quick)


def _startup(args: Args, pages: list[str]) -> list[Row]:
    from qpolicy_ros.bench import startup  # noqa: PLC0415  needs rclpy

    pages.append(startup.NAME)
    return startup.run(args.out, _say, quick=args.quick)


def _training(args: Args, pages: list[str]) -> list[Row]:
    from qpolicy_ros.bench import training  # noqa: PLC0415  after the number of threads

    pages.append(training.NAME)
    return training.run(args.out, _say, quick=args.quick, cleanrl=args.cleanrl)


def _returns(args: Args, pages: list[str]) -> list[Row]:
    from qpolicy_ros.bench import training  # noqa: PLC0415  after the number of threads

    pages.append(training.RETURNS)
    training.run_returns(args.out, _say, args.steps, cleanrl=args.cleanrl)
    return []


def _soak(args: Args, pages: list[str]) -> list[Row]:
    from qpolicy_ros.bench import loop  # noqa: PLC0415  needs rclpy

    pages.append(loop.SOAK)
    loop.soak(args.out, _say, args.ticks)
    return []


_SUITES: dict[Suite, Callable[[Args, list[str]], list[Row]]] = {
    "inference": _inference,
    "loop": _loop,
    "startup": _startup,
    "training": _training,
    "returns": _returns,
    "soak": _soak,
}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
