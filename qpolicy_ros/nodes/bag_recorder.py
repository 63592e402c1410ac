"""``bag_recorder``: records this package's topics into a rosbag2 folder (MCAP).

For machines where rosbag2 is not installed. Messages are written as they come off the wire,
stamped with the wall-clock time of their arrival.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.subscription import Subscription
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from qpolicy_ros.nodes import qos
from qpolicy_ros.nodes.parameters import Spec, declare
from qpolicy_ros.nodes.runtime import Stop, run
from qpolicy_ros.policy import PolicyError

SUMMARY = "Record observation, actions, timing, episodes, diagnostics and clock into a bag."

SPECS = (
    Spec("output", "", "folder to write, must not exist; empty = rosbag2_<date>-<time>",
         read_only=True),
)  # fmt: skip

TOPICS: dict[str, tuple[type, str]] = {
    "observation": (JointState, "sensor_msgs/msg/JointState"),
    "action_stamped": (JointState, "sensor_msgs/msg/JointState"),
    "action": (Float64MultiArray, "std_msgs/msg/Float64MultiArray"),
    "timing": (JointState, "sensor_msgs/msg/JointState"),
    "joint_states": (JointState, "sensor_msgs/msg/JointState"),
    "episode": (JointState, "sensor_msgs/msg/JointState"),
    "/diagnostics": (DiagnosticArray, "diagnostic_msgs/msg/DiagnosticArray"),
    "/clock": (Clock, "rosgraph_msgs/msg/Clock"),
}

_DEPTH = 1000


class BagRecorder(Node):
    """Records ``TOPICS`` until the process is stopped.

    Args:
        stop: called to end the process when the bag cannot be written any more.

    Raises:
        PolicyError: the output folder exists or cannot be made.
    """

    def __init__(self, stop: Stop) -> None:
        super().__init__("bag_recorder")
        declare(self, SPECS)
        self._stop = stop
        output = self.get_parameter("output").value or time.strftime("rosbag2_%Y_%m_%d-%H_%M_%S")
        self._path = Path(output)
        self._count = 0
        try:
            self._writer = Writer(self._path, version=9, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
        except (WriterError, OSError) as error:
            raise PolicyError.at(
                self._path, "output", str(error), "give a new folder that can be written"
            ) from error
        types = get_typestore(Stores.ROS2_KILTED)
        self._connections: dict[str, Connection] = {}
        self._recorded: dict[str, Subscription[Any]] = {}
        for topic, (_, name) in TOPICS.items():
            self._connections[topic] = self._writer.add_connection(
                self.resolve_topic_name(topic), name, typestore=types
            )
            self._subscribe(topic, reliable=True)
        self.get_logger().info(f"recording to {self._path}")

    def close(self) -> None:
        """Finish the bag."""
        try:
            self._writer.close()
        except OSError as error:
            self.get_logger().error(f"{self._path}: cannot be finished: {error}")
            return
        self.get_logger().info(f"{self._count} messages in {self._path}")

    def _subscribe(self, topic: str, *, reliable: bool) -> None:
        """Subscribe to ``topic``; fall back to best effort if its publisher is."""
        profile = qos.profile(reliable=reliable, depth=_DEPTH)
        if topic == "episode":
            profile = qos.EPISODES
        events = qos.SubscriptionEventCallbacks(
            incompatible_qos=(lambda _: self._relax(topic)) if reliable else None
        )
        self._recorded[topic] = self.create_subscription(
            TOPICS[topic][0],
            topic,
            partial(self._write, self._connections[topic]),
            profile,
            raw=True,
            event_callbacks=events,
        )

    def _relax(self, topic: str) -> None:
        self.destroy_subscription(self._recorded[topic])
        self._subscribe(topic, reliable=False)

    def _write(self, connection: Connection, message: bytes) -> None:
        try:
            self._writer.write(connection, time.time_ns(), message)
        except OSError as error:
            self.get_logger().error(f"{self._path}: {error}; recording ends")
            self._stop(1)
            return
        self._count += 1


def main(args: list[str] | None = None) -> None:
    """Run the node; exits 2 with one line if it cannot start."""
    sys.exit(run(BagRecorder, "bag_recorder", SUMMARY, SPECS, args))


if __name__ == "__main__":
    main()
