"""What the policy node sends while it serves: both action topics, and the stages' durations."""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from qpolicy_ros.nodes import qos
from qpolicy_ros.nodes.serving.neighbours import Wanted
from qpolicy_ros.nodes.serving.timing import STAGES, Instants, stages
from qpolicy_ros.policy import Contract

NO_TIME = Time()  # stamp of a safe action that answers no observation
_LAST_WORD = Duration(seconds=0.2)  # an acknowledgement may take a heartbeat longer


def sent_topics(*, lockstep: bool = False, deadline: float = 0.0) -> dict[str, Wanted]:
    """Return the topics that carry commands, for ``Neighbours``."""
    command = qos.profile(depth=1, deadline=deadline)
    stamped = qos.profile(depth=100, deadline=deadline) if lockstep else command
    return {
        "action": Wanted(Float64MultiArray, command, remedy="remap it, or mend who takes it"),
        "action_stamped": Wanted(JointState, stamped, remedy="remap it, or mend who takes it"),
    }


class Outputs:
    """The publishers of one configuration.

    Args:
        node: that publishes.
        contract: gives the actions' names.
        lockstep: nothing overtakes: a recorder shall get every action.
        timing: whether to publish the stages' durations too.
        sender: who sends, for ``header.frame_id`` of ``action_stamped``.
        deadline: s, offered to DDS; 0 = none.

    Attributes:
        stamped: the last action sent.
        sender: as given.
    """

    def __init__(
        self,
        node: Node,
        contract: Contract,
        deadline: float,
        *,
        lockstep: bool,
        timing: bool = True,
        sender: str = "",
    ) -> None:
        self.sender = sender
        self.stamped = JointState(name=[channel.name for channel in contract.action])
        self.stamped.header.frame_id = sender
        self._action, self._timing = Float64MultiArray(), JointState(name=list(STAGES))
        self._node = node
        self._publishers: list[Publisher] = []
        sent = sent_topics(lockstep=lockstep, deadline=deadline)
        try:
            self._action_publisher = self._create(
                Float64MultiArray, "action", sent["action"].profile
            )
            self._stamped_publisher = self._create(
                JointState, "action_stamped", sent["action_stamped"].profile
            )
            if timing:
                self._timing_publisher = self._create(JointState, "timing", qos.FIGURES)
        except BaseException:
            self.destroy()
            raise

    def send(self, action: npt.NDArray[np.float32], stamp: Time) -> None:
        """Send ``action`` (m,) on both topics."""
        values = array("d", action.tolist())
        self.stamped.header.stamp = stamp
        self.stamped.position = values
        self._action.data = values
        self._stamped_publisher.publish(self.stamped)
        self._action_publisher.publish(self._action)

    def repeat(self) -> None:
        """Send the last stamped action again."""
        self._stamped_publisher.publish(self.stamped)

    def send_timing(self, stamp: Time, backend: str, instants: Instants) -> None:
        """Send the stages of one answer of ``backend``."""
        self._timing.header.stamp = stamp
        self._timing.header.frame_id = backend
        self._timing.position = stages(instants)
        self._timing_publisher.publish(self._timing)

    def flush(self) -> None:
        """Wait until what was sent last has arrived, for a moment at most."""
        for publisher in (self._action_publisher, self._stamped_publisher):
            publisher.wait_for_all_acked(_LAST_WORD)

    def destroy(self) -> None:
        """Stop publishing."""
        while self._publishers:
            self._node.destroy_publisher(self._publishers.pop())

    def _create(self, kind: type, topic: str, profile: QoSProfile) -> Publisher:
        publisher: Publisher = self._node.create_publisher(kind, topic, profile)
        self._publishers.append(publisher)
        return publisher
