"""A recorder beside the nodes of a run, which says whom it has found."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

from qpolicy_ros.common.errors import NodeError
from qpolicy_ros.harness.processes import Child
from qpolicy_ros.nodes.bag_recorder import HEARS, RECEIVES, RECORDING, TOPICS

_PATIENCE = 120.0  # s for the recorder's start on a busy machine
_POLL = 0.05  # s
_FIRST = -10  # niceness of the recorder where that is allowed: who is late loses messages


class Recorder:
    """A ``bag_recorder`` in a process of its own, subscribed when this returns.

    Args:
        bag: folder to write, must not exist.
        log: file for the node's log.

    Raises:
        NodeError: it does not start.
    """

    topics = tuple(TOPICS)

    def __init__(self, bag: Path, log: Path) -> None:
        self._child = Child.node("bag_recorder", {"output": str(bag.absolute())}, log)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._child.pid, _FIRST)
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def hears(self, topic: str) -> bool:
        """Whether the recorder has found a publisher of ``topic``."""
        return self._has_said(HEARS, topic)

    def receives(self, topic: str) -> bool:
        """Whether a message of ``topic`` has come: its publisher has found the recorder too."""
        return self._has_said(RECEIVES, topic)

    def check_alive(self) -> None:
        """NodeError if the recorder has ended."""
        self._child.check_alive()

    def close(self) -> None:
        """Let the recorder finish the bag."""
        self._child.close()

    def _wait(self) -> None:
        end = time.monotonic() + _PATIENCE
        while RECORDING not in self._said():
            self.check_alive()
            if time.monotonic() > end:
                raise NodeError(f"bag_recorder does not start (log: {self._child.log})")
            time.sleep(_POLL)

    def _has_said(self, what: str, topic: str) -> bool:
        return re.search(rf"{what} {re.escape(topic)}$", self._said(), re.MULTILINE) is not None

    def _said(self) -> str:
        return self._child.log.read_text(encoding="utf-8", errors="replace")
