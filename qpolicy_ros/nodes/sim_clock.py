"""Time in a simulation: one ``/clock`` in a graph, and whether it keeps up with the wall's."""

from __future__ import annotations

import time

from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.node import Node
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock as ClockMessage

from qpolicy_ros.nodes import qos

CLOCK = "/clock"

_WINDOW = 2.0  # s of wall time over which the pace is measured
_SILENCE = 10.0  # s between two warnings
_SLOW = 0.95  # of real time


class SharedClock:
    """Publishes ``/clock``, unless another simulator of the graph does: time must be one.

    Of several simulators the one whose name comes first in the alphabet keeps the clock.

    Args:
        node: that publishes.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._own = node.get_fully_qualified_name()
        self._others: list[str] = []
        self._publisher: Publisher | None = self._create()
        node.create_timer(1.0, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def publish(self, stamp: Time) -> None:
        """Publish the time, if it is this simulator's to say."""
        if self._publisher is not None:
            self._publisher.publish(ClockMessage(clock=stamp))

    def _create(self) -> Publisher:
        publisher: Publisher = self._node.create_publisher(ClockMessage, CLOCK, qos.FIGURES)
        return publisher

    def _look(self) -> None:
        names = [
            f"{info.node_namespace.rstrip('/')}/{info.node_name}"
            for info in self._node.get_publishers_info_by_topic(CLOCK)
        ]
        others = sorted(set(names) - {self._own})
        twice = names.count(self._own) > 1
        if twice and self._own not in self._others:
            text = f"{CLOCK}: two nodes named {self._own} publish it; start one in a namespace"
            self._node.get_logger().error(text)
        if others and others != self._others:
            mine = min(others) > self._own
            keeps = self._own if mine else min(others)
            text = f"{CLOCK}: {', '.join(others)} publishes it too; {keeps} goes on"
            self._node.get_logger().warning(text)
        self._others = [*others, *([self._own] if twice else [])]
        if self._publisher is not None and others and min(others) < self._own:
            self._node.destroy_publisher(self._publisher)
            self._publisher = None
        elif self._publisher is None and not others:
            self._publisher = self._create()
            self._node.get_logger().info(f"{CLOCK}: published from here again")


class Pace:
    """Whether real time is kept.

    Args:
        node: whose log says where it is not.
        period: s of simulated time a step.
    """

    def __init__(self, node: Node, period: float) -> None:
        self._node, self._period = node, period
        self._steps, self._since = 0, time.monotonic()
        self._busy = 0.0  # s of wall time spent in steps
        self._said = -_SILENCE

    def stepped(self, took: float) -> None:
        """Count a step that took ``took`` s of wall time."""
        self._steps += 1
        self._busy += took
        now = time.monotonic()
        elapsed = now - self._since
        if elapsed < _WINDOW:
            return
        factor = self._steps * self._period / elapsed
        if factor < _SLOW and now - self._said >= _SILENCE:
            self._said = now
            mean = self._busy / self._steps
            self._node.get_logger().warning(
                f"slower than real time: {factor:.2f} of it; a step of {self._period * 1e3:g} ms "
                f"takes {mean * 1e3:.3g} ms here"
            )
        self.pause()

    def pause(self) -> None:
        """Count from now on anew."""
        self._steps, self._busy, self._since = 0, 0.0, time.monotonic()
