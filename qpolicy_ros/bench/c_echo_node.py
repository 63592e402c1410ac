"""The bound of ``policy_node``: an echo in C on ``rcl``, same messages, same QoS.

As ``echo_node``, but rclpy only makes the node; a loop in C waits, takes and publishes.
"""

from __future__ import annotations

import sys
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState

from qpolicy_ros.bench.peer import Peer
from qpolicy_ros.nodes import qos
from qpolicy_ros.nodes.parameters import Spec, declare
from qpolicy_ros.nodes.runtime import Stop, run

SUMMARY = "Answer every observation with the same action, in C."

SPECS = (Spec("actions", 1, "values in an action", (1, 1000), read_only=True),)


class CEchoNode(Node):
    """Publishes ``action_stamped`` for every ``observation``."""

    def __init__(self, stop: Stop) -> None:  # noqa: ARG002  never stops by itself
        super().__init__("c_echo_node")
        declare(self, SPECS)
        publisher = self.create_publisher(JointState, "action_stamped", qos.COMMAND)
        taken = self.create_subscription(JointState, "observation", lambda _: None, qos.COMMAND)
        names = [f"motor_{j}" for j in range(self.get_parameter("actions").value)]
        self._peer = Peer(taken, publisher, self.context, names)

    def make_executor(self) -> SingleThreadedExecutor:
        """Return what runs the loop in C."""
        return _Echoing(self._peer)

    def close(self) -> None:
        """Let go of the entities."""
        self._peer.close()


class _Echoing(SingleThreadedExecutor):
    """Echoes until the node's last guard condition is triggered, the one that stops it."""

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self._peer = peer

    def spin_once(self, timeout_sec: Any = None) -> None:  # noqa: ARG002  until it is stopped
        guards = [guard for node in self.get_nodes() for guard in node.guards]
        self._peer.echo(guards[-1])


if __name__ == "__main__":
    sys.exit(run(CEchoNode, "c_echo_node", SUMMARY, SPECS))
