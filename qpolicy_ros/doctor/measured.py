"""Plants faults in sound contracts and writes down which the doctor names; resumable.

    python -m qpolicy_ros.doctor.measured OUT.jsonl POLICY ROBOT [POLICY ROBOT ...] --faults 100

One line of OUT a policy and a fault, in turn over the policies, so that a part of it is a sample of
all. The same command goes on where it was stopped; qpolicy_ros.doctor.page makes the page of OUT.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.doctor.changes import changes
from qpolicy_ros.doctor.examine import Finding, examine
from qpolicy_ros.doctor.fit import Change, Fit
from qpolicy_ros.policy import PolicyArtifact, find_policy, load_policy
from qpolicy_ros.sim.description import RobotDescription, find_robot
from qpolicy_ros.sim.robot_model import build_model

SOUND = "sound"
# How a planted fault ended.
NAMED, AMONG, MISSED, NOT_SEEN = "named", "among", "missed", "not seen"


def plant(artifact: PolicyArtifact, fit: Fit) -> PolicyArtifact:
    """Return the policy connected by another ``fit``."""
    baseline = replace(artifact.baseline, scale=fit.scale, bias=fit.bias)
    return replace(artifact, contract=fit.contract, baseline=baseline)


def measure(
    out: Path, pairs: list[tuple[str, str]], faults: int, seed: int
) -> list[dict[str, Any]]:
    """Plant ``faults`` in turn over the policies; return all rows, those of earlier calls too.

    First each policy is examined as it is. A fault with which the policy walks on as if it were
    none is written down as not seen.
    """
    rows = read_rows(out)
    done = {(row["policy"], row["number"]) for row in rows}
    subjects = [_Subject(policy, robot, seed) for policy, robot in pairs]
    left = [
        (number, subject)
        for number in range(-1, faults)
        for subject in subjects
        if number < len(subject.order) and (subject.name, number) not in done
    ]
    version = doctor_version()
    with out.open("a", encoding="utf-8") as file:
        for count, (number, subject) in enumerate(left, start=1):
            row = subject.row(number) | {"seed": seed, "doctor": version}
            rows.append(row)
            file.write(json.dumps(row) + "\n")
            file.flush()
            said = f"{row['policy']} {number}: {row['planted']}: {row['outcome']}"
            sys.stderr.write(f"{count} of {len(left)}, {row['seconds']:.1f} s: {said}\n")
    return rows


def read_rows(out: Path) -> list[dict[str, Any]]:
    """Return the rows of a measurement that was begun; a last line cut off by a kill is removed.

    Raises:
        InputError: another line is no row.
    """
    if not out.exists():
        return []
    text = out.read_text("utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_atomically(out, whole.encode())
    return [_row(out, number, line) for number, line in enumerate(whole.splitlines(), start=1)]


def _row(out: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(line)
        row["policy"], row["number"], row["outcome"]
    except (ValueError, TypeError, KeyError) as error:
        wrong = f"line {number} is no row of a measurement"
        raise InputError.at(out, "rows", wrong, "give another file to write to") from error
    return row


def doctor_version() -> str:
    """Return a digest of what examines: rows of one version belong together."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        if file.stem not in ("measured", "page"):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


class _Subject:
    """A policy in whose contract faults are planted.

    Args:
        policy, robot: as the user types them.
        seed: of the order of the faults.
    """

    def __init__(self, policy: str, robot: str, seed: int) -> None:
        self.name = Path(policy).stem
        self.artifact: PolicyArtifact = load_policy(find_policy(policy))
        self.robot: RobotDescription = find_robot(robot)
        contract = self.artifact.contract
        self.model = build_model(self.robot, contract, visual=False).model
        self.original = Fit.of(contract, self.artifact.baseline)
        self.faults = changes(self.original, self.model)
        self.order = np.random.default_rng(seed).permutation(len(self.faults))

    def row(self, number: int) -> dict[str, Any]:
        """Plant the fault of this number, -1 none, and return what the doctor says of it."""
        started = time.process_time()
        change = None if number < 0 else self.faults[int(self.order[number])]
        given = self.original if change is None else change.apply(self.original)
        finding = examine(plant(self.artifact, given), self.robot)
        return {
            "policy": self.name,
            "number": number,
            "planted": SOUND if change is None else change.mend,
            "kind": SOUND if change is None else change.kind,
            "outcome": self._outcome(finding, given),
            "said": finding.change.mend if finding.change else None,
            "why": finding.why,
            "seconds": round(time.process_time() - started, 1),
        }

    def _outcome(self, finding: Finding, given: Fit) -> str:
        def right(change: Change) -> bool:
            return change.apply(given).key == self.original.key

        if finding.sound:
            return NOT_SEEN
        if finding.change is not None and right(finding.change):
            return NAMED
        return AMONG if any(right(change) for change in finding.next_best) else MISSED


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("pairs", nargs="+", metavar="POLICY ROBOT")
    parser.add_argument("--faults", type=int, default=100, help="for each policy (default: 100)")
    parser.add_argument("--seed", type=int, default=1, help="of their order (default: 1)")
    args = parser.parse_args()
    if len(args.pairs) % 2:
        parser.error("every POLICY needs its ROBOT behind it")
    pairs = list(zip(args.pairs[::2], args.pairs[1::2], strict=True))
    try:
        rows = measure(args.out, pairs, args.faults, args.seed)
    except InputError as error:
        parser.error(str(error))
    sys.stdout.write(f"{args.out}: {len(rows)} rows\n")


if __name__ == "__main__":
    main()
