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
``previous_action:<action name>``         the last published action, actuator units
``history.<k>:<channel name>``            the value of another channel ``k`` ticks ago
========================================  =====================================================
"""

from __future__ import annotations

import math
from typing import NamedTuple

from qpolicy_ros.policy.model import FEATURE

JOINT_STATES, IMU, ODOM, CMD_VEL = "joint_states", "imu", "odom", "cmd_vel"
PREVIOUS_ACTION, HISTORY = "previous_action", "history"

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
}


class Source(NamedTuple):
    """A parsed source.

    Attributes:
        topic: one of :data:`TOPICS`, ``feature``, ``previous_action`` or ``history``.
        field: field of the message; of a history, how many ticks ago.
        key: joint, axis, action or channel.
    """

    topic: str
    field: str
    key: str

    @property
    def external(self) -> bool:
        """Whether the value comes from a topic of the robot."""
        return self.topic in TOPICS

    @property
    def ticks(self) -> int:
        """How many ticks ago, of a history."""
        return int(self.field)


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
    if topic == PREVIOUS_ACTION and not field:
        return Source(topic, "", key)
    if topic == HISTORY:
        if not field.isdecimal() or not 1 <= int(field) <= MAX_HISTORY:
            raise ValueError(f"{text!r}: {field!r} is not a number of ticks, 1 to {MAX_HISTORY}")
        return Source(topic, str(int(field)), key)
    if topic not in TOPICS:
        known = ", ".join([*TOPICS, PREVIOUS_ACTION, HISTORY])
        raise ValueError(f"{text!r}: {topic!r} is not one of {known}")
    keys = TOPICS[topic].get(field)
    if keys is None:
        raise ValueError(f"{text!r}: {topic} has {', '.join(TOPICS[topic])}, not {field!r}")
    if keys and key not in keys:
        raise ValueError(f"{text!r}: {topic}.{field} has {', '.join(keys)}, not {key!r}")
    return Source(topic, field, key)


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
