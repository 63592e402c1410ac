"""A verdict in words, and as JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from qpolicy_ros.common.errors import printable
from qpolicy_ros.replay.compare import Difference, Verdict
from qpolicy_ros.replay.replayed import Kind

_LISTED = 10


def figures(verdict: Verdict) -> dict[str, Any]:
    """Return the object of ``--json``."""
    replay = verdict.replay
    kinds = Counter(replay.kind.tolist())
    policies = [replay.policies[i] for i in np.unique(replay.policy[replay.policy >= 0])]
    return {
        "bag": str(replay.recording.bag.path),
        "namespace": replay.recording.home,
        "ticks": verdict.ticks,
        "reproduced": verdict.reproduced,
        "equal": verdict.equal,
        "first_difference": _object(verdict.first),
        "differing_ticks": verdict.differing,
        "differences": [_object(each) for each in verdict.differences],
        "commands": {kind.name.lower(): kinds[kind] for kind in Kind},
        "backends": dict(Counter(replay.backend[replay.acted].tolist())),
        "swaps": int((replay.backend[replay.acted][1:] != replay.backend[replay.acted][:-1]).sum()),
        "restarts": int(replay.begins.sum()),
        "repeated": replay.ticks.repeated,
        "engine": replay.settings.engine,
        "function_hash": [each.function_hash for each in policies],
        "notes": replay.notes,
    }


def _object(difference: Difference | None) -> dict[str, Any] | None:
    if difference is None:
        return None
    return {"tick": difference.tick, "class": difference.kind, "text": difference.text}


def render(verdict: Verdict) -> str:
    """Return what the command prints."""
    found = figures(verdict)
    commands = ", ".join(f"{n:,} {name}" for name, n in found["commands"].items() if n)
    lines = [
        f"{found['ticks']:,} commands ({commands}): {found['reproduced']:,} reproduced bit for bit",
        f"{found['swaps']} swaps, {found['restarts']} restarts, {found['repeated']} sent again",
        f"answered by {', '.join(found['backends']) or 'nobody'}, computed by {found['engine']}",
    ]
    if verdict.equal:
        lines.append("equal: the robot ran this policy on these inputs, at every tick")
    else:
        lines.append(f"differs at {verdict.differing:,} ticks; the first:")
        lines += [f"  {describe(verdict, each)}" for each in verdict.differences[:_LISTED]]
    lines += [f"note: {note}" for note in found["notes"]]
    return "\n".join(map(printable, lines))  # a bag says what its backends are called


def describe(verdict: Verdict, difference: Difference) -> str:
    """Return one difference with its time since the beginning."""
    times = verdict.replay.times
    seconds = (int(times[difference.tick]) - int(times[0])) / 1e9
    return f"tick {difference.tick} ({seconds:+.3f} s): {difference.kind}: {difference.text}"
