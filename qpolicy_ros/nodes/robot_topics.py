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

#: Returns a function that reads many sources at once.
Gather = Callable[[Sequence[str]], Callable[[], Any]]

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
        gather: returns a function that reads sources of :mod:`qpolicy_ros.policy.sources`.
        joints: names of the joints to publish.
        command: forward and left (m/s) and turning (rad/s), commanded on ``cmd_vel`` as long as
            nobody else commands.
    """

    def __init__(
        self, node: Node, gather: Gather, joints: Sequence[str], command: Sequence[float]
    ) -> None:
        self._node = node
        self._joints, self._imu, self._odom, self._command = (
            JointState(name=list(joints)), Imu(), Odometry(), Twist(),
        )  # fmt: skip
        self._joint_readers = {
            field: gather([f"{JOINT_STATES}.{field}:{joint}" for joint in joints])
            for field in _JOINT_FIELDS
        }
        self._vectors: list[tuple[Any, str]] = []
        sources: list[str] = []
        pose, twist = self._odom.pose.pose, self._odom.twist.twist
        for vector, source, axes in (
            *((getattr(self._imu, field), f"{IMU}.{field}", axes) for field, axes in _IMU_FIELDS),
            (pose.position, f"{ODOM}.position", "xyz"),
            (pose.orientation, f"{ODOM}.orientation", "xyzw"),
            (twist.linear, f"{ODOM}.linear_velocity", "xyz"),
            (twist.angular, f"{ODOM}.angular_velocity", "xyz"),
        ):
            self._vectors += [(vector, axis) for axis in axes]
            sources += [f"{source}:{axis}" for axis in axes]
        self._read_vectors = gather(sources)
        self._imu.header.frame_id = self._odom.child_frame_id = "base_link"
        self._odom.header.frame_id = "odom"
        self.command(command)
        self._commanding, self._count = True, 0
        create = node.create_publisher
        # Found first, so that who has found a sensor knows that somebody commands.
        self._command_publisher = create(Twist, CMD_VEL, qos.FIGURES)
        self._publishers = [
            (create(Imu, IMU, qos.FIGURES), self._imu),
            (create(Odometry, ODOM, qos.FIGURES), self._odom),
            (create(JointState, JOINT_STATES, qos.FIGURES), self._joints),
        ]

    def command(self, command: Sequence[float]) -> None:
        """Command forward and left (m/s) and turning (rad/s) from now on."""
        twist = self._command
        twist.linear.x, twist.linear.y, twist.angular.z = map(float, command)

    def read(self) -> None:
        """Take the sensors' values as they are now."""
        for field, read in self._joint_readers.items():
            setattr(self._joints, field, array("d", read().tobytes()))
        for (vector, axis), value in zip(self._vectors, self._read_vectors().tolist(), strict=True):
            setattr(vector, axis, value)

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
