"""Fuzz targets of what `qpolicy prove` and the supervisor read: properties, and codes seen."""

from __future__ import annotations

import contextlib
import functools
import json
from pathlib import Path

from policy_builders import random_artifact

from qpolicy_ros.policy import PolicyArtifact
from qpolicy_ros.policy.seen import load_seen
from qpolicy_ros.prove.property import read_property


@functools.cache
def artifact() -> PolicyArtifact:
    return random_artifact(0, 2, (2,), 2)


def property_seeds() -> list[bytes]:
    """One property of each kind."""
    box = "box: {value_0: [0, .inf], 1: [-1, 1.5]}\n"
    claims = (
        "{action: motor_0, low: -1, high: 0.5}",
        "{never: negative}",
        "{range: true}",
        "{robust: 0.1, radius: largest, count: 2}",
        "{change: 0.1, within: {value_1: 2}}",
        "{monotone: rising, in: 0}",
        "{symmetric: odd, in: {0: -value_1}, as: 1}",
    )
    return [f"{box}claim: {claim}\n".encode() for claim in claims]


def read_claim(path: Path) -> None:
    """Read a property of a small policy."""
    read_property(path, artifact())


def seen_seeds() -> list[bytes]:
    """What `qpolicy seen` writes."""
    content = {
        "function_hash": artifact().function_hash,
        "observations": 3,
        "source": "10 episodes",
        "codes": {"value_0": [-1, 3], "value_1": [0, 0]},
    }
    return [json.dumps(content).encode()]


def read_seen(path: Path) -> None:
    """Read the codes seen, as those of the policy whatever hash they name."""
    with contextlib.suppress(ValueError, RecursionError):
        content = json.loads(path.read_bytes())
        if isinstance(content, dict):
            content["function_hash"] = artifact().function_hash
            path.write_text(json.dumps(content), encoding="utf-8")
    load_seen(path, artifact())
