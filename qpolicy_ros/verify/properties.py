"""Part 7, where properties are given: what the policy can never do, for all inputs of a box."""

from __future__ import annotations

import hashlib
from pathlib import Path

from qpolicy_ros.policy import PolicyArtifact
from qpolicy_ros.prove.property import Property, read_property
from qpolicy_ros.prove.run import PROVED, Prover
from qpolicy_ros.verify.journal import Journal
from qpolicy_ros.verify.result import Check, Section

SECONDS = 60.0  # of processor time, each
_MOST_TEXT = 1500


def read_properties(paths: tuple[Path, ...], artifact: PolicyArtifact) -> list[Property]:
    """Read them before anything long begins; a folder stands for the ``.yaml`` files in it.

    Raises:
        InputError: one of them is no property of this policy.
    """
    files: list[Path] = []
    for path in paths:
        files += sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    return [read_property(file, artifact) for file in files]


def check_properties(
    artifact: PolicyArtifact, properties: list[Property], journal: Journal
) -> Section:
    """Decide each; what is refuted or open fails.

    A check names the property and its file's SHA-256, so that nobody proves one and shows another.
    """
    checks = []
    for wanted in properties:
        journal.say(f"property {wanted.name}")
        result = Prover(artifact, wanted, SECONDS).run()
        digest = hashlib.sha256(Path(wanted.file).read_bytes()).hexdigest()
        claims = "; ".join(dict.fromkeys(row["claim"] for row in result.statements))
        wrong = sum(row["answer"] != PROVED for row in result.statements)
        wrong = max(wrong, int(result.verdict != PROVED))
        detail = f"{result.verdict}: {claims}"[:_MOST_TEXT]
        name = f"{wanted.name} ({digest[:12]})"
        checks.append(Check(name, max(len(result.statements), 1), wrong, detail))
    uncovered = ("what the actions do to the robot: a property is of the policy alone",)
    return Section("properties", tuple(checks), uncovered)
