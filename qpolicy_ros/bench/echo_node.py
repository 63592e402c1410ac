"""The peer of ``policy_node``: as bare a node as rclpy allows, same messages, same QoS.

It answers each observation with a constant action and the observation's stamp, and does nothing
else.
"""

from __future__ import annotations

import sys
from array import array

from rclpy.node import Node
from sensor_msgs.msg import JointState

from qpolicy_ros.nodes import qos
from qpolicy_ros.nodes.parameters import Spec, declare
from qpolicy_ros.nodes.runtime import Stop, run

SUMMARY = "Answer every observation with the same action."

SPECS = (Spec("actions", 1, "values in an action", (1, 1000), read_only=True),)


class EchoNode(Node):
    """Publishes ``action_stamped`` for every ``observation``."""

    def __init__(self, stop: Stop) -> None:  # noqa: ARG002  never stops by itself
        super().__init__("echo_node")
        declare(self, SPECS)
        count = self.get_parameter("actions").value
        self._answer = JointState(name=[f"motor_{j}" for j in range(count)])
        self._answer.position = array("d", bytes(8 * count))
        self._publisher = self.create_publisher(JointState, "action_stamped", qos.COMMAND)
        self.create_subscription(JointState, "observation", self._on_observation, qos.COMMAND)

    def close(self) -> None:
        """Nothing to leave safe."""

    def _on_observation(self, message: JointState) -> None:
        self._answer.header.stamp = message.header.stamp
        self._publisher.publish(self._answer)


if __name__ == "__main__":
    sys.exit(run(EchoNode, "echo_node", SUMMARY, SPECS))
