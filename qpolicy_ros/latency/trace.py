"""Puts a bag's topics together: stamps, clocks, conditions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rosbags.typesys import Stores, get_typestore

from qpolicy_ros.latency.arrival import Nanos, arrival, times_of_sending
from qpolicy_ros.latency.bag import Bag, BagError
from qpolicy_ros.latency.cdr import CdrError, JointStates, join, joint_states, stamps
from qpolicy_ros.latency.mcap import Batch

Micros = npt.NDArray[np.float64]

JOINT_STATE = "sensor_msgs/msg/JointState"
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"

_STAMPED = ("observation", "action_stamped")
_VALUED = ("timing", "round_trip", "episode")
_WALL = 946_684_800 * 10**9  # 2000-01-01: no clock of a simulation or since boot is as late
_POLICY_STATUS = "policy_node"
_POLICY_WHAT = ": policy"  # of a policy node that was given another name


class Series(NamedTuple):
    """Messages of one topic in order of arrival.

    Clocks may be set while a robot records; :attr:`places` go on.

    Attributes:
        places: order of arrival among the messages of all topics, ascending, int64 (n,).
        log: arrival at the recorder, int64 (n,), ns.
        publish: sending, int64 (n,), ns; equals ``log`` where the storage has none.
        stamps: ``header.stamp``, int64 (n,), ns.
    """

    places: Nanos
    log: Nanos
    publish: Nanos
    stamps: Nanos


class Report(NamedTuple):
    """A status that the policy node reported.

    Attributes:
        log: arrival, ns.
        place: order of arrival among the messages of all topics.
        values: by key; ``name`` and ``hardware_id`` are the status's own.
    """

    log: int
    place: int
    values: dict[str, str]


class Timing(NamedTuple):
    """Answers of the policy node, by its own clock.

    Attributes:
        series: when, and to which observation.
        backends: who answered (n,); empty text where a message does not say.
        stages: durations in µs by name, float64 (n,), NaN = unknown.
    """

    series: Series
    backends: npt.NDArray[np.str_]
    stages: dict[str, Micros]


@dataclass(frozen=True)
class Trace:
    """What one bag says.

    Attributes:
        bag: where it comes from.
        has_publish: whether times of sending are recorded beside those of arrival.
        timing: answers; None without the topic.
        observations, actions: messages with their stamps; empty without the topic.
        round_trip: stamps and durations, µs.
        episodes: the ends of episodes.
        reports: the policy node's statuses, oldest first.
    """

    bag: Bag
    has_publish: bool
    timing: Timing | None
    observations: Series
    actions: Series
    round_trip: tuple[Nanos, Micros]
    episodes: Series
    reports: list[Report] = field(default_factory=list)

    def condition(self, name: str) -> str:
        """Return the newest value of a condition, empty if the bag does not say."""
        for report in reversed(self.reports):
            if report.values.get(name):
                return report.values[name]
        return ""


def read_trace(bag: Bag, namespace: str = "") -> Trace:
    """Read a bag.

    Args:
        bag: from :func:`open_bag`.
        namespace: of the policy node, needed only where a bag has several.

    Raises:
        BagError: it cannot be read, has none of our topics, or its clocks are mixed.
    """
    parts: dict[str, list[_Part]] = {}
    has_publish = False
    for batch in bag.batches(_wanted):
        has_publish = has_publish or (any(batch.publish) and batch.publish != batch.log)
        try:
            parts.setdefault(batch.topic, []).append(_part(batch))
        except CdrError as error:
            raise BagError.at(
                bag.path, batch.topic, str(error), f"record {batch.kind} on this topic"
            ) from error
    _order_by_arrival(parts)
    home = choose_home(bag, list(parts), namespace, ("/timing", "/action_stamped"))
    names = (*_STAMPED, *_VALUED)
    chosen = {name: parts[f"{home}/{name}"] for name in names if f"{home}/{name}" in parts}
    series = {name: _series(chosen.get(name, [])) for name in (*_STAMPED, *_VALUED)}
    for name in (*_STAMPED, "timing"):
        _check_clocks(bag, name, series[name])
    _check_one_clock(bag, series)
    values = {name: _values(bag, name, chosen.get(name, [])) for name in _VALUED}
    timing = None
    if values["timing"] is not None:
        states = values["timing"]
        if states.positions.shape[1] != len(states.names):
            wrong = f"{states.positions.shape[1]} values for {len(states.names)} names"
            raise BagError.at(bag.path, "timing", wrong, "record a policy_node's timing")
        order = _order(chosen["timing"])
        stages = {name: states.positions[order, index] for index, name in enumerate(states.names)}
        timing = Timing(series["timing"], states.frames[order], stages)
    round_trip = (np.empty(0, np.int64), np.empty(0))
    if values["round_trip"] is not None and values["round_trip"].positions.shape[1]:
        order = _order(chosen["round_trip"])
        states = values["round_trip"]
        round_trip = (states.stamps[order], states.positions[order, 0])
    return Trace(
        bag=bag,
        has_publish=has_publish,
        timing=timing,
        observations=series["observation"],
        actions=series["action_stamped"],
        round_trip=round_trip,
        episodes=series["episode"],
        reports=_reports(bag, parts, home),
    )


def is_wall(times: Nanos) -> bool:
    """Whether times of one clock are those of a calendar."""
    return bool(len(times)) and int(times[0]) >= _WALL


class _Part(NamedTuple):
    """What is kept of a batch."""

    places: Nanos
    log: Nanos
    publish: Nanos
    stamps: Nanos
    states: JointStates | None
    reports: list[Report]


def _wanted(topic: str, kind: str) -> bool:
    name = topic.rpartition("/")[2]
    if name == "diagnostics":
        return kind == DIAGNOSTICS
    return kind == JOINT_STATE and name in (*_STAMPED, *_VALUED)


def _part(batch: Batch) -> _Part:
    """Take what is needed out of a batch; CdrError if a message does not fit."""
    name = batch.topic.rpartition("/")[2]
    places, log = np.array(batch.places, np.int64), np.array(batch.log, np.int64)
    publish = times_of_sending(log, batch.publish)
    if name == "diagnostics":
        return _Part(places, log, publish, np.zeros(len(log), np.int64), None, reports_in(batch))
    if name in _STAMPED:
        return _Part(places, log, publish, stamps(batch.payloads), None, [])
    states = joint_states(batch.payloads)
    return _Part(places, log, publish, states.stamps, states, [])


def reports_in(batch: Batch) -> list[Report]:
    """Return the policy nodes' statuses in messages of ``/diagnostics``.

    Raises:
        CdrError: a message is of another type.
    """
    found = zip(batch.log, batch.places, batch.payloads, strict=True)
    return [
        Report(log, place, values) for log, place, payload in found for values in _statuses(payload)
    ]


def _statuses(payload: bytes) -> list[dict[str, str]]:
    try:
        message: Any = _TYPES.deserialize_cdr(payload, DIAGNOSTICS)
    except Exception as error:
        raise CdrError("a message is cut or of another type") from error
    return [
        {
            "message": status.message,
            **{item.key: item.value for item in status.values},
            "name": status.name,
            "hardware_id": status.hardware_id,
        }
        for status in message.status
        if _POLICY_STATUS in status.name or status.name.endswith(_POLICY_WHAT)
    ]


_TYPES = get_typestore(Stores.ROS2_HUMBLE)


def choose_home(bag: Bag, topics: list[str], namespace: str, signs: tuple[str, ...]) -> str:
    """Return the namespace of one policy node, empty or with a leading slash.

    Args:
        bag: for the error's text.
        topics: full names of those that are recorded.
        namespace: the one that is wanted; empty takes the only one.
        signs: last names that only a policy node's topics have, with their slash.

    Raises:
        BagError: there is none, or several and none is named.
    """
    homes = sorted({topic.rpartition("/")[0] for topic in topics if topic.endswith(signs)})
    if not homes:
        shown = sorted(bag.topics)[:6]
        more = ", ..." if len(bag.topics) > len(shown) else ""
        wrong = f"neither timing nor action_stamped ({JOINT_STATE}) among {', '.join(shown)}{more}"
        raise BagError.at(bag.path, "topics", wrong, "record what policy_node publishes")
    wanted = "/" + namespace.strip("/") if namespace.strip("/") else ""
    if namespace and wanted not in homes:
        wrong = f"{namespace!r} has no timing and no action_stamped"
        known = ", ".join(home or "/" for home in homes)
        raise BagError.at(bag.path, "namespace", wrong, f"give one of {known}")
    if not namespace and len(homes) > 1:
        wrong = f"the topics of several policies: {', '.join(home or '/' for home in homes)}"
        raise BagError.at(bag.path, "topics", wrong, "choose one by --namespace")
    return wanted if namespace else homes[0]


def _order_by_arrival(parts: dict[str, list[_Part]]) -> None:
    """Number all messages in the order of their arrival."""
    ranks = arrival(
        {
            topic: (
                np.concatenate([p.places for p in each]),
                np.concatenate([p.log for p in each]),
                np.concatenate([p.publish for p in each]),
            )
            for topic, each in parts.items()
        }
    )
    for topic, each in parts.items():
        start = 0
        for index, part in enumerate(each):
            numbers = ranks[topic][start : start + len(part.places)]
            start += len(numbers)
            reports = part.reports
            if reports:
                new = dict(zip(part.places.tolist(), numbers.tolist(), strict=True))
                reports = [report._replace(place=new[report.place]) for report in reports]
            each[index] = part._replace(places=numbers, reports=reports)


def _order(parts: Sequence[_Part]) -> npt.NDArray[np.intp]:
    """Return the order of arrival."""
    return np.argsort(np.concatenate([part.places for part in parts]), kind="stable")


def _series(parts: Sequence[_Part]) -> Series:
    if not parts:
        none = np.empty(0, np.int64)
        return Series(none, none, none, none)
    order = _order(parts)
    columns = zip(*(part[:4] for part in parts), strict=True)
    return Series(*(np.concatenate(column)[order] for column in columns))


def _values(bag: Bag, name: str, parts: Sequence[_Part]) -> JointStates | None:
    """Return the messages of a topic in the order of the file, None without any."""
    states = [part.states for part in parts if part.states is not None]
    if not states:
        return None
    try:
        return join(states)
    except CdrError as error:
        remedy = "record one version of the nodes in a bag"
        raise BagError.at(bag.path, name, str(error), remedy) from error


def _reports(bag: Bag, parts: dict[str, list[_Part]], home: str) -> list[Report]:
    found = [report for each in parts.values() for part in each for report in part.reports]
    homes = {topic.rpartition("/")[0] for topic in parts if topic.endswith("/action_stamped")}
    own, note = own_reports(found, home, homes)
    bag.notes += [note] if note else []
    return own


def own_reports(found: list[Report], home: str, homes: set[str]) -> tuple[list[Report], str]:
    """Return the statuses of one policy node, oldest first, and what a reader should know.

    Args:
        found: of all nodes of the graph, which share one topic.
        home: namespace of the node, empty or with a leading slash.
        homes: namespaces whose commands are in the bag.
    """
    found = sorted(found, key=lambda report: report.place)
    named = [report for report in found if report.values["hardware_id"]]
    own = [r for r in named if r.values["hardware_id"].rpartition("/")[0] == home]
    if own or (named and len(named) == len(found)):
        return own, ""
    # Older nodes do not say whose status it is.
    bare = [report for report in found if not report.values["hardware_id"]]
    hashes = [r.values["function_hash"] for r in bare if r.values.get("function_hash")]
    changes = sum(a != b for a, b in itertools.pairwise(hashes))
    if len(homes) > 1 or changes > len(set(hashes)):
        return [], (
            "several policy nodes report and do not say which is which: conditions, control period "
            "and policy of this one are unknown"
        )
    return bare, ""


_CLOCKS = {True: "wall time", False: "simulated or monotonic time"}


def _check_clocks(bag: Bag, topic: str, series: Series) -> None:
    """Refuse a topic whose times come from two clocks."""
    for what in ("log", "publish", "stamps"):
        times = getattr(series, what)
        given = times if what != "stamps" else times[times != 0]  # zero: answers no observation
        wall = given >= _WALL
        if len(given) and wall.any() != wall.all():
            index = int(np.flatnonzero(wall != wall[0])[0])
            wrong = (
                f"{what} of {topic} are {_CLOCKS[bool(wall[0])]} up to message {index}, then "
                f"{_CLOCKS[bool(wall[index])]}"
            )
            remedy = "record all of it with one use_sim_time, in a bag of its own"
            raise BagError.at(bag.path, "clocks", wrong, remedy)


def _check_one_clock(bag: Bag, series: dict[str, Series]) -> None:
    """Refuse a bag whose topics are recorded by different clocks."""
    for what in ("log", "publish"):
        kinds = {
            name: is_wall(getattr(series[name], what))
            for name in (*_STAMPED, "timing")
            if len(series[name].log)
        }
        if len(set(kinds.values())) > 1:
            named = ", ".join(f"{name} in {_CLOCKS[kind]}" for name, kind in kinds.items())
            remedy = "record all topics with one use_sim_time"
            raise BagError.at(bag.path, "clocks", f"{what} times: {named}", remedy)
