"""Prove or refute what a policy can never do, for every observation of a box.

A property is a YAML file: a box of observations and a claim (docs/proofs.md). The verdict is
proved (by two independent ways), refuted (with an observation that every engine was asked), or
open (with what was reached in the time).
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qpolicy_ros.cli.arguments import PolicyName
from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.policy import PolicyArtifact, find_policy, load_policy
from qpolicy_ros.prove.property import Property
from qpolicy_ros.prove.run import Prover, Result

_LONGEST, _MOST = 1e6, 10**12


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy prove`."""

    policy: PolicyName
    """Policy file, or a shipped policy's name: `hopper` (its `paper` one) or `hopper/selected`."""
    property: Path
    """The property's YAML file."""
    time: float = 60.0
    """Processor time for proofs and their checks, s; on a quiet machine that of the clock."""
    random: int = 0
    """Random observations, too, that each question of an unrefuted claim is asked of, through the
    vectorised engine; about a million a second for a small policy."""
    lanes: int = 0
    """The same through the generated core, 512 copies simulated at once (10^9 is the full count:
    25 minutes for hopper, many hours for halfcheetah)."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Decide, print the verdict; 0 if it is proved, 1 if it is refuted or open.

    Raises:
        PolicyError, UsageError: a wrong argument, policy or property.
    """
    if not 0 < args.time <= _LONGEST:
        raise UsageError(f"--time: {args.time}; give seconds, more than 0, at most {_LONGEST:g}")
    for name in ("random", "lanes"):
        if not 0 <= getattr(args, name) <= _MOST:
            raise UsageError(f"--{name}: {getattr(args, name)}; give 0 to {_MOST}")
    from qpolicy_ros.prove.property import read_property  # noqa: PLC0415  `--help` is quick
    from qpolicy_ros.prove.run import Prover  # noqa: PLC0415  as above

    artifact = load_policy(find_policy(args.policy))
    wanted = read_property(args.property, artifact)
    started = time.monotonic()
    prover = Prover(artifact, wanted, args.time, _say)
    result = prover.run()
    _many(args, prover, result)
    row = as_json(artifact, wanted, result)
    row["wall_seconds"] = round(time.monotonic() - started, 3)
    print(json.dumps(row) if args.json else report(row))
    return 0 if result.verdict == "proved" else 1


def as_json(artifact: PolicyArtifact, wanted: Property, result: Result) -> dict[str, Any]:
    """What `--json` prints; `seconds` are processor time."""
    return {
        "verdict": result.verdict,
        "seconds": round(result.seconds, 3),
        "counterexample": result.counterexample,
        "property": wanted.name,
        "claim": wanted.kind,
        "reached": result.reached,
        "statements": result.statements,
        "policy": artifact.path,
        "function_hash": artifact.function_hash,
    }


def report(row: dict[str, Any]) -> str:
    """The verdict for a human reader."""
    lines = [f"{row['property']}: {row['verdict']} ({row['seconds']:.2f} s)"]
    for name, value in row["reached"].items():
        lines.append(f"  {name}: {json.dumps(value)}")
    found = row["counterexample"]
    if found:
        for key, value in found.items():
            shown = value if key == "engines" else [float(f"{number:.6g}") for number in value]
            lines.append(f"  {key.replace('_', ' ')}: {', '.join(map(str, shown))}")
    return "\n".join(lines)


def _many(args: Args, prover: Prover, result: Result) -> None:
    """Random observations in bulk, where they are asked for; they can only refute."""
    from qpolicy_ros.prove.bulk import random_refuter  # noqa: PLC0415  rarely asked for

    for count, lanes in ((args.random, False), (args.lanes, True)):
        if not count or result.verdict == "refuted":
            continue
        found = random_refuter(
            prover.questions(), prover.box, prover.artifact, count, lanes=lanes, say=_say
        )
        where = "the simulated core" if lanes else "the engine"
        if found is not None and result.verdict == "proved":
            raise AssertionError(f"{where} refutes what was proved: please report this")
        if found is not None:
            result.verdict, result.counterexample = "refuted", found
        result.reached[f"random observations through {where}"] = count


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
