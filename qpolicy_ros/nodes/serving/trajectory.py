"""Commands for a ``joint_trajectory_controller``: one point, to be reached in a control period."""

from __future__ import annotations

import importlib
from array import array
from typing import Any

from builtin_interfaces.msg import Duration
from rclpy.node import Node

from qpolicy_ros.nodes import qos
from qpolicy_ros.policy import Contract, PolicyError

TOPIC = "joint_trajectory"

_SECOND_NS = 1_000_000_000


class Trajectory:
    """Publishes ``trajectory_msgs/JointTrajectory``.

    Args:
        node: that publishes.
        contract: gives the joints and the control period.

    Raises:
        PolicyError: trajectory_msgs is not installed.
    """

    def __init__(self, node: Node, contract: Contract) -> None:
        try:
            messages: Any = importlib.import_module("trajectory_msgs.msg")
        except ImportError as error:
            remedy = "install trajectory_msgs, or set joint_trajectory to false"
            wrong = "true, but trajectory_msgs is not installed"
            raise PolicyError.at("", TOPIC, wrong, remedy) from error
        self._node = node
        seconds, rest = divmod(round(contract.period * _SECOND_NS), _SECOND_NS)
        self._point = messages.JointTrajectoryPoint(
            time_from_start=Duration(sec=seconds, nanosec=rest)
        )
        self._message = messages.JointTrajectory(
            joint_names=[action.name for action in contract.action], points=[self._point]
        )
        self._publisher = node.create_publisher(messages.JointTrajectory, TOPIC, qos.COMMAND)

    def send(self, values: array[float]) -> None:
        """Send joint positions (m,); a stamp of 0 says "from now on"."""
        self._point.positions = values
        self._publisher.publish(self._message)

    def destroy(self) -> None:
        """Stop publishing."""
        self._node.destroy_publisher(self._publisher)
