"""Who else commands the robot: what comes in on ``action_stamped`` beside this node's own."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # rclpy: what decides runs without it
    from rclpy.node import Node

_LISTENED_NS = 1_000_000_000  # of a policy node's commands: long enough for every control rate
_PROCESS = "@"  # between a policy node's name and its process


def sender_name(node: Node) -> str:
    """Return what a policy node's commands carry in ``header.frame_id``: name, host, process.

    Two nodes may have one name: one that was left over from an earlier start, for example.
    """
    return f"{node.get_fully_qualified_name()}{_PROCESS}{platform.node()}:{os.getpid()}"


def policy_node(sender: str) -> str:
    """Return the full name of the policy node in a ``sender_name``; empty for any other sender."""
    name, found, _ = sender.partition(_PROCESS)
    return name if found else ""


class Commanders:
    """Remembers whose commands came last.

    Args:
        own: ``sender_name`` of this node.
        now: the robot's time, ns.

    Attributes:
        own: as given.
    """

    def __init__(self, own: str, now: Callable[[], int]) -> None:
        self.own = own
        self._now = now
        self._last: tuple[str, int] | None = None

    def hear(self, message: Any) -> str:
        """Take a command; return who else sent it, empty where it is this node's own."""
        sender: str = message.header.frame_id
        if sender == self.own:
            return ""
        if not is_watchdog(sender):
            self._last = (sender, self._now())
        return sender or "somebody without a name"

    def conflict(self) -> str:
        """Say who commands this robot at the moment, the watchdog aside; empty if nobody does."""
        if self._last is None or self._now() - self._last[1] > _LISTENED_NS:
            return ""
        return self.text(self._last[0] or "somebody without a name")

    def text(self, other: str) -> str:
        """Say that ``other`` commands too, naming both."""
        return f"{other!r} commands this robot too; this is {self.own!r}: stop one of them"


def is_watchdog(sender: str) -> bool:
    """Whether a command's sender is no policy node but a watchdog, which steps back by itself."""
    return bool(sender) and not policy_node(sender)
