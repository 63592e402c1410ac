"""What the graph says about a node's topics: wrong types, QoS that cannot match, double senders."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rosgraph_msgs.msg import Clock

from qpolicy_ros.nodes import qos
from qpolicy_ros.nodes.runtime import gives_message_info

_RECENT = 2.0  # s
_TOGETHER = 1.5  # s that two senders overlap; one that makes way for another may for a second
_SHOWN = 3
_LOST = 1000  # messages of one publisher that may be lost in a row
_FOREVER_NS = 1e18  # a deadline that nobody set
_UNKNOWN = "_NODE_NAME_UNKNOWN_"  # of rmw_fastrtps


class Wanted(NamedTuple):
    """A topic that the node takes or sends.

    Attributes:
        kind: type of its messages.
        profile: QoS of the node's own side.
        parts: says which values a message carries, where one topic may have several senders that
            share them; None where each sender sends all of it.
        remedy: for another type.
    """

    kind: type
    profile: QoSProfile
    parts: Callable[[Any], Sequence[Hashable]] | None = None
    remedy: str = "remap it, or mend who sends it"


class _Spell(NamedTuple):
    """From when to when one sender sent one value, without a pause."""

    first: float
    last: float


_Heard = dict[Hashable, dict[Hashable, _Spell]]  # by sender, by value

#: Where the time comes from with ``use_sim_time``: one clock alone, or time jumps.
CLOCK = Wanted(Clock, qos.profile(reliable=False, depth=qos.SHARED_DEPTH))


class Neighbours:
    """Looks at the graph, once a second; a double sender is found by a subscription of its own.

    Args:
        node: whose topics these are.
        taken: topics that it subscribes to.
        sent: topics that it publishes.
    """

    def __init__(
        self, node: Node, taken: Mapping[str, Wanted], sent: Mapping[str, Wanted] | None = None
    ) -> None:
        self._node, self._taken, self._sent = node, taken, sent or {}
        self._probes: dict[str, Subscription] = {}
        self._heard: dict[str, _Heard] = {}  # by topic

    def close(self) -> None:
        """Take no more messages."""
        for topic in list(self._probes):
            self._close_probe(topic)

    def look(self) -> list[str]:
        """Return what is wrong, one sentence a topic."""
        found = []
        for topic, wanted in self._taken.items():
            others = self._node.get_publishers_info_by_topic(topic)
            found += self._check(topic, wanted, others, sends=True)
            matching = [info for info in others if info.topic_type == _type_name(wanted.kind)]
            if len(matching) > 1:
                found += self._double(topic, wanted, matching)
            else:
                self._close_probe(topic)
        for topic, wanted in self._sent.items():
            others = self._node.get_subscriptions_info_by_topic(topic)
            found += self._check(topic, wanted, others, sends=False)
        return found

    def _check(self, topic: str, wanted: Wanted, others: Any, *, sends: bool) -> list[str]:
        """Compare types and QoS with those of the other side."""
        verb, found = ("sends", []) if sends else ("takes", [])
        name = _type_name(wanted.kind)
        for info in others:
            who = _node_name(info)
            if info.topic_type != name:
                text = f"{topic}: {who} {verb} {info.topic_type}, this node has {name}"
                found.append(f"{text}; {wanted.remedy}")
                continue
            pair = (info.qos_profile, wanted.profile)
            reason = _mismatch(*(pair if sends else pair[::-1]))
            if reason:
                found.append(f"{topic}: the QoS of {who} cannot match this node's: {reason}")
        return list(dict.fromkeys(found))

    def _double(self, topic: str, wanted: Wanted, others: Any) -> list[str]:
        """Say which values of ``topic`` come from several senders."""
        if topic not in self._probes:
            self._open_probe(topic, wanted)
            return []
        since = time.monotonic() - _RECENT
        names: dict[Hashable, str] = {
            bytes(info.endpoint_gid[:16]): _node_name(info) for info in others
        }
        spells: dict[Hashable, list[tuple[_Spell, str]]] = defaultdict(list)
        for sender, parts in self._heard[topic].items():
            for part, spell in parts.items():
                if spell.last >= since:
                    spells[part].append((spell, names.get(sender, "")))
        double = {part: both for part, sent in spells.items() if (both := _together(sent))}
        if not double:
            return []
        found = next(iter(double.values()))
        # Before Kilted a message does not say which of the publishers sent it.
        who = " and ".join(sorted(found if all(found) else {_node_name(info) for info in others}))
        shown = [repr(part) for part in double if part != ""]
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        what = f"{', '.join(shown[:_SHOWN])}{more}" if shown else "the same values"
        return [f"{topic}: {what} from two senders at once, {who}; stop one of them"]

    def _open_probe(self, topic: str, wanted: Wanted) -> None:
        heard: _Heard = defaultdict(dict)
        self._heard[topic] = heard
        counts: list[int] = []

        def take(message: Any, info: dict[str, Any] | None) -> None:
            now = time.monotonic()
            sender = heard[_sender(message, info, counts)]
            for part in wanted.parts(message) if wanted.parts else ("",):
                spell = sender.get(part, _Spell(now, now))
                sender[part] = _Spell(spell.first if now - spell.last <= _RECENT else now, now)

        def take_bare(message: Any) -> None:
            take(message, None)

        callback: Any = take if gives_message_info() else take_bare
        profile = qos.profile(reliable=False, depth=qos.SHARED_DEPTH)
        self._probes[topic] = self._node.create_subscription(wanted.kind, topic, callback, profile)

    def _close_probe(self, topic: str) -> None:
        if topic in self._probes:
            self._node.destroy_subscription(self._probes.pop(topic))


def _together(spells: Sequence[tuple[_Spell, str]]) -> list[str]:
    """Who, of several that sent one value, did so together with another; empty: nobody."""
    return [
        name
        for i, (spell, name) in enumerate(spells)
        if any(
            min(spell.last, other.last) - max(spell.first, other.first) >= _TOGETHER
            for j, (other, _) in enumerate(spells)
            if j != i
        )
    ]


def _sender(message: Any, info: dict[str, Any] | None, counts: list[int]) -> Hashable:
    """Who sent it: the middleware's identity, else (before Kilted) what the message looks like.

    What has no header looks alike: there each publisher's own count of its messages tells;
    ``counts`` holds the last number of each one so far, and is brought up to date.
    """
    known = info or {}
    identity = known.get("publisher_gid")
    if identity is not None:
        return bytes(identity["data"][:16])
    header = getattr(message, "header", None)
    if header is None and (number := known.get("publication_sequence_number")) is not None:
        before = [i for i, last in enumerate(counts) if number - _LOST <= last < number]
        place = max(before, key=counts.__getitem__, default=len(counts))
        counts[place : place + 1] = [number]
        return place
    return (tuple(getattr(message, "name", ())), getattr(header, "frame_id", ""))


def _type_name(kind: type) -> str:
    package, *middle, _ = kind.__module__.split(".")
    return "/".join([package, *middle, kind.__name__])


def _mismatch(offered: QoSProfile, asked: QoSProfile) -> str:
    """Say why a subscription gets nothing from a publisher; empty where it does.

    rclpy's own check takes what a profile leaves open for a demand.
    """
    if (
        asked.reliability == ReliabilityPolicy.RELIABLE
        and offered.reliability == ReliabilityPolicy.BEST_EFFORT
    ):
        return "reliable is asked for, best effort is offered"
    if (
        asked.durability == DurabilityPolicy.TRANSIENT_LOCAL
        and offered.durability == DurabilityPolicy.VOLATILE
    ):
        return "transient local is asked for, volatile is offered"
    wish, offer = asked.deadline.nanoseconds, offered.deadline.nanoseconds
    if 0 < wish < _FOREVER_NS and not 0 < offer <= wish:
        offers = f"{offer / 1e9:g} s" if 0 < offer < _FOREVER_NS else "none"
        return f"a deadline of {wish / 1e9:g} s is asked for, {offers} is offered"
    return ""


def _node_name(info: Any) -> str:
    if info.node_name == _UNKNOWN:  # an endpoint is found a moment before its node
        return "a node without a known name"
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"
