"""The stages of one answer, in microseconds.

``age``       observation's publication to its callback; wall clock of both hosts, NaN if unknown
``quantise``  quantising or normalising the observation
``infer``     the rest of the backend's work
``publish``   limits, and handing both action messages to the middleware
``total``     callback to action published: everything but ``age``

All but ``age`` come from one monotonic clock.
"""

from __future__ import annotations

import math
from array import array
from typing import NamedTuple

STAGES = ("age", "quantise", "infer", "publish", "total")

_MICROSECOND_NS = 1000.0


class Instants(NamedTuple):
    """Monotonic times of one answer, ns; ``age_ns`` and ``quantise_ns`` are durations.

    Attributes:
        age_ns: age of the observation at its callback; negative if the middleware gave none.
        arrived, started, inferred, published: callback entered, backend called, backend returned,
            both actions published.
        quantise_ns: the part of ``inferred - started`` spent on the input.
    """

    age_ns: int
    arrived: int
    started: int
    inferred: int
    published: int
    quantise_ns: int


def stages(instants: Instants) -> array[float]:
    """Return the durations named by :data:`STAGES`, µs, ready for a message."""
    age, arrived, started, inferred, published, quantise = instants
    return array(
        "d",
        (
            age / _MICROSECOND_NS if age >= 0 else math.nan,
            quantise / _MICROSECOND_NS,
            (inferred - started - quantise) / _MICROSECOND_NS,
            (published - inferred) / _MICROSECOND_NS,
            (published - arrived) / _MICROSECOND_NS,
        ),
    )
