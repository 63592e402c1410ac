"""The callbacks that the hot path may serve."""

from __future__ import annotations

from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup


class HotGroup(ReentrantCallbackGroup):
    """Subscriptions and timers that ``HotExecutor`` serves; any other executor does too.

    Their callbacks neither create nor destroy entities of a node, and keep no message: the next
    one is taken into the same memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.served: set[object] = set()

    def can_execute(self, entity: Any) -> Any:
        """Whether rclpy's executor shall serve ``entity``."""
        return entity not in self.served
