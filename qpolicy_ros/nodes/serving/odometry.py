"""In which frame an odometry's twist is: that of the robot, as the message says, or the world's.

``nav_msgs/Odometry`` gives the pose in ``header.frame_id``, the twist in ``child_frame_id``. Some
simulators give both in the world. While the robot faces the world's axes there is no difference.
"""

from __future__ import annotations

from typing import Any

_INTERVAL = 0.1  # s between two positions that are compared
_LONGEST = 1.0  # s; after a longer pause it begins anew
_SAMPLES = 10
_MOVING = 0.05  # m/s
_APART = 0.3  # of the speed, by which the two readings must differ to tell anything
_CLEAR = 4.0  # times the squared error of the other reading
_GOOD = 0.25  # of the squared speed: the other reading must fit

Vector = tuple[float, float, float]


def into_child(orientation: Any, vector: Vector) -> Vector:
    """Turn a vector of the world into the frame that ``orientation`` (x, y, z, w) gives."""
    return _turn(-orientation.x, -orientation.y, -orientation.z, orientation.w, vector)


class OdometryCheck:
    """Compares the twist with how the position changes, in both frames.

    Args:
        world_twist: whether the twist is taken as one in the world's frame.

    Attributes:
        problem: that it is in the other frame; empty as long as nothing says so.
    """

    def __init__(self, *, world_twist: bool) -> None:
        self.problem = ""
        self._world = world_twist
        self._last: tuple[float, Vector, Vector, Vector] | None = None
        self._errors = [0.0, 0.0]  # squared, of the child's frame and of the world's
        self._square, self._samples = 0.0, 0

    def take(self, message: Any) -> None:
        """Look at a ``nav_msgs/Odometry``, ten times a second of its stamps."""
        header = message.header.stamp
        stamp = header.sec + header.nanosec * 1e-9
        last = self._last
        if last is not None and 0.0 <= stamp - last[0] < _INTERVAL:
            return
        pose, twist = message.pose.pose, message.twist.twist.linear
        at = (pose.position.x, pose.position.y, pose.position.z)
        world = (twist.x, twist.y, twist.z)
        q = pose.orientation
        child = _turn(q.x, q.y, q.z, q.w, world)
        self._last = (stamp, at, child, world)
        if last is None or not _INTERVAL <= stamp - last[0] < _LONGEST:
            return
        took = stamp - last[0]
        moved = [(now - before) / took for now, before in zip(at, last[1], strict=True)]
        readings = [
            [(now + before) / 2 for now, before in zip(new, old, strict=True)]
            for new, old in ((child, last[2]), (world, last[3]))
        ]
        speed = _square(moved, (0.0, 0.0, 0.0))
        if speed < _MOVING**2 or _square(*readings) < _APART**2 * speed:
            return
        self._samples += 1
        self._square += speed
        for index, reading in enumerate(readings):
            self._errors[index] += _square(reading, moved)
        if self._samples == _SAMPLES:
            self._judge()

    def _judge(self) -> None:
        mine, other = self._errors[self._world], self._errors[not self._world]
        wrong = mine > _CLEAR * other and other < _GOOD * self._square
        found, remedy = ("child", "child") if self._world else ("world", "world")
        self.problem = (
            f"odom: its twist is in the {found}'s frame, as its position moves; set "
            f"odom_twist_frame to {remedy}"
            if wrong
            else ""
        )
        self._errors, self._square, self._samples = [0.0, 0.0], 0.0, 0


def _square(a: Any, b: Any) -> float:
    return float(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def _turn(x: float, y: float, z: float, w: float, vector: Vector) -> Vector:
    """Rotate ``vector`` by the unit quaternion: v + 2w(u x v) + 2u x (u x v)."""
    a, b, c = vector
    # t = 2 (u x v)
    i, j, k = 2 * (y * c - z * b), 2 * (z * a - x * c), 2 * (x * b - y * a)
    return (a + w * i + y * k - z * j, b + w * j + z * i - x * k, c + w * k + x * j - y * i)
