"""Messages to publish, in C where that is there, else rclpy's: the same attributes in both."""

from __future__ import annotations

from array import array
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile

from qpolicy_ros.nodes.rcl.library import layout

Stamp = tuple[int, int]
"""Seconds and nanoseconds of a ``header.stamp``: a value, where the message's own may change."""


class Writer(Protocol):
    """A publisher and its message.

    Attributes:
        publisher: of rclpy.
        message: what ``publish`` sends, with the attributes of its rclpy type.
    """

    publisher: Publisher[Any]
    message: Any

    def row(self, values: npt.NDArray[np.float32]) -> Any:
        """Return ``values`` (m,) as a field of ``message`` takes them."""

    def is_heard(self) -> bool:
        """Whether anybody gets what is published now; where not, nothing need be sent."""

    def publish(self) -> None:
        """Send ``message`` as it is now."""

    def send(self, stamp: Stamp, values: npt.NDArray[np.float32]) -> None:
        """Send ``message``, a JointState, with this stamp and these positions (m,)."""

    def close(self) -> None:
        """Destroy the publisher."""


class _RclpyWriter:
    def __init__(self, node: Node, publisher: Publisher[Any]) -> None:
        self._node, self.publisher = node, publisher
        self.message = publisher.msg_type()

    def row(self, values: npt.NDArray[np.float32]) -> array[float]:
        return array("d", values.tolist())

    def is_heard(self) -> bool:
        return True  # what rclpy says costs as much as sending

    def publish(self) -> None:
        self.publisher.publish(self.message)

    def send(self, stamp: Stamp, values: npt.NDArray[np.float32]) -> None:
        set_stamp(self.message, stamp)
        self.message.position = self.row(values)
        self.publish()

    def close(self) -> None:
        self._node.destroy_publisher(self.publisher)


class _HotWriter:
    """As ``_RclpyWriter``; holds the publisher so that its memory stays until ``close``."""

    def __init__(self, node: Node, publisher: Publisher[Any], library: Any) -> None:
        self._node, self.publisher = node, publisher
        self._handle: Any = publisher.handle
        self._handle.__enter__()
        kind: Any = publisher.msg_type
        self._writer = library.Writer(self._handle.pointer, layout(kind))
        self.message = self._writer.message
        self.publish, self.is_heard = self._writer.publish, self._writer.is_heard
        self.send = self._writer.send

    def row(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return values

    def close(self) -> None:
        self._writer.close()
        self._handle.__exit__(None, None, None)
        self._node.destroy_publisher(self.publisher)


def open_writer(node: Node, kind: type, topic: str, profile: QoSProfile, library: Any) -> Writer:
    """Create a publisher of messages of the type ``kind``.

    Args:
        node: that publishes.
        kind: message type of rclpy.
        topic: name.
        profile: quality of service.
        library: of :func:`qpolicy_ros.nodes.rcl.library.load`; None for rclpy's way.
    """
    publisher: Publisher[Any] = node.create_publisher(kind, topic, profile)
    if library is None:
        return _RclpyWriter(node, publisher)
    return _HotWriter(node, publisher, library)


def stamp_of(message: Any) -> Stamp:
    """Return the ``header.stamp`` of a message."""
    in_c = getattr(message, "stamp", None)
    if in_c is not None:
        found: Stamp = in_c()
        return found
    stamp = message.header.stamp
    return stamp.sec, stamp.nanosec


def set_stamp(message: Any, stamp: Stamp) -> None:
    """Set the ``header.stamp`` of a message."""
    time = message.header.stamp
    time.sec, time.nanosec = stamp
