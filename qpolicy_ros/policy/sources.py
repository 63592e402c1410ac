"""Where a robot's observation values come from: the grammar of ``Channel.source``.

========================================  =====================================================
``feature``                               position in a feature vector
``joint_states.position:<joint>``         also ``velocity``, ``effort`` (sensor_msgs/JointState)
``imu.orientation:x|y|z|w``               quaternion of the body in the world (sensor_msgs/Imu)
``imu.angular_velocity:x|y|z``            rad/s, body frame; also ``linear_acceleration``, m/s²
``imu.projected_gravity:x|y|z``           gravity's unit vector in the body frame
``odom.position:x|y|z``                   m; also ``orientation:x|y|z|w`` (nav_msgs/Odometry)
``odom.linear_velocity:x|y|z``            m/s, child frame; also ``angular_velocity``, rad/s
``cmd_vel.linear:x|y|z``                  m/s; also ``angular``, rad/s (geometry_msgs/Twist)
``twist.linear:x|y|z``                    also ``angular`` (geometry_msgs/TwistStamped)
``pose.position:x|y|z``                   also ``orientation`` (geometry_msgs/PoseStamped)
``wrench.force:x|y|z``                    N; also ``torque``, N m (geometry_msgs/WrenchStamped)
``previous_action:<action name>``         the last published action, actuator units
``previous_output:<action name>``         the network's last own output, before scale and offset
``history.<k>:<channel name>``            the value of another channel ``k`` ticks ago
``gait.cos:<gait name>``                  also ``sin``; ``fraction`` of a cycle, 0 to 1
``constant:<number>``                     that number at every tick
========================================  =====================================================

A robot with several of one kind names them: ``wrench/left_foot.force:z`` is of the topic
``wrench/left_foot``; ``twist`` and ``pose`` likewise.
"""

from __future__ import annotations

import functools
import math
import re
from typing import NamedTuple

from qpolicy_ros.policy.model import FEATURE

JOINT_STATES, IMU, ODOM, CMD_VEL = "joint_states", "imu", "odom", "cmd_vel"
TWIST, POSE, WRENCH = "twist", "pose", "wrench"
PREVIOUS_ACTION, PREVIOUS_OUTPUT = "previous_action", "previous_output"
HISTORY, GAIT, CONSTANT = "history", "gait", "constant"

#: What the standing rule of a gait listens to: vx, vy and wz.
COMMAND = (f"{CMD_VEL}.linear:x", f"{CMD_VEL}.linear:y", f"{CMD_VEL}.angular:z")
GAIT_FIELDS = ("cos", "sin", "fraction")

MAX_HISTORY = 100

_ROUNDING = 1e-6  # of a unit quaternion's squared length, sent as float32

_XYZ, _XYZW = ("x", "y", "z"), ("x", "y", "z", "w")

#: Topic -> field -> keys; no keys means any joint's name.
TOPICS: dict[str, dict[str, tuple[str, ...]]] = {
    JOINT_STATES: {"position": (), "velocity": (), "effort": ()},
    IMU: {
        "orientation": _XYZW,
        "angular_velocity": _XYZ,
        "linear_acceleration": _XYZ,
        "projected_gravity": _XYZ,
    },
    ODOM: {
        "position": _XYZ,
        "orientation": _XYZW,
        "linear_velocity": _XYZ,
        "angular_velocity": _XYZ,
    },
    CMD_VEL: {"linear": _XYZ, "angular": _XYZ},
    TWIST: {"linear": _XYZ, "angular": _XYZ},
    POSE: {"position": _XYZ, "orientation": _XYZW},
    WRENCH: {"force": _XYZ, "torque": _XYZ},
}
#: Topics of which a robot may have several, ``<kind>/<name>``.
_NAMED = (TWIST, POSE, WRENCH)
_INNER = (PREVIOUS_ACTION, PREVIOUS_OUTPUT, HISTORY, GAIT, CONSTANT)
_UNITS = {
    "position": "m",
    "orientation": "1",
    "angular_velocity": "rad/s",
    "linear_velocity": "m/s",
    "linear_acceleration": "m/s²",
    "projected_gravity": "1",
    "linear": "m/s",
    "angular": "rad/s",
    "force": "N",
    "torque": "N m",
}
_JOINT_UNITS = {"position": "rad", "velocity": "rad/s", "effort": "N m"}


class Source(NamedTuple):
    """A parsed source.

    Attributes:
        topic: one of :data:`TOPICS`, perhaps with ``/<name>``; ``feature``; or one of the policy's
            own: ``previous_action``, ``previous_output``, ``history``, ``gait``, ``constant``.
        field: field of the message; of a history, how many ticks ago.
        key: joint, axis, action, channel, gait or number.
    """

    topic: str
    field: str
    key: str

    @property
    def kind(self) -> str:
        """The topic without the name that tells it from others of its kind."""
        return self.topic.partition("/")[0]

    @property
    def external(self) -> bool:
        """Whether the value comes from a topic of the robot."""
        return self.kind in TOPICS

    @property
    def ticks(self) -> int:
        """How many ticks ago, of a history."""
        return int(self.field)

    @property
    def unit(self) -> str:
        """Of the raw value, empty where the source does not say it."""
        if self.topic == JOINT_STATES:
            return _JOINT_UNITS[self.field]
        if self.topic in (PREVIOUS_OUTPUT, GAIT):
            return "1"
        return _UNITS.get(self.field, "") if self.external else ""


