"""A bag taken apart: what the policy node was asked, sent and reported, and a robot's messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from qpolicy_ros.latency.arrival import arrival, times_of_sending
from qpolicy_ros.latency.bag import Bag, BagError
from qpolicy_ros.latency.cdr import CdrError, Group, joint_groups
from qpolicy_ros.latency.mcap import Batch
from qpolicy_ros.latency.trace import (
    DIAGNOSTICS,
    JOINT_STATE,
    Report,
    choose_home,
    own_reports,
    reports_in,
)
from qpolicy_ros.nodes.serving.safety import ObservationReader
from qpolicy_ros.policy import Contract, ObservationError
from qpolicy_ros.policy.model import Float32
from qpolicy_ros.replay.senders import as_sent, by_others
from qpolicy_ros.replay.sensors import KINDS, Doubles, Nanos, Sensor, read_sensor

Texts = npt.NDArray[np.str_]
Say = Callable[[int], None]

_OWN = ("observation", "action_stamped", "timing")


class Series(NamedTuple):
    """Messages of one topic, in the order of their arrival.

    Attributes:
        places: order of arrival among the messages of all topics, ascending, int64 (k,). Between
            any two there is a number, for a report that was sent between them.
        times: when they were sent, else when they arrived, int64 (k,), ns.
        stamps: ``header.stamp``, int64 (k,), ns.
        frames: ``header.frame_id`` (k,).
        values: float32 (k, n) of observations, float64 (k, m) of commands, (k, stages) of timing.
        problems: why the message does not fit the contract, empty if it does, (k,).
    """

    places: Nanos
    times: Nanos
    stamps: Nanos
    frames: Texts
    values: npt.NDArray[np.floating]
    problems: npt.NDArray[np.object_]


@dataclass
class Recording:
    """What one policy node did, by one bag.

    Attributes:
        bag: where it comes from.
        home: namespace of the node, empty or with a leading slash.
        observations, commands, timing: see :class:`Series`.
        foreign: whether somebody else than the policy node sent the command, (k,).
        stages: names of the values of ``timing``.
        sensors: a robot's topics by name, those that the bag has.
        reports: the node's statuses, oldest first, among the commands as they were sent.
        notes: what a reader should know.
    """

    bag: Bag
    home: str
    observations: Series
    commands: Series
    foreign: npt.NDArray[np.bool_]
    timing: Series
    stages: tuple[str, ...]
    sensors: dict[str, Sensor]
    reports: list[Report]
    notes: list[str] = field(default_factory=list)

    def reported(self, key: str) -> tuple[Nanos, list[str]]:
        """Return the places (k,) of the node's statuses and the values of ``key``."""
        found = [r for r in self.reports if r.values.get(key)]
        return np.array([r.place for r in found], np.int64), [r.values[key] for r in found]

    def stage(self, name: str) -> Doubles | None:
        """Return one value of every ``timing`` message, µs (k,); None where they lack it."""
        if name not in self.stages:
            return None
        return np.asarray(self.timing.values[:, self.stages.index(name)], np.float64)


class _Messages(NamedTuple):
    """What was recorded on one topic."""

    log: Nanos
    publish: Nanos
    places: Nanos
    payloads: list[bytes]


def read_recording(
    bag: Bag, contract: Contract, namespace: str = "", say: Say = lambda _: None
) -> Recording:
    """Read a bag.

    Args:
        bag: from :func:`~qpolicy_ros.latency.bag.open_bag`.
        contract: of the policy that shall have answered.
        namespace: of the policy node, needed only where a bag has several.
        say: told now and then how many messages have been read.

    Raises:
        BagError: it cannot be read, or has no commands of a policy node.
    """
    batches: dict[str, list[Batch]] = {}
    for batch in bag.batches(_wanted):
        batches.setdefault(batch.topic, []).append(batch)
        say(bag.count)
    topics = _join(batches)
    home = choose_home(bag, list(topics), namespace, ("/action_stamped",))
    own = {name: topics.get(f"{home}/{name}") for name in _OWN}
    commands = own["action_stamped"]
    if commands is None:
        remedy = "record action_stamped, observation, timing and /diagnostics"
        raise BagError.at(bag.path, "action_stamped", "was not recorded", remedy)
    notes = list(bag.notes)
    try:
        stages, timing = _timing(own["timing"])
        reports = _reports(topics, home, notes)
        sensors = {}
        if contract.robot:
            pose = _last(reports, "parameter.position_commands") != "False"
            sensors = _sensors(bag, topics, home, contract, notes, pose=pose)
        sent = _commands(commands, contract)
        foreign = by_others(sent.frames, reports)
        found = Recording(
            bag=bag,
            home=home,
            observations=_observations(own["observation"], contract),
            commands=sent,
            foreign=foreign,
            timing=timing,
            stages=stages,
            sensors=sensors,
            reports=as_sent(reports, _sent(topics), sent.places[~foreign], sent.times[~foreign]),
            notes=notes,
        )
    except CdrError as error:
        remedy = "record the nodes' own topics"
        raise BagError.at(bag.path, "messages", str(error), remedy) from error
    return found


