"""The time that the robot lives in: steady, or what ``/clock`` says with ``use_sim_time``."""

from __future__ import annotations

import time

from rclpy.node import Node


class RobotClock:
    """Gives the time in ns when it is called.

    Args:
        node: whose ``use_sim_time`` counts, as it is now.

    Attributes:
        simulated: whether the time is that of ``/clock``.
    """

    def __init__(self, node: Node) -> None:
        self.simulated = bool(node.get_parameter("use_sim_time").value)
        self._clock = node.get_clock()
        self._told_ns: int | None = None

    def __call__(self) -> int:
        """Return the time, ns."""
        if not self.simulated:
            return time.monotonic_ns()
        if self._told_ns is not None:
            return self._told_ns
        return int(self._clock.now().nanoseconds)

    def tell(self, now_ns: int) -> None:
        """Let this be the simulated time until the next call: of the message that is served."""
        self._told_ns = now_ns
