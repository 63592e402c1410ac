"""What a robot publishes: joints, inertial sensor, odometry and, as a user would, a command."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import Imu, JointState

from qpolicy_ros.nodes import qos
from qpolicy_ros.policy.sources import CMD_VEL, IMU, JOINT_STATES, ODOM

Reader = Callable[[], float]

_JOINT_FIELDS = ("position", "velocity", "effort")
_IMU_FIELDS = (
    ("orientation", "xyzw"),
    ("angular_velocity", "xyz"),
    ("linear_acceleration", "xyz"),
)
_LOOK_AROUND = 50  # periods between two looks for somebody else who commands


class RobotTopics:
    """Publishers of a simulated robot's sensors.

    Args:
        node: that publishes.
        reader: returns a function that reads a source of :mod:`qpolicy_ros.policy.sources`.
        joints: names of the joints to publish.
        speed: m/s, commanded forwards on ``cmd_vel`` as long as nobody else commands.
    """

    def __init__(
        self, node: Node, reader: Callable[[str], Reader], joints: Sequence[str], speed: float
    ) -> None:
        self._node = node
        self._joints, self._imu, self._odom, self._command = (
            JointState(name=list(joints)), Imu(), Odometry(), Twist(),
        )  # fmt: skip
        self._joint_readers = {
            field: [reader(f"{JOINT_STATES}.{field}:{joint}") for joint in joints]
            for field in _JOINT_FIELDS
        }
        self._vectors: list[tuple[Any, str, Reader]] = []
        for field, axes in _IMU_FIELDS:
            self._add(getattr(self._imu, field), f"{IMU}.{field}", axes, reader)
        pose, twist = self._odom.pose.pose, self._odom.twist.twist
        self._add(pose.position, f"{ODOM}.position", "xyz", reader)
        self._add(pose.orientation, f"{ODOM}.orientation", "xyzw", reader)
        self._add(twist.linear, f"{ODOM}.linear_velocity", "xyz", reader)
        self._add(twist.angular, f"{ODOM}.angular_velocity", "xyz", reader)
        self._imu.header.frame_id = self._odom.child_frame_id = "base_link"
        self._odom.header.frame_id = "odom"
        self._command.linear.x = speed
        self._commanding, self._count = True, 0
        create = node.create_publisher
        self._publishers = [
            (create(Imu, IMU, qos.FIGURES), self._imu),
            (create(Odometry, ODOM, qos.FIGURES), self._odom),
            (create(JointState, JOINT_STATES, qos.FIGURES), self._joints),
        ]
        self._command_publisher = create(Twist, CMD_VEL, qos.COMMAND)

    def read(self) -> None:
        """Take the sensors' values as they are now."""
        for field, readers in self._joint_readers.items():
            setattr(self._joints, field, array("d", [read() for read in readers]))
        for vector, axis, read in self._vectors:
            setattr(vector, axis, read())

    def publish(self, stamp: Time) -> None:
        """Publish what was read last, all of it with the same ``stamp``."""
        if self._count % _LOOK_AROUND == 0:
            self._commanding = self._node.count_publishers(CMD_VEL) <= 1
        self._count += 1
        if self._commanding:
            self._command_publisher.publish(self._command)
        for publisher, message in self._publishers:
            message.header.stamp = stamp
            publisher.publish(message)

    def _add(self, vector: Any, source: str, axes: str, reader: Callable[[str], Reader]) -> None:
        for axis in axes:
            self._vectors.append((vector, axis, reader(f"{source}:{axis}")))
