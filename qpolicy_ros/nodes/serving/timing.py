"""The stages of one answer, in microseconds.

``age``       observation's publication to its callback; wall clock of both hosts, NaN if unknown
``queue``     the part of ``age`` after its arrival at this host; wall clock, NaN if unknown
``quantise``  quantising or normalising the observation
``infer``     the rest of the backend's work
``publish``   limits, and handing both action messages to the middleware
``total``     callback to action published: ``quantise``, ``infer``, ``publish`` and reading
``elapsed``   since the action before, as the rate limit counted it; what `qpolicy replay` needs

For a robot, what each tick used follows, by topic:

``age.<topic>``    since the arrival of the message used; NaN before the first
``stamp.<topic>``  that message's stamp, counted from the stamp of this message

All but ``age`` and ``queue`` come from one monotonic clock. The message's ``header.frame_id``
names the backend that answered.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # the server needs rclpy, readers of bags do not
    from qpolicy_ros.nodes.serving.server import PolicyServer

STAGES = ("age", "queue", "quantise", "infer", "publish", "total", "elapsed")

_MICROSECOND_NS = 1000.0


class Instants(NamedTuple):
    """Monotonic times of one answer, ns; those with ``_ns`` are durations.

    Attributes:
        age_ns: age of the observation at its callback; negative if the middleware gave none.
        queue_ns: since it arrived at this host; negative if the middleware does not say.
        arrived, started, inferred, published: callback entered, backend called, backend returned,
            both actions published.
        quantise_ns: the part of ``inferred - started`` spent on the input.
        elapsed_ns: from the action before to this one, see ``ActionGuard.elapsed_ns``.
    """

    age_ns: int
    queue_ns: int
    arrived: int
    started: int
    inferred: int
    published: int
    quantise_ns: int
    elapsed_ns: int

    @classmethod
    def of(
        cls, server: PolicyServer, age_ns: int, queue_ns: int, arrived: int, published: int
    ) -> Instants:
        """Return the times of the last answer of ``server``."""
        started, inferred, quantise = server.started_ns, server.inferred_ns, server.quantise_ns
        elapsed = server.guard.elapsed_ns
        return cls(age_ns, queue_ns, arrived, started, inferred, published, quantise, elapsed)


def ages(info: Mapping[str, Any] | None, now: int) -> tuple[int, int]:
    """Return how long ago a message was sent and arrived, ns; negative where unknown.

    Args:
        info: the middleware's times of the message, None where rclpy does not hand them out.
        now: wall clock, ns.
    """
    sent, received = (info["source_timestamp"], info["received_timestamp"]) if info else (0, 0)
    return now - sent if sent else -1, now - received if received else -1


def stages(instants: Instants) -> array[float]:
    """Return the durations named by :data:`STAGES`, µs, ready for a message."""
    age, queue, arrived, started, inferred, published, quantise, elapsed = instants
    return array(
        "d",
        (
            age / _MICROSECOND_NS if age >= 0 else math.nan,
            queue / _MICROSECOND_NS if queue >= 0 else math.nan,
            quantise / _MICROSECOND_NS,
            (inferred - started - quantise) / _MICROSECOND_NS,
            (published - inferred) / _MICROSECOND_NS,
            (published - arrived) / _MICROSECOND_NS,
            elapsed / _MICROSECOND_NS,
        ),
    )
