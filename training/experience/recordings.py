"""What a policy saw in a recording: observations put together by its contract, tick by tick.

A bag of this package has the observations themselves. Any other bag has a robot's topics:
``joint_states``, ``imu``, ``odom``, ``cmd_vel`` and, for previous actions, ``action_stamped`` or
``action``. They are found by the last part of their names. No simulator takes part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qpolicy_ros.policy import Assembler, Contract, PolicyError
from qpolicy_ros.policy.sources import (
    CMD_VEL,
    IMU,
    JOINT_STATES,
    MESSAGE_PATHS,
    ODOM,
    ORIENTATIONS,
    POSE,
    PREVIOUS_ACTION,
    PREVIOUS_OUTPUT,
    TWIST,
    WRENCH,
    orientation_values,
    parse_source,
)

Float32 = NDArray[np.float32]

_OBSERVATION, _STAMPED, _ACTION = "observation", "action_stamped", "action"
_GAP = 5.0  # control periods without a message: the recording goes on elsewhere
_SAME_RATE = 0.2  # share by which messages may come faster or slower than the control period
_SECOND = 1e-9
_STILL = {CMD_VEL, TWIST}  # nobody commands before the first message
_LEAST_TICKS = 50
_KNOWN = {_OBSERVATION, _STAMPED, _ACTION, JOINT_STATES, IMU, ODOM, CMD_VEL, TWIST, POSE, WRENCH}


@dataclass(frozen=True)
class Recording:
    """Observations of one or more bags.

    Attributes:
        observations: float32 ``(k, n)``.
        starts: where something new begins: a bag, or what follows a gap.
        exact: whether the bags have what the policy saw; else it was put together here.
        notes: what a reader of the figures should know.
    """

    observations: Float32
    starts: list[int]
    exact: bool
    notes: list[str]


def read_recordings(
    bags: Iterable[Path], contract: Contract, teach: Callable[[Float32], Float32]
) -> Recording:
    """Read bags of rosbag2 (MCAP or sqlite3, whole or cut off).

    Args:
        bags: folders or files.
        contract: says where each value comes from.
        teach: what the policy answers to ``(k, n)``; stands in for previous actions of which a bag
            has none.

    Raises:
        InputError: no bag, or one without the topics that the policy needs; the text names them.
    """
    parts: list[Float32] = []
    starts: list[int] = []
    notes: list[str] = []
    exact = True
    count = 0
    for bag in bags:
        messages = _Messages(bag)
        notes += messages.notes
        seen = messages.observations(contract)
        rows, first = seen if seen is not None else _assembled(messages, contract, teach, notes)
        exact &= seen is not None
        if len(rows) < _LEAST_TICKS:
            wrong = f"has {len(rows)} control periods in which everything was there"
            remedy = f"give a recording of {_LEAST_TICKS} or more, better of minutes"
            raise PolicyError.at(bag, "bag", wrong, remedy)
        parts.append(rows)
        starts += [count + index for index in first]
        count += len(rows)
    if not parts:
        raise PolicyError.at("", "--bag", "no recording", "give one or more bags")
    return Recording(np.concatenate(parts), starts, exact, list(dict.fromkeys(notes)))


class _Messages:
    """The messages of one bag by topic, in the order of their times."""

    def __init__(self, bag: Path) -> None:
        self.bag = bag
        self.topics: dict[str, list[tuple[float, Any]]] = {}
        read, self.notes = _read(bag)
        # What has no stamp of its own is placed among what has one: clocks may differ.
        pairs = sorted((log, at) for each in read.values() for at, log, _ in each if at > 0)
        logs, stamps = np.array(pairs, np.float64).reshape(-1, 2).T
        for topic, entries in read.items():
            placed = [
                (at or float(np.interp(log, logs, stamps) if pairs else log * _SECOND), message)
                for at, log, message in entries
            ]
            self.topics[topic] = sorted(placed, key=lambda entry: entry[0])

    def observations(self, contract: Contract) -> tuple[Float32, list[int]] | None:
        """Return what the policy node says that the policy saw; None where it did not say."""
        messages = self.topics.get(_OBSERVATION, [])
        names, size = [c.name for c in contract.observation], len(contract.observation)
        fitting = [
            (at, m) for at, m in messages
            if len(m.position) == size and list(m.name) in ([], names)
        ]  # fmt: skip
        if not fitting:
            return None
        rows = np.array([message.position for _, message in fitting], np.float32)
        # In lock-step an observation may have been sent twice.
        times = np.array([at for at, _ in fitting])
        new = np.concatenate(([True], np.diff(times) > 0))
        rows, times = rows[new], times[new]
        good = np.isfinite(rows).all(axis=1)
        rows, times = rows[good], times[good]
        gaps = np.flatnonzero(np.diff(times) > _GAP * contract.period) + 1
        return rows, [0, *gaps.tolist()]


def _read(bag: Path) -> tuple[dict[str, list[tuple[float, int, Any]]], list[str]]:
    """Return stamp (s), time of arrival (ns) and message by kind of topic, and notes on the bag.

    Of several topics of one kind the first in the file counts.
    """
    # For recordings only: its packages are an extra.
    from rosbags.typesys import Stores, get_typestore  # noqa: PLC0415

    from qpolicy_ros.latency.bag import open_bag  # noqa: PLC0415

    store = get_typestore(Stores.ROS2_HUMBLE)
    names: dict[str, str] = {}

    def wanted(topic: str, kind: str) -> bool:
        known = _kind(topic).partition("/")[0] in _KNOWN and kind in store.types
        return known and names.setdefault(_kind(topic), topic) == topic

    opened = open_bag(bag)
    read: dict[str, list[tuple[float, int, Any]]] = {}
    for batch in opened.batches(wanted):
        entries = read.setdefault(_kind(batch.topic), [])
        for log, raw in zip(batch.log, batch.payloads, strict=True):
            try:
                message = store.deserialize_cdr(raw, batch.kind)
            except Exception as error:  # it raises what it likes on damaged messages
                reason = " ".join(str(error).split()) or type(error).__name__
                wrong = f"a message is no {batch.kind}: {reason}"
                raise PolicyError.at(bag, batch.topic, wrong, "record it anew") from error
            entries.append((_stamp(message), log, message))
    return read, [f"{bag}: {note}" for note in opened.notes]


def _assembled(
    messages: _Messages, contract: Contract, teach: Callable[[Float32], Float32], notes: list[str]
) -> tuple[Float32, list[int]]:
    """Put observations together from a robot's topics."""
    assembler = Assembler(contract)
    sources = {text: parse_source(text) for text in assembler.sources}
    needed = {source.topic for source in sources.values()}
    missing = sorted(needed - messages.topics.keys() - _STILL)
    if missing:
        there = ", ".join(sorted(messages.topics)) or "none that this package knows"
        wrong = f"has no messages on {', '.join(missing)}, which the policy needs"
        raise PolicyError.at(messages.bag, "topics", wrong, f"it has {there}")
    silent = sorted(needed - messages.topics.keys())
    notes.extend(f"{messages.bag}: nothing on {topic}: taken as 0" for topic in silent)
    clock = next(t for t in (JOINT_STATES, IMU, ODOM, *sorted(needed)) if t in messages.topics)
    ticks = _ticks(np.array([at for at, _ in messages.topics[clock]]), contract.period)
    feeds = [_Feed(messages, topic, sources) for topic in sorted(needed)]
    acts = _Actions(messages, contract)
    remembered = {parse_source(channel.source).topic for channel in contract.observation}
    if remembered & {PREVIOUS_ACTION, PREVIOUS_OUTPUT} and not acts.known:
        notes.append(f"{messages.bag}: no actions: the policy's own answers stand in for them")
    if contract.gaits:
        notes.append("the gait's clock begins with the recording, and anew after each gap")
    rows: list[Float32] = []
    starts: list[int] = []
    last = -math.inf
    raw: dict[str, float] = {}
    for now in ticks:
        ready = True
        for feed in feeds:
            ready &= feed.advance(now, raw)
        if not ready:
            continue
        if now - last > _GAP * contract.period:
            assembler.reset()
            starts.append(len(rows))
        last = now
        seen = assembler.observation(raw)
        rows.append(seen)
        done = acts.after(now)
        assembler.acted(teach(seen[None])[0] if done is None else done)
    size = len(contract.observation)
    return np.array(rows, np.float32).reshape(-1, size), starts


