"""Messages for ``/diagnostics``."""

from __future__ import annotations

from collections.abc import Mapping

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

OK = DiagnosticStatus.OK
WARN = DiagnosticStatus.WARN
ERROR = DiagnosticStatus.ERROR


def diagnostics(
    stamp: Time, name: str, level: bytes, message: str, values: Mapping[str, object]
) -> DiagnosticArray:
    """Return an array with one status.

    Args:
        stamp: time of the report.
        name: ``<node>: <what>``, which rqt and the aggregator group by.
        level: OK, WARN or ERROR.
        message: one line for people.
        values: figures for tools.
    """
    status = DiagnosticStatus(level=level, name=name, message=message, hardware_id="")
    status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array
