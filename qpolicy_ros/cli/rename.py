"""Write a policy for a robot whose joints have other names: nothing else of it changes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from qpolicy_ros.cli.arguments import PolicyName
from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.policy import find_policy, load_policy, save_policy
from qpolicy_ros.policy.renaming import joints_of, rename_joints


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy rename`."""

    policy: PolicyName
    """Policy file, or a shipped policy's name."""
    joints: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Joints as OLD=NEW: FL_hip_joint=front_left_hip FR_hip_joint=front_right_hip"""
    out: Path
    """Policy file to write."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Write the renamed policy and return 0.

    Raises:
        PolicyError: no such policy, or a joint that it has not.
        UsageError: a pair is none.
    """
    names: dict[str, str] = {}
    for pair in args.joints:
        old, equals, new = pair.partition("=")
        if not (old and equals and new) or not new.isprintable():
            raise UsageError(f"joint: {pair!r} is no OLD=NEW; give the old and the new name")
        if old in names:
            raise UsageError(f"joint: {old!r} is renamed twice; give it once")
        names[old] = new
    if not names:
        raise UsageError("joint: none is given; give OLD=NEW")
    artifact = rename_joints(load_policy(find_policy(args.policy)), names)
    save_policy(artifact, args.out)
    joints = joints_of(artifact.contract)
    if args.json:
        report = {
            "policy": str(args.out),
            "joints": joints,
            "function_hash": artifact.function_hash,
        }
        print(json.dumps(report))
    else:
        print(f"{args.out}: written; its joints are {', '.join(joints)}")
    return 0