class _Feed:
    """One topic's values as time goes on: the last good message counts."""

    def __init__(self, messages: _Messages, topic: str, sources: Mapping[str, Any]) -> None:
        self._messages, self._at = messages.topics.get(topic, []), 0
        self._sources = {text: s for text, s in sources.items() if s.topic == topic}
        self._ready = topic in _STILL
        self._still = dict.fromkeys(self._sources, 0.0) if self._ready else {}
        if topic == JOINT_STATES:
            self._check(messages.bag)

    def advance(self, now: float, raw: dict[str, float]) -> bool:
        """Write the values at ``now`` into ``raw``; return whether there are any yet."""
        for text, value in self._still.items():
            raw.setdefault(text, value)
        while self._at < len(self._messages) and self._messages[self._at][0] <= now + 1e-9:
            values = self._values(self._messages[self._at][1])
            if values is not None and all(map(math.isfinite, values.values())):
                raw.update(values)
                self._ready = True
            self._at += 1
        return self._ready

    def _values(self, message: Any) -> dict[str, float] | None:
        """Return the values of one message, None where it does not have them all."""
        result = {}
        for text, (topic, field, key) in self._sources.items():
            if topic == JOINT_STATES:
                place = list(message.name).index(key) if key in message.name else -1
                column = getattr(message, field)
                if not 0 <= place < len(column):
                    return None  # of other joints
                result[text] = float(column[place])
                continue
            path = MESSAGE_PATHS[topic.partition("/")[0], field]
            if topic == IMU and getattr(message, f"{path[0]}_covariance")[0] == -1:
                return None  # sensor_msgs/Imu says so where it does not measure this
            part = message.twist if topic == CMD_VEL and hasattr(message, "twist") else message
            for name in path:
                part = getattr(part, name)
            if field in ORIENTATIONS:
                seen = orientation_values(field, part.x, part.y, part.z, part.w)
                result[text] = seen["xyzw".index(key)]
            else:
                result[text] = float(getattr(part, key))
        return result

    def _check(self, bag: Path) -> None:
        """Refuse joints that no message has."""
        there = {name for _, message in self._messages for name in message.name}
        lacking = sorted({source.key for source in self._sources.values()} - there)
        if lacking:
            wrong = f"has no {', '.join(map(repr, lacking[:4]))}"
            raise PolicyError.at(
                bag, "joint_states", wrong, f"it has {', '.join(sorted(there)[:12]) or 'no names'}"
            )