def _wanted(topic: str, kind: str) -> bool:
    name = topic.rpartition("/")[2]
    if name == "diagnostics":
        return kind == DIAGNOSTICS
    return (name in _OWN and kind == JOINT_STATE) or KINDS.get(name) == kind


def _join(batches: dict[str, list[Batch]]) -> dict[str, _Messages]:
    """Return each topic's messages in the order of their arrival."""
    found = {}
    for topic, parts in batches.items():
        log = np.array([time for part in parts for time in part.log], np.int64)
        publish = [time for part in parts for time in part.publish]
        places = np.array([place for part in parts for place in part.places], np.int64)
        payloads = [payload for part in parts for payload in part.payloads]
        found[topic] = _Messages(log, times_of_sending(log, publish), places, payloads)
    ranks = arrival({t: (each.places, each.log, each.publish) for t, each in found.items()})
    for topic, each in found.items():
        order = np.argsort(ranks[topic], kind="stable")
        order = _once(each, order)
        payloads = each.payloads
        if len(order) < len(payloads) or (np.diff(order) != 1).any():
            payloads = [payloads[index] for index in order]
        found[topic] = _Messages(
            each.log[order], each.publish[order], 2 * ranks[topic][order], payloads
        )
    return found


def _once(messages: _Messages, order: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Leave out what was recorded twice: the same message, sent at the same time."""
    log, publish, payloads = messages.log[order], messages.publish[order], messages.payloads
    twice = np.concatenate([[False], (np.diff(log) == 0) & (np.diff(publish) == 0)])
    for place in np.flatnonzero(twice):
        twice[place] = payloads[order[place]] == payloads[order[place - 1]]
    return order[~twice]


def _reports(topics: dict[str, _Messages], home: str, notes: list[str]) -> list[Report]:
    found = []
    for name, each in topics.items():
        if name.endswith("/diagnostics"):
            columns: Any = (each.log.tolist(), [], each.payloads, each.places.tolist())
            found += reports_in(Batch(name, DIAGNOSTICS, *columns))
    homes = {name.rpartition("/")[0] for name in topics if name.endswith("/action_stamped")}
    own, note = own_reports(found, home, homes)
    notes += [note] if note else []
    return own


def _sent(topics: dict[str, _Messages]) -> dict[int, int]:
    """Return when statuses were sent, by their places."""
    found: dict[int, int] = {}
    for name, each in topics.items():
        if name.endswith("/diagnostics"):
            found.update(zip(each.places.tolist(), each.publish.tolist(), strict=True))
    return found


def _series(
    messages: _Messages | None,
    width: int,
    kind: type,
    take: Callable[[Group], tuple[npt.NDArray[np.floating], str]],
) -> Series:
    """Read one topic; ``take`` gives a group's values in order, or what is wrong with it."""
    count = len(messages.log) if messages else 0
    stamps = np.zeros(count, np.int64)
    values: npt.NDArray[np.floating] = np.full((count, width), np.nan, kind)
    frames, problems = np.full(count, ""), np.full(count, "", object)
    for group in joint_groups(messages.payloads) if messages and count else []:
        if group.frames.dtype.itemsize > frames.dtype.itemsize:
            frames = frames.astype(group.frames.dtype)
        stamps[group.rows], frames[group.rows] = group.stamps, group.frames
        with np.errstate(over="ignore"):
            content, problem = take(group)
            if problem:
                problems[group.rows] = problem
            else:
                values[group.rows] = content
    places = messages.places if messages else np.empty(0, np.int64)
    times = messages.publish if messages else np.empty(0, np.int64)
    return Series(places, times, stamps, frames, values, problems)


def _observations(messages: _Messages | None, contract: Contract) -> Series:
    reader = ObservationReader(contract)

    def take(group: Group) -> tuple[npt.NDArray[np.floating], str]:
        places = np.arange(group.positions.shape[1], dtype=np.float64)
        try:
            order = reader.read(list(group.names), places.tolist())
        except ObservationError as error:
            return group.positions, f"{error.reason}: {error}"
        return group.positions[:, order.astype(np.intp)], ""

    series = _series(messages, len(contract.observation), np.float32, take)
    bad = ~np.isfinite(series.values).all(axis=1) & (series.problems == "")
    for row in np.flatnonzero(bad):
        index = int(np.argmin(np.isfinite(series.values[row])))
        name, value = contract.observation[index].name, series.values[row, index]
        series.problems[row] = f"non_finite: observation: {name!r} is {value}"
    return series


def _commands(messages: _Messages, contract: Contract) -> Series:
    expected = [action.name for action in contract.action]

    def take(group: Group) -> tuple[npt.NDArray[np.floating], str]:
        names = list(group.names)
        if names and sorted(names) != sorted(expected):
            odd = sorted(set(names) ^ set(expected))
            return group.positions, f"its joints are not the policy's: {', '.join(odd[:3])}"
        if group.positions.shape[1] != len(expected):
            return group.positions, f"{group.positions.shape[1]} values, not {len(expected)}"
        order = [names.index(name) for name in expected] if names else slice(None)
        return group.positions[:, order], ""

    return _series(messages, len(expected), np.float64, take)


def _timing(messages: _Messages | None) -> tuple[tuple[str, ...], Series]:
    """Return the stages' names and the messages; a stage that an older node lacks is NaN."""
    groups = joint_groups(messages.payloads) if messages and messages.payloads else []
    stages = tuple(dict.fromkeys(name for group in groups for name in group.names))

    def take(group: Group) -> tuple[npt.NDArray[np.floating], str]:
        if group.positions.shape[1] != len(group.names):
            raise CdrError(f"timing: {group.positions.shape[1]} values, {len(group.names)} names")
        content = np.full((len(group.rows), len(stages)), np.nan)
        content[:, [stages.index(name) for name in group.names]] = group.positions
        return content, ""

    return stages, _series(messages, len(stages), np.float64, take)


def _sensors(
    bag: Bag,
    topics: dict[str, _Messages],
    home: str,
    contract: Contract,
    notes: list[str],
    *,
    pose: bool,
) -> dict[str, Sensor]:
    wanted = {channel.source.partition(".")[0] for channel in contract.observation} & KINDS.keys()
    found = {}
    for name in [each for each in KINDS if each in wanted]:
        messages = topics.get(f"{home}/{name}") or _elsewhere(topics, name)
        if messages is None:
            notes.append(f"{name} was not recorded: its values are taken as the node saw them")
            continue
        try:
            found[name] = read_sensor(
                name, messages.places, messages.publish, messages.payloads, contract, pose=pose
            )
        except CdrError as error:
            remedy = f"record {KINDS[name]} on this topic"
            raise BagError.at(bag.path, name, str(error), remedy) from error
    return found


def _elsewhere(topics: dict[str, _Messages], name: str) -> _Messages | None:
    """Return the only topic of this last name and type: the robot's own, remapped."""
    others = [topic for topic in topics if topic.endswith(f"/{name}")]
    return topics[others[0]] if len(others) == 1 else None


def _last(reports: Sequence[Report], key: str) -> str:
    return next((each.values[key] for each in reversed(reports) if key in each.values), "")


def as_float32(values: Doubles) -> tuple[Float32, npt.NDArray[np.bool_]]:
    """Return commands as float32, and which rows hold a value that no float32 is."""
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = values.astype(np.float32)
        exact = (narrow.astype(np.float64) == values) | np.isnan(values)
    return narrow, ~exact.all(axis=1)
