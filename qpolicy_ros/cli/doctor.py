"""Does a policy's contract fit its robot? If not, which single change mends it?

Plays the policy's FP32 network in simulation. Where it falls or does not go where it is told, one
change after another is tried: joint orders (the model's, alphabetical, by leg, by kind, by depth,
left and right swapped), signs, scales, degrees, offsets, history and quaternion orders. Exit
status 1 where the policy is not sound.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass

from qpolicy_ros.cli.arguments import PolicyName
from qpolicy_ros.doctor.examine import Finding, examine
from qpolicy_ros.policy import find_policy, load_policy


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy doctor`."""

    policy: PolicyName
    """Shipped policy (go2) or a .safetensors file, of a robot's contract."""
    robot: str
    """Robot: a name of config/robots, a description (.yaml) or an MJCF file (.xml)."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Examine a policy; 0 if it is sound, 1 if it is not."""

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    artifact = load_policy(find_policy(args.policy))
    finding = examine(artifact, args.robot, say)
    if args.json:
        print(json.dumps(_report(args, finding)))
    else:
        print("\n".join(_text(finding)))
    return 0 if finding.sound else 1


def _report(args: Args, finding: Finding) -> dict[str, object]:
    change = finding.change
    return {
        "policy": args.policy,
        "robot": args.robot,
        "sound": finding.sound,
        "fault": change.fault if change else (None if finding.sound else finding.why),
        "mend": change.mend if change else None,
        "kind": change.kind if change else None,
        "why": finding.why,
        "tried": finding.tried,
        "next_best": [change.fault for change in finding.next_best],
        "before": [asdict(trial) for trial in finding.before],
        "after": [asdict(trial) for trial in finding.after],
    }


def _text(finding: Finding) -> list[str]:
    if finding.sound:
        return ["sound: it stays up and goes where it is told", *_walks(finding)]
    change = finding.change
    if change is None:
        return [
            f"not sound: {finding.why}; none of {finding.tried} single changes mends it",
            "  look for two faults at once, or for one of the model: gains, armature, time step",
        ]
    return [
        f"not sound: {finding.why}",
        f"  fault  {change.fault}",
        f"  mend   {change.mend}",
        f"  by     {finding.tried} changes played; with this one:",
        *_walks(finding),
    ]


def _walks(finding: Finding) -> list[str]:
    lines = []
    for trial in finding.after:
        told = " / ".join(f"{value:g}" for value in trial.command)
        made = " / ".join(f"{value:.2f}" for value in trial.velocity)
        lines.append(f"  told {told:<14} moved {made} (m/s, m/s, rad/s)")
    return lines