class _Actions:
    """The actions that were sent, by time."""

    def __init__(self, messages: _Messages, contract: Contract) -> None:
        names = [action.name for action in contract.action]
        self._period = contract.period
        self._times: list[float] = []
        self._values: list[Float32] = []
        for at, message in messages.topics.get(_STAMPED, ()):
            given = list(message.name)
            if len(message.position) != len(names) or (given and set(given) != set(names)):
                continue
            order = [given.index(name) for name in names] if given else slice(None)
            self._times.append(at)
            self._values.append(np.asarray(message.position, np.float32)[order])
        if not self._times:
            for at, message in messages.topics.get(_ACTION, ()):
                if len(getattr(message, "data", ())) == len(names):
                    self._times.append(at)
                    self._values.append(np.asarray(message.data, np.float32))

    @property
    def known(self) -> bool:
        """Whether there are any."""
        return bool(self._times)

    def after(self, now: float) -> Float32 | None:
        """Return the action of the tick at ``now``: the last one before the next tick."""
        place = int(np.searchsorted(self._times, now + self._period - 1e-6)) - 1
        if place < 0 or now - self._times[place] > self._period:
            return None
        return self._values[place]


def _ticks(times: NDArray[np.float64], period: float) -> NDArray[np.float64]:
    """Return the times of the control periods: of the messages where they come at that rate."""
    new = times[np.concatenate(([True], np.diff(times) > 0))]
    if len(new) < 2:
        return new
    usual = float(np.median(np.diff(new)))
    if abs(usual - period) <= _SAME_RATE * period:
        return new
    return np.arange(new[0], new[-1], period)


def _kind(topic: str) -> str:
    """Return what a topic is called here: its name without a robot's namespace."""
    parts = topic.strip("/").split("/")
    for index, part in enumerate(parts):
        if part in (TWIST, POSE, WRENCH):
            return "/".join(parts[index:])
    return parts[-1]


def _stamp(message: Any) -> float:
    """Return when a message was made by its own stamp, s; 0 where it has none."""
    stamp = getattr(getattr(message, "header", None), "stamp", None)
    return 0.0 if stamp is None else float(stamp.sec + stamp.nanosec * _SECOND)
