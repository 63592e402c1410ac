"""The demo's recording: made by the project's own recorder, then computed again."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qpolicy_ros.common.errors import InputError, NodeError
from qpolicy_ros.harness.processes import Child
from qpolicy_ros.policy import PolicyArtifact
from qpolicy_ros.replay.compare import compare
from qpolicy_ros.replay.run import replay

_PATIENCE = 120.0  # s for the recorder's start on a busy machine
_POLL = 0.05  # s
_LOST = "a message is missing"  # how a replay says it
_FIRST = -10  # niceness of the recorder where that is allowed: who is late loses messages
_BEGINNING = 300_000  # bytes, a second of all topics: the recorder has found both nodes
_RECORDING = "recording to"  # what the recorder says when it has subscribed


@contextlib.contextmanager
def recording(bag: Path, log: Path) -> Iterator[None]:
    """Record what the nodes send meanwhile into ``bag``; an earlier demo's bag there goes.

    Raises:
        NodeError: the recorder does not start, or fails.
        InputError: something else than a bag has its name.
    """
    if bag.exists():
        if not (bag / "metadata.yaml").is_file():
            raise InputError.at(bag, "--out", "is no recording", "give another folder to --out")
        shutil.rmtree(bag)
    with contextlib.closing(Child.node("bag_recorder", {"output": str(bag)}, log)) as child:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, child.pid, _FIRST)
        end = time.monotonic() + _PATIENCE
        while _RECORDING not in log.read_text(encoding="utf-8", errors="replace"):
            child.check_alive()
            if time.monotonic() > end:
                raise NodeError(f"bag_recorder does not start (log: {log})")
            time.sleep(_POLL)
        yield
        child.check_alive()


def has_messages(bag: Path) -> bool:
    """Whether a recorder has written enough to have found every topic."""
    return sum(file.stat().st_size for file in bag.glob("*.mcap")) > _BEGINNING


def replayed(label: str, artifact: PolicyArtifact, bag: Path) -> dict[str, Any]:
    """Compute every command of ``bag`` again; the report's row of it.

    On a machine with too much to do the recorder loses messages. They are counted as ``lost`` and
    make nothing unequal: the robot had them.
    """
    found = replay(bag, [artifact])
    every = compare(found.replay, found.differing).differences
    wrong = [each.text for each in every if not each.text.startswith(_LOST)]
    return {
        "policy": label,
        "bag": str(bag),
        "ticks": found.ticks,
        "reproduced": found.reproduced,
        "lost": len(every) - len(wrong),
        "equal": not wrong,
        "first_difference": wrong[0] if wrong else None,
    }
