"""Plants faults in sound contracts and counts how many the doctor names: a table, resumable.

    python -m qpolicy_ros.doctor.measured OUT.jsonl POLICY ROBOT [POLICY ROBOT ...] --faults 100

One line of OUT a policy and a fault. The same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.doctor.changes import changes
from qpolicy_ros.doctor.examine import examine
from qpolicy_ros.doctor.fit import Fit
from qpolicy_ros.policy import PolicyArtifact, find_policy, load_policy
from qpolicy_ros.sim.description import find_robot
from qpolicy_ros.sim.robot_model import build_model

_SOUND = "sound"


def plant(artifact: PolicyArtifact, fit: Fit) -> PolicyArtifact:
    """Return the policy connected by another ``fit``."""
    baseline = replace(artifact.baseline, scale=fit.scale, bias=fit.bias)
    return replace(artifact, contract=fit.contract, baseline=baseline)


def measure(
    out: Path, pairs: list[tuple[str, str]], faults: int, seed: int
) -> list[dict[str, Any]]:
    """Plant ``faults`` in turn over the policies; return all rows, those of earlier calls too.

    First each policy is examined as it is. A fault with which the policy walks on as if it were
    none is written down as not seen, and does not count.
    """
    lines = out.read_text("utf-8").splitlines() if out.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {(row["policy"], row["number"]) for row in rows}
    subjects = []
    for policy, robot in pairs:
        artifact, described = load_policy(find_policy(policy)), find_robot(robot)
        model = build_model(described, artifact.contract, visual=False).model
        original = Fit.of(artifact.contract, artifact.baseline)
        possible = changes(original, model)
        order = np.random.default_rng(seed).permutation(len(possible))
        subjects.append((Path(policy).stem, artifact, described, original, possible, order))
    with out.open("a", encoding="utf-8") as file:
        for number in range(-1, faults):
            for name, artifact, described, original, possible, order in subjects:
                if (name, number) in done or number >= len(order):
                    continue
                started = time.process_time()
                change = None if number < 0 else possible[int(order[number])]
                planted = artifact if change is None else plant(artifact, change.apply(original))
                finding = examine(planted, described)
                row = {
                    "policy": name,
                    "number": number,
                    "planted": _SOUND if change is None else change.mend,
                    "kind": _SOUND if change is None else change.kind,
                    "seen": not finding.sound,
                    "named": finding.change is not None and finding.fit.key == original.key,
                    "said": finding.change.mend if finding.change else None,
                    "why": finding.why,
                    "seconds": round(time.process_time() - started, 1),
                }
                rows.append(row)
                file.write(json.dumps(row) + "\n")
                file.flush()
                sys.stderr.write(json.dumps(row) + "\n")
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table, one line a policy and one in all."""
    lines = [
        "| policy | false alarms as it is | faults planted | not seen | seen | named exactly |",
        "|---|---|---|---|---|---|",
    ]
    names = list(dict.fromkeys(row["policy"] for row in rows))
    for name in [*names, None]:
        mine = [row for row in rows if name in (None, row["policy"])]
        sound = [row for row in mine if row["kind"] == _SOUND]
        planted = [row for row in mine if row["kind"] != _SOUND]
        seen = [row for row in planted if row["seen"]]
        named = sum(row["named"] for row in seen)
        share = f"{named} ({named / len(seen):.0%})" if seen else "none"
        alarms = f"{sum(row['seen'] for row in sound)} of {len(sound)}"
        label = name or "**all**"
        lines.append(
            f"| {label} | {alarms} | {len(planted)} | {len(planted) - len(seen)} | {len(seen)} "
            f"| {share} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the measurement and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("pairs", nargs="+", metavar="POLICY ROBOT")
    parser.add_argument("--faults", type=int, default=100, help="for each policy (default: 100)")
    parser.add_argument("--seed", type=int, default=1, help="of their order (default: 1)")
    args = parser.parse_args()
    pairs = list(zip(args.pairs[::2], args.pairs[1::2], strict=True))
    sys.stdout.write(table(measure(args.out, pairs, args.faults, args.seed)) + "\n")


if __name__ == "__main__":
    main()
