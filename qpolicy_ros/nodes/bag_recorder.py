"""``bag_recorder``: records this package's topics into a rosbag2 folder (MCAP).

For machines where rosbag2 is not installed. Messages are written as they come off the wire, with
the times of their arrival and of their sending. What is older than about a second is on the disk
in a readable bag, however the process ends.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.clock import Clock as SteadyClock
from rclpy.clock import ClockType  # type: ignore[attr-defined]
from rclpy.node import Node
from rclpy.subscription import Subscription
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray

from qpolicy_ros.nodes import qos
from qpolicy_ros.nodes.parameters import Spec, declare
from qpolicy_ros.nodes.recording.bag_folder import BagFolder
from qpolicy_ros.nodes.runtime import Stop, gives_message_info, run
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
    "round_trip": (JointState, "sensor_msgs/msg/JointState"),
    "joint_states": (JointState, "sensor_msgs/msg/JointState"),
    "imu": (Imu, "sensor_msgs/msg/Imu"),
    "odom": (Odometry, "nav_msgs/msg/Odometry"),
    "cmd_vel": (Twist, "geometry_msgs/msg/Twist"),
    "episode": (JointState, "sensor_msgs/msg/JointState"),
    "/diagnostics": (DiagnosticArray, "diagnostic_msgs/msg/DiagnosticArray"),
    "/clock": (Clock, "rosgraph_msgs/msg/Clock"),
}

RECORDING = "recording to"  # what the log says when all topics are subscribed
HEARS = "hears"  # what the log says of each topic whose publisher is found
RECEIVES = "receives"  # and of each whose first message has come

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
        try:
            self._bag = BagFolder(self._path)
        except FileExistsError as error:
            remedy = "give a new folder, or delete this one"
            raise PolicyError.at(self._path, "output", "exists already", remedy) from error
        except OSError as error:
            wrong = f"cannot be made: {error.strerror or error}"
            remedy = "give a new folder that can be written"
            raise PolicyError.at(self._path, "output", wrong, remedy) from error
        self._numbers: dict[str, int] = {}
        self._recorded: dict[str, Subscription[Any]] = {}
        self._unheard = list(TOPICS)
        for topic in TOPICS:
            self._subscribe(topic, reliable=True)
        self.create_timer(
            0.25, self._look_around, clock=SteadyClock(clock_type=ClockType.STEADY_TIME)
        )
        self.get_logger().info(f"{RECORDING} {self._path}")

    def close(self) -> None:
        """Finish the bag."""
        try:
            self._bag.close()
        except OSError as error:
            self.get_logger().error(f"{self._path}: cannot be finished: {error}")
            return
        self.get_logger().info(f"{self._bag.count} messages in {self._path}")

    def _subscribe(self, topic: str, *, reliable: bool) -> None:
        """Subscribe to ``topic``; fall back to best effort if its publisher is."""
        profile = qos.profile(reliable=reliable, depth=_DEPTH)
        if topic == "episode":
            profile = qos.EPISODES
        events = qos.SubscriptionEventCallbacks(
            incompatible_qos=(lambda _: self._relax(topic)) if reliable else None
        )
        callback = self._write if gives_message_info() else self._write_bare
        self._recorded[topic] = self.create_subscription(
            TOPICS[topic][0],
            topic,
            partial(callback, topic),
            profile,
            raw=True,
            event_callbacks=events,
        )

    def _relax(self, topic: str) -> None:
        self.destroy_subscription(self._recorded[topic])
        self._subscribe(topic, reliable=False)

    def _write_bare(self, topic: str, message: bytes) -> None:
        self._write(topic, message, {})

    def _write(self, topic: str, message: bytes, info: dict[str, Any]) -> None:
        arrived = info.get("received_timestamp") or time.time_ns()
        sent = info.get("source_timestamp") or arrived
        sequence = info.get("publication_sequence_number") or 0
        try:
            number = self._numbers.get(topic) or self._declare(topic)
            self._bag.write(number, arrived, sent, sequence & 0xFFFF_FFFF, message)
        except OSError as error:
            self._give_up(error)

    def _declare(self, topic: str) -> int:
        """Declare ``topic`` with its publishers' quality of service, known by its first message."""
        name = self.resolve_topic_name(topic)
        offered = [info.qos_profile for info in self.get_publishers_info_by_topic(name)]
        number = self._numbers[topic] = self._bag.add_topic(name, TOPICS[topic][1], offered)
        self.get_logger().info(f"{RECEIVES} {topic}")
        return number

    def _look_around(self) -> None:
        for topic in [each for each in self._unheard if self.count_publishers(each)]:
            self._unheard.remove(topic)
            self.get_logger().info(f"{HEARS} {topic}")
        try:
            self._bag.flush_if_due()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.get_logger().error(f"{self._path}: {error}; recording ends")
        self._stop(1)


def main(args: list[str] | None = None) -> None:
    """Run the node; exits 2 with one line if it cannot start."""
    sys.exit(run(BagRecorder, "bag_recorder", SUMMARY, SPECS, args))


if __name__ == "__main__":
    main()
