"""Messages for ``/diagnostics``."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR


def diagnostics(
    node: Node, what: str, level: bytes, message: str, values: Mapping[str, object]
) -> DiagnosticArray:
    """Return an array with one status of ``node``, stamped now.

    Its name is ``<node>: <what>``, which rqt and the aggregator group by; the node's with its
    namespace, so that two robots in one graph are told apart, and so is ``hardware_id``.

    Args:
        node: whose status it is.
        what: the part of it.
        level: OK, WARN or ERROR.
        message: one line for people.
        values: figures for tools.
    """
    name = node.get_fully_qualified_name()
    status = DiagnosticStatus(
        level=level, name=f"{name.lstrip('/')}: {what}", message=message, hardware_id=name
    )
    status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    array = DiagnosticArray(status=[status])
    array.header.stamp = node.get_clock().now().to_msg()
    return array