@functools.lru_cache(maxsize=4096)
def parse_source(text: str) -> Source:
    """Take a source apart.

    Raises:
        ValueError: not of the grammar; the text says what is wrong with which part.
    """
    if text == FEATURE:
        return Source(FEATURE, "", "")
    head, colon, key = text.partition(":")
    topic, _, field = head.partition(".")
    if not (colon and key):
        raise ValueError(f"{text!r} has no `:<name>` at its end")
    source = Source(topic, field, key)
    if topic in _INNER:
        return _inner(text, source)
    kind, slash, name = topic.partition("/")
    if kind not in TOPICS or (slash and not (kind in _NAMED and _is_topic(name))):
        known = ", ".join([*TOPICS, *_INNER])
        raise ValueError(f"{text!r}: {topic!r} is not one of {known}")
    keys = TOPICS[kind].get(field)
    if keys is None:
        raise ValueError(f"{text!r}: {topic} has {', '.join(TOPICS[kind])}, not {field!r}")
    if keys and key not in keys:
        raise ValueError(f"{text!r}: {topic}.{field} has {', '.join(keys)}, not {key!r}")
    return source


def _inner(text: str, source: Source) -> Source:
    """Check a source that the policy itself answers."""
    topic, field, key = source
    if topic == HISTORY:
        if not field.isdecimal() or not 1 <= int(field) <= MAX_HISTORY:
            raise ValueError(f"{text!r}: {field!r} is not a number of ticks, 1 to {MAX_HISTORY}")
        return Source(topic, str(int(field)), key)
    if topic == GAIT:
        if field not in GAIT_FIELDS:
            raise ValueError(f"{text!r}: {topic} has {', '.join(GAIT_FIELDS)}, not {field!r}")
        return source
    if field:
        raise ValueError(f"{text!r}: {topic} has no fields, so not {field!r}")
    if topic == CONSTANT:
        try:
            finite = math.isfinite(float(key))
        except ValueError:
            finite = False
        if not finite:
            raise ValueError(f"{text!r}: {key!r} is not a finite number")
    return source


def _is_topic(name: str) -> bool:
    """Whether ``name`` is a relative ROS topic name."""
    return re.fullmatch(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", name, re.ASCII) is not None


def projected_gravity(x: float, y: float, z: float, w: float) -> tuple[float, float, float]:
    """Gravity's unit vector in the body frame, of a quaternion of any length above 0.

    Level is ``(0, 0, -1)``. A quaternion of zeros gives NaN.
    """
    square = x * x + y * y + z * z + w * w
    if not square > 0:
        return (float("nan"),) * 3
    return (
        2 * (y * w - x * z) / square,
        -2 * (y * z + x * w) / square,
        (x * x + y * y - z * z - w * w) / square,
    )


def canonical_quaternion(
    x: float, y: float, z: float, w: float
) -> tuple[float, float, float, float]:
    """Return the one of a rotation's two quaternions that policies see, of length 1.

    A rotation has the quaternions q and -q, and sources may send either. The first of w, x, y, z
    that is not 0 is above 0.
    """
    square = x * x + y * y + z * z + w * w
    if abs(square - 1.0) > _ROUNDING and 0.0 < square < math.inf:
        factor = 1.0 / math.sqrt(square)
        x, y, z, w = x * factor, y * factor, z * factor, w * factor
    if (w, x, y, z) < (0.0, 0.0, 0.0, 0.0):
        x, y, z, w = -x, -y, -z, -w
    return x, y, z, w


def orientation_values(field: str, x: float, y: float, z: float, w: float) -> tuple[float, ...]:
    """Return what a policy sees of an orientation: by ``field`` its gravity or its quaternion."""
    if field == "projected_gravity":
        return projected_gravity(x, y, z, w)
    return canonical_quaternion(x, y, z, w)


#: The fields that are made of a quaternion.
ORIENTATIONS = frozenset({"orientation", "projected_gravity"})

#: Which attributes of a ROS message lead to a field of a topic: the node and a recording's reader
#: take values from the same places.
MESSAGE_PATHS = {
    (IMU, "orientation"): ("orientation",),
    (IMU, "projected_gravity"): ("orientation",),
    (IMU, "angular_velocity"): ("angular_velocity",),
    (IMU, "linear_acceleration"): ("linear_acceleration",),
    (ODOM, "position"): ("pose", "pose", "position"),
    (ODOM, "orientation"): ("pose", "pose", "orientation"),
    (ODOM, "linear_velocity"): ("twist", "twist", "linear"),
    (ODOM, "angular_velocity"): ("twist", "twist", "angular"),
    (CMD_VEL, "linear"): ("linear",),
    (CMD_VEL, "angular"): ("angular",),
    (TWIST, "linear"): ("twist", "linear"),
    (TWIST, "angular"): ("twist", "angular"),
    (POSE, "position"): ("pose", "position"),
    (POSE, "orientation"): ("pose", "orientation"),
    (WRENCH, "force"): ("wrench", "force"),
    (WRENCH, "torque"): ("wrench", "torque"),
}
