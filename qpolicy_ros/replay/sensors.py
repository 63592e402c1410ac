"""A robot's recorded messages, field by field and by the thousand.

What the policy node refuses is refused here too, by the same rules, see
:class:`~qpolicy_ros.nodes.serving.robot_inputs.RobotInputs`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from qpolicy_ros.latency.cdr import CdrError, joint_groups
from qpolicy_ros.latency.trace import JOINT_STATE
from qpolicy_ros.policy import Contract
from qpolicy_ros.policy.sources import CMD_VEL, IMU, JOINT_STATES, ODOM, Source, parse_source

Doubles = npt.NDArray[np.float64]
Nanos = npt.NDArray[np.int64]

#: Type of each topic that a robot's policy may take.
KINDS = {
    JOINT_STATES: JOINT_STATE,
    IMU: "sensor_msgs/msg/Imu",
    ODOM: "nav_msgs/msg/Odometry",
    CMD_VEL: "geometry_msgs/msg/Twist",
}

_HEAD = 4  # bytes of encapsulation; alignment counts from there
_NANOSECONDS = 1_000_000_000
_UNIT = (0.9, 1.1)  # squared length of a quaternion

# Strings behind the stamp, number of values, and the place of each field's first.
_SHAPES: dict[str, tuple[int, int, dict[str, int]]] = {
    IMU: (
        1,
        37,
        {
            "orientation": 0,
            "projected_gravity": 0,
            "angular_velocity": 13,
            "linear_acceleration": 25,
        },
    ),
    ODOM: (
        2,
        85,
        {"position": 0, "orientation": 3, "linear_velocity": 43, "angular_velocity": 46},
    ),
    CMD_VEL: (0, 6, {"linear": 0, "angular": 3}),
}  # fmt: skip
# Where the nine values are that begin with -1 if an Imu does not give the field.
_COVARIANCES = {
    "orientation": 4,
    "projected_gravity": 4,
    "angular_velocity": 16,
    "linear_acceleration": 28,
}


@dataclass
class Sensor:
    """Messages of one topic, in the order of the recording.

    Attributes:
        name: as in the sources.
        places: order of arrival among the messages of all topics, ascending, int64 (k,).
        times: when they were sent, else when they arrived, int64 (k,), ns.
        stamps: ``header.stamp``, int64 (k,), ns; 0 of a topic without.
        values: float64 (k, sources), in the order of the topic's sources.
        problems: why the policy node refuses the message, ``reason: text``; empty if it does not.
        positions: measured joints that are actions, float64 (k, m), NaN where a message has none.
    """

    name: str
    places: Nanos
    times: Nanos
    stamps: Nanos
    values: Doubles
    problems: npt.NDArray[np.object_]
    positions: Doubles = field(default_factory=lambda: np.empty((0, 0)))

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """Which messages the policy node takes."""
        return np.asarray(self.problems == "")

    @property
    def others(self) -> npt.NDArray[np.bool_]:
        """Which messages are of somebody else, a gripper's joints, say."""
        return np.array([str(each).startswith("other:") for each in self.problems], bool)


def read_sensor(
    name: str,
    places: Nanos,
    times: Nanos,
    payloads: Sequence[bytes],
    contract: Contract,
    *,
    pose: bool,
) -> Sensor:
    """Read all messages of the topic ``name``.

    Args:
        name: one of :data:`KINDS`.
        places: as of :class:`Sensor`.
        times: as of :class:`Sensor`.
        payloads: serialized messages.
        contract: of a robot.
        pose: whether actions are joint positions, so that implausible ones are refused.

    Raises:
        CdrError: a message is not of the topic's type.
    """
    sources = sources_of(contract, name)
    if name == JOINT_STATES:
        return _joints(places, times, payloads, sources, contract, pose=pose)
    strings, count, starts = _SHAPES[name]
    stamps, raw = _doubles(payloads, strings, count)
    problems = np.full(len(times), "", object)
    columns = []
    for source in sources:
        start = starts[source.field]
        if source.field in {"orientation", "projected_gravity"}:
            square = (raw[:, start : start + 4] ** 2).sum(axis=1)
            wrong = np.isfinite(square) & ~((_UNIT[0] < square) & (square < _UNIT[1]))
            for index in np.flatnonzero(wrong):
                length = np.sqrt(square[index])
                text = f"implausible: {name}: orientation has length {length:.3g}, not 1"
                problems[index] = problems[index] or text
        if name == IMU:
            absent = raw[:, _COVARIANCES[source.field]] == -1
            what = "orientation" if source.field == "projected_gravity" else source.field
            for index in np.flatnonzero(absent):
                text = f"missing: imu: it gives no {what} (covariance -1)"
                problems[index] = problems[index] or text
        if source.field == "projected_gravity":
            columns.append(_gravity(raw[:, start : start + 4], "xyz".index(source.key)))
        else:
            columns.append(raw[:, start + "xyzw".index(source.key)])
    values = np.stack(columns, axis=1) if columns else np.empty((len(times), 0))
    _mark_non_finite(problems, values, name, sources)
    return Sensor(name, places, times, stamps, values, problems)


