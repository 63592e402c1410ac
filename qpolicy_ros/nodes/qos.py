"""Quality of service of every topic, in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

__all__ = [
    "COMMAND",
    "EPISODES",
    "FIGURES",
    "HEARD",
    "SHARED_DEPTH",
    "SubscriptionEventCallbacks",
    "only",
    "profile",
]


def profile(*, reliable: bool = True, depth: int = 1, deadline: float = 0.0) -> QoSProfile:
    """Return a volatile keep-last profile; ``deadline`` in s, 0 asks for none."""
    qos = QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
    )
    if deadline > 0:
        qos.deadline = Duration(seconds=deadline)
    return qos


def only(deadline_missed: Callable[[Any], None] | None = None) -> SubscriptionEventCallbacks:
    """Return the events of a subscription: this one alone, where it is given.

    rclpy's own ones log a QoS or a type that cannot match; ``Neighbours`` says it too. The
    middleware lets each of them cost 5 to 10 us a message, as long as the subscription is there.
    """
    return SubscriptionEventCallbacks(deadline=deadline_missed, use_default_callbacks=False)


#: Commands to controllers: only the newest counts, and it must arrive.
COMMAND = profile(depth=1)

#: Messages that may be waiting to be taken: where several send on one topic, the last one of one
#: sender must not push out another's.
SHARED_DEPTH = 32

#: Commands as a listener takes them who must hear every sender.
HEARD = profile(depth=SHARED_DEPTH)

#: Figures that a recorder should not miss.
FIGURES = profile(depth=100)

#: Results of episodes: a late subscriber gets the earlier ones too.
EPISODES = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1000,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
