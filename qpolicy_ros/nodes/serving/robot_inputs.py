"""The last good values of a robot's topics, found by name and checked; no rclpy in here.

A message that does not fit is refused with a reason and changes nothing: what it should have
brought is missed, as if it had not come.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from qpolicy_ros.nodes.serving.odometry import OdometryCheck, into_child
from qpolicy_ros.policy import Channel, Contract, ObservationError
from qpolicy_ros.policy.model import DEFAULT, HOLD
from qpolicy_ros.policy.sources import (
    CMD_VEL,
    IMU,
    JOINT_STATES,
    MESSAGE_PATHS,
    ODOM,
    ORIENTATIONS,
    POSE,
    TWIST,
    WRENCH,
    Source,
    orientation_values,
    parse_source,
)

_SECOND_NS = 1_000_000_000
_UNIT = (0.9, 1.1)  # squared length of a quaternion
_NAMES_SHOWN = 4
_COMMAND_LIMIT = 1.0  # s, of a `cmd_vel` for which the policy gives no limit


_TWIST = ("linear_velocity", "angular_velocity")


class Topic:
    """One topic's share of the raw values.

    Attributes:
        name: as in the sources.
        kind: the name without what tells it from others of its kind: which message it carries.
        places: where its values lie in the vector of all raw values.
        stand_ins: what replaces a missed value, None for the last one.
        values: the last good ones.
        stamp: of the last good message, ``(sec, nanosec)``.
        arrived_ns: monotonic time of its arrival, None before the first.
        problem: why the last message was refused, empty if it was not.
        missed: ticks for which its values were too old.
        repeated: messages that had the stamp of the one before.
    """

    def __init__(self, name: str, limit_ns: float) -> None:
        self.name = name
        self.kind = name.partition("/")[0]
        self.limit_ns = limit_ns
        self.places: list[int] = []
        self.sources: list[Source] = []
        self.stand_ins: list[float | None] = []
        self.values: list[float] = []
        self.stamp = (0, 0)
        self.arrived_ns: int | None = None
        self.problem = ""
        self.missed = self.repeated = 0

    @property
    def held(self) -> bool:
        """Whether the policy cannot do without it: some value has nothing to stand in for it."""
        return None in self.stand_ins

    def held_ns(self, timeout_ns: int) -> float:
        """How old its values may get, ns: the longer of ``timeout_ns`` and its own limit."""
        if not timeout_ns:
            return math.inf
        return max(timeout_ns, 0 if math.isinf(self.limit_ns) else self.limit_ns)


class RobotInputs:
    """Takes a robot's messages and gives the raw values of one tick.

    Args:
        contract: of a robot.
        sources: those of the contract's :class:`~qpolicy_ros.policy.Assembler`.
        position_commands: whether the actions are joint positions; a measured position far
            outside their limits is then refused, as one in degrees would be.
        timeless: no message ever gets too old, as in lock-step.
        stamped_commands: ``cmd_vel`` carries ``TwistStamped``, not ``Twist``.
        world_twist: the twist of ``odom`` is in the world's frame, not in the child's.
        clock: the robot's time, ns: monotonic, or simulated.

    Attributes:
        topics: those that the policy needs, by name.
        refused: messages refused, by reason.
        pose: measured positions of the joints that are actions, by name.
    """

    def __init__(
        self,
        contract: Contract,
        sources: Sequence[str],
        *,
        position_commands: bool = True,
        timeless: bool = False,
        stamped_commands: bool = False,
        world_twist: bool = False,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        limits = dict(contract.time_limits)
        channels = {channel.source: channel for channel in contract.observation}
        self.topics: dict[str, Topic] = {}
        for place, text in enumerate(sources):
            # What only a gait's standing rule listens to is no channel.
            source, channel = parse_source(text), channels.get(text, Channel(text, text))
            # Who commands may fall silent: then the robot is to stand, not to wait.
            commanded = source.topic == CMD_VEL
            unlimited = _COMMAND_LIMIT if commanded else math.inf
            limit = math.inf if timeless else limits.get(source.topic, unlimited) * _SECOND_NS
            topic = self.topics.setdefault(source.topic, Topic(source.topic, limit))
            topic.places.append(place)
            topic.sources.append(source)
            zero_or_default = channel.default if channel.missed == DEFAULT else 0.0
            held = channel.missed == HOLD and not commanded
            topic.stand_ins.append(None if held else zero_or_default)
        self.refused: Counter[str] = Counter()
        self.pose: dict[str, float] = {}
        self._actions = {action.name: action for action in contract.action}
        self._position_commands = position_commands
        self._world_twist = world_twist
        self._paths = dict(MESSAGE_PATHS)
        if stamped_commands:
            self._paths |= {(CMD_VEL, field): ("twist", field) for field in ("linear", "angular")}
        self.odometry = OdometryCheck(world_twist=world_twist)
        self._clock = clock
        self._raw = [0.0] * len(sources)
        self._names: list[str] = []
        self._index: dict[str, int] = {}
        self._takers: dict[str, Callable[[Topic, Any], list[float] | None]] = {
            JOINT_STATES: self._joints,
            IMU: self._imu,
            ODOM: self._vectors,
            CMD_VEL: self._vectors,
            TWIST: self._vectors,
            POSE: self._vectors,
            WRENCH: self._vectors,
        }

    def take(self, name: str, message: Any) -> bool:
        """Take a message of the topic ``name``; a wrong one is refused, counted and named.

        Returns:
            Whether its values are new ones.
        """
        topic = self.topics[name]
        header = getattr(message, "header", None)
        stamp = (header.stamp.sec, header.stamp.nanosec) if header else (0, 0)
        if stamp != (0, 0) and stamp == topic.stamp:
            topic.repeated += 1  # a sensor that has frozen sends its last message again
            return False
        try:
            values = self._takers[topic.kind](topic, message)
            if values is None:
                return False
            _refuse_non_finite(topic, values)
        except ObservationError as error:
            topic.problem = f"{error.reason}: {error}"
            self.refused[error.reason] += 1
            return False
        topic.values, topic.stamp, topic.problem = values, stamp, ""
        topic.arrived_ns = self._clock()
        return True

    def rebase(self, now_ns: int) -> None:
        """Count ages from ``now_ns`` on: the robot's clock has gone back."""
        for topic in self.topics.values():
            if topic.arrived_ns is not None:
                topic.arrived_ns = min(topic.arrived_ns, now_ns)

    def read(self, now_ns: int, timeout_ns: int = 0) -> list[float]:
        """Return the raw values of a tick, in the order of the sources.

        Args:
            now_ns: monotonic time of the tick.
            timeout_ns: how long values may be held; 0 = for ever.

        Raises:
            ObservationError: ``waiting`` before a needed topic's first good message, ``stale``
                when it is older than ``timeout_ns``; the text names topic and cause.
        """
        for topic in self.topics.values():
            age = math.inf if topic.arrived_ns is None else now_ns - topic.arrived_ns
            held_ns = topic.held_ns(timeout_ns)
            values: Sequence[float] = topic.values
            if topic.arrived_ns is None or age > min(topic.limit_ns, held_ns):
                self._check_held(topic, age, held_ns)
                topic.missed += 1
                last = topic.values or [0.0] * len(topic.places)
                values = [
                    value if stand_in is None else stand_in
                    for value, stand_in in zip(last, topic.stand_ins, strict=True)
                ]
            for place, value in zip(topic.places, values, strict=True):
                self._raw[place] = value
        return self._raw

    def stamps(self) -> list[tuple[int, int]]:
        """Return the stamps of the topics that have one, in the order of the sources."""
        return [topic.stamp for name, topic in self.topics.items() if name != CMD_VEL]

    @property
    def used_names(self) -> list[str]:
        """Names of the values of :meth:`used`."""
        stamped = [name for name in self.topics if name != CMD_VEL]
        return [f"age.{name}" for name in self.topics] + [f"stamp.{name}" for name in stamped]

    def used(self, now_ns: int) -> list[float]:
        """Say which messages a tick used, µs: their ages, and their stamps from the first's on."""
        ages = [
            math.nan if topic.arrived_ns is None else (now_ns - topic.arrived_ns) / 1000.0
            for topic in self.topics.values()
        ]
        stamps = self.stamps()
        first = stamps[0] if stamps else (0, 0)
        apart = [
            ((sec - first[0]) * _SECOND_NS + nanosec - first[1]) / 1000.0 for sec, nanosec in stamps
        ]
        return ages + apart

    def oldest_ns(self, now_ns: int) -> int:
        """Return when the oldest of the measured values arrived."""
        arrived = [t.arrived_ns for name, t in self.topics.items() if name != CMD_VEL]
        return min((at for at in arrived if at is not None), default=now_ns)

    def _check_held(self, topic: Topic, age: float, held_ns: float) -> None:
        if not topic.held:
            return
        why = f" ({topic.problem})" if topic.problem else ""
        if topic.arrived_ns is None:
            raise ObservationError("waiting", f"nothing usable on {topic.name!r} yet{why}")
        if age > held_ns:
            seconds = f"{held_ns / _SECOND_NS:g} s"
            raise ObservationError("stale", f"nothing usable on {topic.name!r} for {seconds}{why}")

    # Messages

    def _joints(self, topic: Topic, message: Any) -> list[float] | None:
        names = message.name
        if names != self._names:
            index = {name: place for place, name in enumerate(names)}
            if not any(source.key in index for source in topic.sources):
                if topic.arrived_ns is None:
                    self._refuse_missing(topic, index)
                return None  # the gripper's, say
            self._refuse_missing(topic, index)
            if len(index) != len(names):
                twice = next(name for name, count in Counter(names).items() if count > 1)
                raise ObservationError("extra", f"joint_states: {twice!r} is given twice")
            self._index, self._names = index, list(names)
        index, columns = self._index, {}
        for field in {source.field for source in topic.sources} | {"position"}:
            columns[field] = getattr(message, field)
        for source in topic.sources:
            if len(columns[source.field]) != len(names):
                found = len(columns[source.field])
                text = f"joint_states: {found} values of {source.field} for {len(names)} names"
                raise ObservationError("wrong_length", text)
        if len(columns["position"]) == len(names):
            self._measure(index, columns["position"])
        return [columns[source.field][index[source.key]] for source in topic.sources]

    def _measure(self, index: dict[str, int], positions: Sequence[float]) -> None:
        """Remember the pose; refuse one that no joint within its limits can be near."""
        pose = {name: positions[index[name]] for name in self._actions if name in index}
        for name, value in pose.items():
            if not math.isfinite(value):
                raise ObservationError(
                    "non_finite", f"joint_states: position of {name!r} is {value}"
                )
        if self._position_commands:
            for name, value in pose.items():
                action = self._actions[name]
                span = action.high - action.low
                if value < action.low - span or value > action.high + span:
                    text = (
                        f"joint_states: position of {name!r} is {value:g}, its commands are "
                        f"{action.low:g} to {action.high:g}: is it in degrees, not rad?"
                    )
                    raise ObservationError("implausible", text)
        self.pose = pose

    def _refuse_missing(self, topic: Topic, index: dict[str, int]) -> None:
        missing = [s.key for s in topic.sources if s.key not in index]
        if missing:
            text = f"joint_states: {_list(missing)} missing; it has {_list(list(index))}"
            raise ObservationError("missing", text)

    def _imu(self, topic: Topic, message: Any) -> list[float]:
        for field in {MESSAGE_PATHS[IMU, source.field][0] for source in topic.sources}:
            if getattr(message, f"{field}_covariance")[0] == -1:  # sensor_msgs/Imu says so
                raise ObservationError("missing", f"imu: it gives no {field} (covariance -1)")
        return self._vectors(topic, message)

    def _vectors(self, topic: Topic, message: Any) -> list[float]:
        values = []
        read: dict[str, tuple[float, ...]] = {}
        for source in topic.sources:
            field = source.field
            if field not in read:
                read[field] = self._vector(topic, message, field)
            values.append(read[field]["xyzw".index(source.key)])
        if topic.name == ODOM and not read.keys().isdisjoint(_TWIST):
            self.odometry.take(message)
        return values

    def _vector(self, topic: Topic, message: Any, field: str) -> tuple[float, ...]:
        """Return a field's values in the order of x, y, z, w, as the policy is to see them."""
        vector = message
        for part in self._paths[topic.kind, field]:
            vector = getattr(vector, part)
        if field in ORIENTATIONS:
            quaternion = vector.x, vector.y, vector.z, vector.w
            _check_unit(topic.name, *quaternion)
            return orientation_values(field, *quaternion)
        result = (vector.x, vector.y, vector.z)
        if self._world_twist and topic.name == ODOM and field in _TWIST:
            turned = message.pose.pose.orientation
            _check_unit(topic.name, turned.x, turned.y, turned.z, turned.w)
            return into_child(turned, result)
        return result


def _check_unit(topic: str, x: float, y: float, z: float, w: float) -> None:
    square = x * x + y * y + z * z + w * w
    if math.isfinite(square) and not _UNIT[0] < square < _UNIT[1]:
        text = f"{topic}: orientation has length {math.sqrt(square):.3g}, not 1"
        raise ObservationError("implausible", text)


def _refuse_non_finite(topic: Topic, values: Sequence[float]) -> None:
    for source, value in zip(topic.sources, values, strict=True):
        if not math.isfinite(value):
            text = f"{topic.name}: {source.field} of {source.key!r} is {value}"
            raise ObservationError("non_finite", text)


def _list(names: Sequence[str]) -> str:
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return (", ".join(repr(name) for name in names[:_NAMES_SHOWN]) or "no joint") + more
