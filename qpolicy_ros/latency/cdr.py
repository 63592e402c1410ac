"""Reads serialized ``sensor_msgs/JointState`` messages by the thousand.

Messages of one topic differ in a few numbers only. The first of each length is read field by
field; those that equal it everywhere but in stamp, frame and positions are read all at once.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_AT_ONCE = 2000  # messages
_HEAD = 4  # bytes of encapsulation; alignment counts from there
_STAMP_END = _HEAD + 8
_NANOSECONDS = 1_000_000_000


class CdrError(ValueError):
    """A message is not what its type says."""


class JointStates(NamedTuple):
    """Fields of n messages of m positions.

    Attributes:
        stamps: int64 (n,), ns.
        frames: ``header.frame_id`` (n,).
        names: the m names that all of them have.
        positions: float64 (n, m).
    """

    stamps: npt.NDArray[np.int64]
    frames: npt.NDArray[np.str_]
    names: tuple[str, ...]
    positions: npt.NDArray[np.float64]


class Group(NamedTuple):
    """Those of many messages that have the same names and lengths.

    Attributes:
        rows: which messages, ascending, (n,).
        stamps, frames, names, positions: as of :class:`JointStates`.
        velocities, efforts: float64 (n, as many as the messages have, often none).
    """

    rows: npt.NDArray[np.intp]
    stamps: npt.NDArray[np.int64]
    frames: npt.NDArray[np.str_]
    names: tuple[str, ...]
    positions: npt.NDArray[np.float64]
    velocities: npt.NDArray[np.float64]
    efforts: npt.NDArray[np.float64]


class _Layout(NamedTuple):
    """Where the fields of one message are: offsets in bytes."""

    frame: slice
    names: tuple[str, ...]
    positions: slice
    velocities: slice
    efforts: slice
    order: str


def stamps(payloads: Sequence[bytes]) -> npt.NDArray[np.int64]:
    """Return ``header.stamp`` of messages that begin with a header, int64 (n,), ns.

    Raises:
        CdrError: a message is too short.
    """
    heads = b"".join([payload[:_STAMP_END] for payload in payloads])
    if len(heads) != _STAMP_END * len(payloads):
        raise CdrError(f"a message is shorter than {_STAMP_END} bytes")
    rows = np.frombuffer(heads, np.uint8).reshape(-1, _STAMP_END)
    return _stamps(rows)


def joint_states(payloads: Sequence[bytes]) -> JointStates:
    """Return the fields of one or more messages.

    Raises:
        CdrError: a message does not fit its type, or names or lengths differ between messages.
    """
    found = joint_groups(payloads)
    for group in found:
        if group.names and group.positions.shape[1] != len(group.names):
            wrong = f"{len(group.names)} names and {group.positions.shape[1]} values"
            raise CdrError(f"a message has {wrong}")
    order = np.argsort(np.concatenate([group.rows for group in found]), kind="stable")
    all_ = join([JointStates(*group[1:5]) for group in found])
    return JointStates(all_.stamps[order], all_.frames[order], all_.names, all_.positions[order])


def joint_groups(payloads: Sequence[bytes]) -> list[Group]:
    """Return the fields of any messages, a group for each list of names and lengths.

    Raises:
        CdrError: a message does not fit its type.
    """
    lengths = np.fromiter(map(len, payloads), np.int64, len(payloads))
    found = []
    for length in sorted(set(lengths.tolist())):
        left = np.flatnonzero(lengths == length)
        joined = b"".join([payloads[int(index)] for index in left])
        rows = np.frombuffer(joined, np.uint8).reshape(len(left), -1)
        while len(left):
            layout = _layout(rows[0].tobytes())
            same = _same(rows, layout)
            found.append(_read(left[same], rows[same], layout))
            left, rows = left[~same], rows[~same]
    return found


def join(parts: Sequence[JointStates]) -> JointStates:
    """Return the messages of all parts, one after another.

    Raises:
        CdrError: the names, or without names the lengths, differ between parts.
    """
    names = {each.names for each in parts}
    if len(names) > 1:
        raise CdrError(f"names change: {' and '.join(map(str, sorted(names)[:2]))}")
    lengths = {each.positions.shape[1] for each in parts}
    if len(lengths) > 1:
        raise CdrError(f"lengths change: {' and '.join(map(str, sorted(lengths)[:2]))} values")
    return JointStates(
        np.concatenate([each.stamps for each in parts]),
        np.concatenate([each.frames for each in parts]),
        parts[0].names,
        np.concatenate([each.positions for each in parts]),
    )


def _same(rows: npt.NDArray[np.uint8], layout: _Layout) -> npt.NDArray[np.bool_]:
    """Whether each row equals the first but for stamp, frame and values."""
    free = [slice(_HEAD, _STAMP_END), layout.frame]
    free += [layout.positions, layout.velocities, layout.efforts]
    free.sort(key=lambda span: (span.start, span.stop))
    ends = [span.start for span in free] + [rows.shape[1]]
    begins = [0] + [span.stop for span in free]
    same = np.ones(len(rows), bool)
    for start in range(0, len(rows), _AT_ONCE):  # as many as a processor keeps at hand
        part = slice(start, start + _AT_ONCE)
        for begin, end in zip(begins, ends, strict=True):
            if begin < end:
                same[part] &= (rows[part, begin:end] == rows[0, begin:end]).all(axis=1)
    return same


def _read(index: npt.NDArray[np.intp], rows: npt.NDArray[np.uint8], layout: _Layout) -> Group:
    def values(place: slice) -> npt.NDArray[np.float64]:
        if place.start == place.stop:
            return np.empty((len(rows), 0))
        content = np.ascontiguousarray(rows[:, place])
        return content.view(f"{layout.order}f8").astype(np.float64)

    frame = np.ascontiguousarray(rows[:, layout.frame])
    width = frame.shape[1]
    raw = frame.view(f"S{width}").ravel() if width else np.full(len(rows), b"")
    if (raw == raw[0]).all():
        frames = np.full(len(raw), raw[0].decode("utf-8", "replace"))
    else:
        frames = np.char.decode(raw, "utf-8", "replace")
    columns = map(values, (layout.positions, layout.velocities, layout.efforts))
    return Group(index, _stamps(rows), frames, layout.names, *columns)


def _stamps(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    seconds = np.empty(len(rows), np.int64)
    nanoseconds = np.empty(len(rows), np.int64)
    little = rows[:, 1] & 1 == 1
    for chosen, order in ((little, "<"), (~little, ">")):
        part = np.ascontiguousarray(rows[chosen, _HEAD:_STAMP_END])
        seconds[chosen] = part[:, :4].copy().view(f"{order}i4").ravel()
        nanoseconds[chosen] = part[:, 4:].copy().view(f"{order}u4").ravel()
    return seconds * _NANOSECONDS + nanoseconds


def _layout(message: bytes) -> _Layout:
    """Read one message field by field."""
    try:
        order = "<" if message[1] & 1 else ">"
        place = _STAMP_END
        length, place = _count(message, place, order)
        frame = slice(place, place + max(length - 1, 0))  # a terminating zero is counted
        place += length
        count, place = _count(message, place, order)
        names = []
        for _ in range(count):
            length, place = _count(message, place, order)
            names.append(message[place : place + max(length - 1, 0)].decode())
            place += length
        spans = []
        for _ in range(3):
            count, place = _count(message, place, order)
            place += -(place - _HEAD) % 8 if count else 0
            spans.append(slice(place, place + 8 * count))
            place += 8 * count
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise CdrError("a message is cut or of another type") from error
    if max(frame.stop, place) > len(message):
        raise CdrError("a message is cut or of another type")
    return _Layout(frame, tuple(names), spans[0], spans[1], spans[2], order)


def _count(message: bytes, place: int, order: str) -> tuple[int, int]:
    """Return the uint32 at the next multiple of four, and the offset behind it."""
    place += -(place - _HEAD) % 4
    (value,) = struct.unpack_from(f"{order}I", message, place)
    return value, place + 4