def sources_of(contract: Contract, topic: str) -> list[Source]:
    """Return the contract's sources on ``topic``, each once, in order."""
    parsed = [parse_source(channel.source) for channel in contract.observation]
    return list(dict.fromkeys(source for source in parsed if source.topic == topic))


def _joints(  # noqa: C901 one check after another, as the node has them
    places: Nanos,
    times: Nanos,
    payloads: Sequence[bytes],
    sources: list[Source],
    contract: Contract,
    *,
    pose: bool,
) -> Sensor:
    count = len(times)
    stamps = np.zeros(count, np.int64)
    values = np.full((count, len(sources)), np.nan)
    positions = np.full((count, len(contract.action)), np.nan)
    problems = np.full(count, "", object)
    fields = {"position": "positions", "velocity": "velocities", "effort": "efforts"}
    for group in joint_groups(payloads) if count else []:
        rows, names = group.rows, group.names
        stamps[rows] = group.stamps
        place = {joint: index for index, joint in enumerate(names)}
        missing = [source.key for source in sources if source.key not in place]
        if missing and len(missing) == len(sources):
            problems[rows] = "other: it has none of the policy's joints"  # the gripper's, say
            continue
        if missing:
            problems[rows] = f"missing: joint_states: {missing[0]!r} missing"
            continue
        if len(place) != len(names):
            problems[rows] = "extra: joint_states: a joint is given twice"
            continue
        short = [s.field for s in sources if getattr(group, fields[s.field]).shape[1] != len(names)]
        if short:
            found = getattr(group, fields[short[0]]).shape[1]
            text = f"{found} values of {short[0]} for {len(names)} names"
            problems[rows] = f"wrong_length: joint_states: {text}"
            continue
        for column, source in enumerate(sources):
            values[rows, column] = getattr(group, fields[source.field])[:, place[source.key]]
        if group.positions.shape[1] == len(names):
            for column, action in enumerate(contract.action):
                if action.name in place:
                    positions[rows, column] = group.positions[:, place[action.name]]
    _mark_non_finite(problems, values, JOINT_STATES, sources)
    if pose:
        for column, action in enumerate(contract.action):
            given, span = positions[:, column], action.high - action.low
            with np.errstate(invalid="ignore"):
                far = (given < action.low - span) | (given > action.high + span)
            for index in np.flatnonzero(far):
                text = (
                    f"implausible: joint_states: position of {action.name!r} is {given[index]:g}, "
                    f"its commands are {action.low:g} to {action.high:g}"
                )
                problems[index] = problems[index] or text
    return Sensor(JOINT_STATES, places, times, stamps, values, problems, positions)


def _mark_non_finite(
    problems: npt.NDArray[np.object_], values: Doubles, name: str, sources: list[Source]
) -> None:
    finite = np.isfinite(values)
    for index in np.flatnonzero(~finite.all(axis=1)):
        column = int(np.argmin(finite[index]))
        source, value = sources[column], values[index, column]
        text = f"non_finite: {name}: {source.field} of {source.key!r} is {value}"
        problems[index] = problems[index] or text


def _gravity(quaternions: Doubles, axis: int) -> Doubles:
    """One axis of :func:`~qpolicy_ros.policy.sources.projected_gravity`, in the same order."""
    x, y, z, w = quaternions.T
    square = x * x + y * y + z * z + w * w
    with np.errstate(invalid="ignore", divide="ignore"):
        if axis == 0:
            found = 2 * (y * w - x * z) / square
        elif axis == 1:
            found = -2 * (y * z + x * w) / square
        else:
            found = (x * x + y * y - z * z - w * w) / square
    return np.where(square > 0, found, np.nan)


def _doubles(payloads: Sequence[bytes], strings: int, count: int) -> tuple[Nanos, Doubles]:
    """Return stamps (k,) and the ``count`` values (k, count) behind ``strings`` texts."""
    stamps = np.zeros(len(payloads), np.int64)
    values = np.empty((len(payloads), count))
    places: dict[tuple[int, int, str], list[int]] = {}
    for index, payload in enumerate(payloads):
        try:
            order = "<" if payload[1] & 1 else ">"
            place = _HEAD
            if strings:
                place += 8
                for _ in range(strings):
                    place += -(place - _HEAD) % 4
                    place += 4 + struct.unpack_from(f"{order}I", payload, place)[0]
                place += -(place - _HEAD) % 8
        except (struct.error, IndexError) as error:
            raise CdrError("a message is cut or of another type") from error
        if place + 8 * count > len(payload):
            raise CdrError("a message is cut or of another type")
        places.setdefault((place, len(payload), order), []).append(index)
    for (place, _, order), rows in places.items():
        joined = b"".join([payloads[row] for row in rows])
        block = np.frombuffer(joined, np.uint8).reshape(len(rows), -1)
        content = np.ascontiguousarray(block[:, place : place + 8 * count])
        values[rows] = content.view(f"{order}f8")
        if strings:
            head = np.ascontiguousarray(block[:, _HEAD : _HEAD + 8])
            parts = head.view(f"{order}i4").astype(np.int64)
            stamps[rows] = parts[:, 0] * _NANOSECONDS + (parts[:, 1] & 0xFFFF_FFFF)
    return stamps, values
