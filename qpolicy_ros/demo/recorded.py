"""The demo's recording: made by the project's own recorder, then computed again."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.harness.recorder import Recorder
from qpolicy_ros.policy import PolicyArtifact
from qpolicy_ros.replay.compare import compare
from qpolicy_ros.replay.run import replay


@contextlib.contextmanager
def recording(bag: Path, log: Path) -> Iterator[Recorder]:
    """Record what the nodes send meanwhile into ``bag``; an earlier demo's bag there goes.

    Raises:
        NodeError: the recorder does not start, or fails.
        InputError: something else than a bag has its name.
    """
    if bag.exists():
        if not (bag / "metadata.yaml").is_file():
            raise InputError.at(bag, "--out", "is no recording", "give another folder to --out")
        shutil.rmtree(bag)
    with contextlib.closing(Recorder(bag, log)) as recorder:
        yield recorder
        recorder.check_alive()


def replayed(label: str, artifact: PolicyArtifact, bag: Path) -> dict[str, Any]:
    """Compute every command of ``bag`` again; the report's row of it.

    On a machine with too much to do the recorder loses messages. They are counted as ``lost`` and
    make nothing unequal: the robot had them.
    """
    found = replay(bag, [artifact])
    every = compare(found.replay, found.differing).differences
    wrong = [each.text for each in every if not each.missing]
    return {
        "policy": label,
        "bag": str(bag),
        "ticks": found.ticks,
        "reproduced": found.reproduced,
        "lost": len(every) - len(wrong),
        "equal": not wrong,
        "first_difference": wrong[0] if wrong else None,
    }
