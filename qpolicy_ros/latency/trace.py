"""Puts a bag's topics together: stamps, clocks, conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rosbags.typesys import Stores, get_typestore

from qpolicy_ros.latency.bag import Bag, BagError
from qpolicy_ros.latency.cdr import CdrError, JointStates, join, joint_states, stamps
from qpolicy_ros.latency.mcap import Batch

Nanos = npt.NDArray[np.int64]
Micros = npt.NDArray[np.float64]

JOINT_STATE = "sensor_msgs/msg/JointState"
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"

_STAMPED = ("observation", "action_stamped")
_VALUED = ("timing", "round_trip", "episode")
_WALL = 946_684_800 * 10**9  # 2000-01-01: no clock of a simulation or since boot is as late
_POLICY_STATUS = "policy_node"


class Series(NamedTuple):
    """Messages of one topic in order of arrival.

    Attributes:
        log: arrival at the recorder, int64 (n,), ns.
        publish: sending, int64 (n,), ns; equals ``log`` where the storage has none.
        stamps: ``header.stamp``, int64 (n,), ns.
    """

    log: Nanos
    publish: Nanos
    stamps: Nanos


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
        episodes: when an episode ended, log times, ns.
        reports: the policy node's status by log time, oldest first.
    """

    bag: Bag
    has_publish: bool
    timing: Timing | None
    observations: Series
    actions: Series
    round_trip: tuple[Nanos, Micros]
    episodes: Nanos
    reports: list[tuple[int, dict[str, str]]] = field(default_factory=list)

    def condition(self, name: str) -> str:
        """Return the newest value of a condition, empty if the bag does not say."""
        for _, values in reversed(self.reports):
            if values.get(name):
                return values[name]
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
    chosen = _choose(bag, parts, namespace)
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
        bag,
        has_publish,
        timing,
        series["observation"],
        series["action_stamped"],
        round_trip,
        series["episode"].log,
        _reports(parts),
    )


def is_wall(times: Nanos) -> bool:
    """Whether times of one clock are those of a calendar."""
    return bool(len(times)) and int(times[0]) >= _WALL


class _Part(NamedTuple):
    """What is kept of a batch."""

    log: Nanos
    publish: Nanos
    stamps: Nanos
    states: JointStates | None
    reports: list[tuple[int, dict[str, str]]]


def _wanted(topic: str, kind: str) -> bool:
    name = topic.rpartition("/")[2]
    if name == "diagnostics":
        return kind == DIAGNOSTICS
    return kind == JOINT_STATE and name in (*_STAMPED, *_VALUED)


def _part(batch: Batch) -> _Part:
    """Take what is needed out of a batch; CdrError if a message does not fit."""
    name = batch.topic.rpartition("/")[2]
    log = np.array(batch.log, np.int64)
    publish = np.array(batch.publish, np.int64) if any(batch.publish) else log
    if name == "diagnostics":
        reports = [
            (time, status)
            for time, payload in zip(batch.log, batch.payloads, strict=True)
            for status in _statuses(payload)
        ]
        return _Part(log, publish, np.zeros(len(log), np.int64), None, reports)
    if name in _STAMPED:
        return _Part(log, publish, stamps(batch.payloads), None, [])
    states = joint_states(batch.payloads)
    return _Part(log, publish, states.stamps, states, [])


def _statuses(payload: bytes) -> list[dict[str, str]]:
    """Return the policy node's statuses in one message."""
    try:
        message: Any = _TYPES.deserialize_cdr(payload, DIAGNOSTICS)
    except Exception as error:
        raise CdrError("a message is cut or of another type") from error
    return [
        {"message": status.message, **{item.key: item.value for item in status.values}}
        for status in message.status
        if _POLICY_STATUS in status.name
    ]


_TYPES = get_typestore(Stores.ROS2_HUMBLE)


def _choose(bag: Bag, parts: dict[str, list[_Part]], namespace: str) -> dict[str, list[_Part]]:
    """Return the parts of one policy node by the topics' last names."""
    homes = sorted(
        {
            topic.rpartition("/")[0]
            for topic in parts
            if topic.endswith(("/timing", "/action_stamped"))
        }
    )
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
    home = wanted if namespace else homes[0]
    names = (*_STAMPED, *_VALUED)
    return {name: parts[f"{home}/{name}"] for name in names if f"{home}/{name}" in parts}


def _order(parts: Sequence[_Part]) -> npt.NDArray[np.intp]:
    """Return the order of arrival."""
    return np.argsort(np.concatenate([part.log for part in parts]), kind="stable")


def _series(parts: Sequence[_Part]) -> Series:
    if not parts:
        none = np.empty(0, np.int64)
        return Series(none, none, none)
    order = _order(parts)
    columns = zip(*((part.log, part.publish, part.stamps) for part in parts), strict=True)
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


def _reports(parts: dict[str, list[_Part]]) -> list[tuple[int, dict[str, str]]]:
    found = [report for each in parts.values() for part in each for report in part.reports]
    return sorted(found, key=lambda report: report[0])


_CLOCKS = {True: "wall time", False: "simulated or monotonic time"}


def _check_clocks(bag: Bag, topic: str, series: Series) -> None:
    """Refuse a topic whose times come from two clocks."""
    for what, times in series._asdict().items():
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
