"""Measure inference latency, the ROS 2 loop and the accelerator against their peers."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from qpolicy_ros.bench.report import Row
from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.common.files import make_folder

Suite = Literal[
    "inference", "loop", "startup", "training", "fpga",
    "cortex", "distill", "returns", "algorithms", "soak", "targets",
]  # fmt: skip


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy bench`."""

    suites: Annotated[tuple[Suite, ...], tyro.conf.Positional] = (
        "inference",
        "loop",
        "startup",
        "training",
        "fpga",
    )
    """inference: one action from Python, against torch, ONNX Runtime and C.
    loop: observation to action over ROS 2, against echoes in C and Python (7 minutes).
    startup: import, and process start to active node.
    training: steps a second against Stable-Baselines3 and sbx.
    fpga: cores synthesised by Yosys beside the paper's, and what generating and simulating cost.
    cortex: instructions of the C header on simulated microcontrollers, beside a float MLP.
    distill: CPU time of a 3-bit student, and what it reaches (some minutes).
    returns: what short training runs of all of them reach (half an hour).
    algorithms: what each option of RL reaches after equal CPU time (15 runs of MINUTES a seed).
    soak: a node's memory over many ticks, with its backend swapped under them.
    targets: every target beside the rows that are in OUT, and the tables of docs/results.md from
    them where OUT is docs/benchmarks; measures nothing, and is part of every run."""
    quick: bool = False
    """Few cases and rounds: a look, not a record. Without it `fpga` synthesises for minutes."""
    out: Path = Path("docs/benchmarks")
    """Folder for the JSON rows, the tables and the plots."""
    ticks: int = 100_000
    """Observations of the soak."""
    steps: int = 25_000
    """Environment steps of each run of the returns."""
    minutes: float = 10.0
    """CPU time of each run of the algorithms, minutes; Ant gets twice that."""
    seeds: tuple[int, ...] = (1, 2, 3)
    """Training seeds of the algorithms; rows of other seeds that OUT has stay."""
    cleanrl: Path | None = None
    """A checkout of CleanRL, to time its SAC beside the others."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Run the suites; 1 if a subject does not compute what it is timed for, or failed."""
    _check(args)
    make_folder(args.out)
    # BLAS reads this when it is loaded: one thread for everyone.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    from qpolicy_ros.bench.environments import PeerEnvironmentError  # noqa: PLC0415  after that
    from qpolicy_ros.bench.measure import DisagreementError  # noqa: PLC0415
    from qpolicy_ros.bench.targets import NAME, write_targets  # noqa: PLC0415
    from qpolicy_ros.bench.training import TrainingError  # noqa: PLC0415
    from qpolicy_ros.common.errors import NodeError  # noqa: PLC0415

    rows: list[dict[str, Any]] = []
    names: list[str] = []
    try:
        for suite in args.suites:
            for name, found in _run(suite, args):
                names.append(name)
                rows += found
        write_targets(args.out)
    except (DisagreementError, NodeError, PeerEnvironmentError, TrainingError) as error:
        print(f"qpolicy bench: error: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps({"rows": rows, "out": str(args.out)}))
    else:
        for name in names or [NAME]:
            print((args.out / f"{name}.md").read_text(encoding="utf-8"))
    return 0


def _check(args: Args) -> None:
    for option, value in (("--ticks", args.ticks), ("--steps", args.steps)):
        if value < 1:
            raise UsageError(f"{option}: {value} is too small; give 1 or more")
    if not 0 < args.minutes < math.inf:
        raise UsageError(f"--minutes: {args.minutes} is no time; give CPU minutes above 0")
    if not args.seeds or min(args.seeds) < 0 or len(set(args.seeds)) < len(args.seeds):
        given = " ".join(map(str, args.seeds)) or "none"
        raise UsageError(f"--seeds: {given}; give different ones, each 0 or more")


def _run(suite: Suite, args: Args) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the pages of a suite, by name, with their rows; what a suite needs is imported here."""
    out, quick = args.out, args.quick
    if suite == "inference":
        from qpolicy_ros.bench import batches, inference  # noqa: PLC0415

        yield inference.NAME, _dicts(inference.run(out, _say, quick=quick))
        yield batches.NAME, _dicts(batches.run(out, _say, quick=quick))
    elif suite == "loop":
        from qpolicy_ros.bench import loop  # noqa: PLC0415

        yield loop.NAME, _dicts(loop.run(out, _say, quick=quick))
    elif suite == "soak":
        from qpolicy_ros.bench import soak  # noqa: PLC0415

        soak.run(out, _say, args.ticks)
        yield soak.NAME, []
    elif suite == "cortex":
        from qpolicy_ros.bench.cortex_m import instructions  # noqa: PLC0415

        if rows := instructions.run(out, _say, quick=quick):
            yield instructions.NAME, rows
    elif suite == "startup":
        from qpolicy_ros.bench import startup  # noqa: PLC0415

        yield startup.NAME, _dicts(startup.run(out, _say, quick=quick))
    elif suite == "fpga":
        from qpolicy_ros.bench import fpga_cores, generation  # noqa: PLC0415
        from qpolicy_ros.bench.report import conditions, describe  # noqa: PLC0415

        yield generation.NAME, generation.run(out, _say, quick=quick)
        facts = conditions(threads=1)
        cores = fpga_cores.run(out, _say, facts, describe(facts), quick=quick)
        yield fpga_cores.NAME, [row.as_json() for row in cores]
    elif suite != "targets":
        yield from _trained(suite, args)


def _trained(suite: Suite, args: Args) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """As ``_run``, for what trains."""
    from qpolicy_ros.bench import algorithms, distillation, training  # noqa: PLC0415

    if suite == "distill":
        yield distillation.NAME, distillation.run(args.out, _say)
    elif suite == "algorithms":
        yield algorithms.NAME, algorithms.run(args.out, _say, args.minutes, seeds=args.seeds)
    elif suite == "training":
        rows = training.run(args.out, _say, quick=args.quick, cleanrl=args.cleanrl)
        yield training.NAME, _dicts(rows)
    else:
        training.run_returns(args.out, _say, args.steps, cleanrl=args.cleanrl)
        yield training.RETURNS, []


def _dicts(rows: list[Row]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
