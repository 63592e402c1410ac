"""Messages of the small robot of ``robot_contracts``."""

from __future__ import annotations

from collections.abc import Sequence

from builtin_interfaces.msg import Time
from nav_msgs.msg import Odometry
from robot_contracts import JOINTS
from sensor_msgs.msg import Imu, JointState


def stamped(message, stamp: float):
    message.header.stamp = Time(sec=int(stamp), nanosec=round(stamp % 1 * 1e9))
    return message


def joint_states(
    stamp: float,
    names: Sequence[str] = JOINTS,
    position: Sequence[float] | None = None,
    velocity: Sequence[float] | None = None,
) -> JointState:
    """The joints at 0.1, 0.2, … rad, moving ever faster backwards."""
    count = range(1, len(names) + 1)
    message = JointState(name=list(names))
    message.position = [0.1 * i for i in count] if position is None else list(map(float, position))
    message.velocity = [-1.0 * i for i in count] if velocity is None else list(map(float, velocity))
    return stamped(message, stamp)


def imu(stamp: float, orientation: Sequence[float] = (0, 0, 0, 1), no: str = "") -> Imu:
    """Level, turning at 0.3 rad/s; ``no`` is what the sensor does not give."""
    message = Imu()
    q = message.orientation
    q.x, q.y, q.z, q.w = map(float, orientation)
    message.angular_velocity.z = 0.3
    if no:
        getattr(message, f"{no}_covariance")[0] = -1.0
    return stamped(message, stamp)


def odom(stamp: float) -> Odometry:
    """Going forward at 0.4 m/s."""
    message = Odometry()
    message.twist.twist.linear.x = 0.4
    return stamped(message, stamp)
