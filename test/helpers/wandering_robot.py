"""A robot without physics: its joints and base wander, and it publishes what a real one does."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
from bags import JOINT_STATE, TYPES

from qpolicy_ros.policy.sources import CMD_VEL, IMU, JOINT_STATES, ODOM

TYPE_OF = {
    JOINT_STATES: JOINT_STATE,
    IMU: "sensor_msgs/msg/Imu",
    ODOM: "nav_msgs/msg/Odometry",
    CMD_VEL: "geometry_msgs/msg/Twist",
}


class World:
    """A robot whose joints and base wander; nothing falls."""

    def __init__(self, contract: Any, rng: np.random.Generator) -> None:
        self.joints = [action.name for action in contract.action]
        self.centre = contract.default.astype(np.float64)
        spans = contract.high.astype(np.float64) - contract.low
        self.reach = np.where(np.isfinite(spans), 0.1 * spans, 0.1)
        self.rng, self.q = rng, self.centre + rng.normal(size=len(self.joints)) * self.reach
        self.v = np.zeros(len(self.joints))
        self.base = rng.normal(size=12) * 0.1
        self.command = rng.normal(size=6) * 0.3

    def step(self) -> None:
        """Move on."""
        pull = self.centre - self.q
        self.v = 0.9 * self.v + 0.1 * pull + self.rng.normal(size=len(self.q)) * self.reach
        self.q = self.q + 0.02 * self.v
        self.base = 0.95 * self.base + self.rng.normal(size=12) * 0.05
        if self.rng.random() < 0.05:
            self.command = self.rng.normal(size=6) * 0.3

    def message(self, topic: str, stamp: int) -> Any:
        """Return what the robot publishes."""
        kinds = TYPES.types
        time = kinds["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
        header = kinds["std_msgs/msg/Header"](stamp=time, frame_id="base_link")
        vector, none = kinds["geometry_msgs/msg/Vector3"], np.zeros(9)
        half = self.base[:3] / 2
        turn = kinds["geometry_msgs/msg/Quaternion"](
            x=half[0], y=half[1], z=half[2], w=math.sqrt(max(0.0, 1 - float(half @ half)))
        )
        if topic == JOINT_STATES:
            return kinds[JOINT_STATE](
                header=header, name=list(self.joints), position=self.q.copy(),
                velocity=self.v.copy(), effort=np.zeros(len(self.q)),
            )  # fmt: skip
        if topic == IMU:
            return kinds[TYPE_OF[IMU]](
                header=header, orientation=turn, orientation_covariance=none,
                angular_velocity=vector(*self.base[3:6]), angular_velocity_covariance=none,
                linear_acceleration=vector(*self.base[6:9]), linear_acceleration_covariance=none,
            )  # fmt: skip
        if topic == CMD_VEL:
            return kinds[TYPE_OF[CMD_VEL]](
                linear=vector(*self.command[:3]), angular=vector(*self.command[3:])
            )
        pose = kinds["geometry_msgs/msg/Pose"](
            position=kinds["geometry_msgs/msg/Point"](*self.base[:3]), orientation=turn
        )
        twist = kinds["geometry_msgs/msg/Twist"](
            linear=vector(*self.base[9:]), angular=vector(*self.base[3:6])
        )
        wide = np.zeros(36)
        return kinds[TYPE_OF[ODOM]](
            header=header, child_frame_id="base_link",
            pose=kinds["geometry_msgs/msg/PoseWithCovariance"](pose=pose, covariance=wide),
            twist=kinds["geometry_msgs/msg/TwistWithCovariance"](twist=twist, covariance=wide),
        )  # fmt: skip


def as_taken(message: Any) -> Any:
    """Return a message as rclpy hands it out: sequences, not arrays, where it matters."""
    if hasattr(message, "position") and hasattr(message, "effort"):
        return SimpleNamespace(
            header=message.header, name=list(message.name), position=list(message.position),
            velocity=list(message.velocity), effort=list(message.effort),
        )  # fmt: skip
    return message
