"""What the policy node sends while it serves: both action topics, and the stages' durations."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from qpolicy_ros.nodes import qos
from qpolicy_ros.nodes.rcl.messages import Stamp, Writer, open_writer, set_stamp
from qpolicy_ros.nodes.serving.neighbours import Wanted
from qpolicy_ros.nodes.serving.timing import STAGES, Instants, stages
from qpolicy_ros.nodes.serving.trajectory import Trajectory
from qpolicy_ros.policy import Contract

NO_TIME: Stamp = (0, 0)  # of a safe action that answers no observation
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
        trajectory: whether to publish ``joint_trajectory`` too.
        sender: who sends, for ``header.frame_id`` of ``action_stamped``.
        deadline: s, offered to DDS; 0 = none.
        library: the hot path's C part, None to publish through rclpy.

    Attributes:
        stamp: its stamp.
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
        trajectory: bool = False,
        library: Any = None,
    ) -> None:
        self.library = library
        self.sender = sender
        self.stamp = NO_TIME
        self._node = node
        self._writers: list[Writer] = []
        self._trajectory: Trajectory | None = None
        sent = sent_topics(lockstep=lockstep, deadline=deadline)
        try:
            self._action = self._create(Float64MultiArray, "action", sent["action"].profile)
            self._stamped = self._create(
                JointState, "action_stamped", sent["action_stamped"].profile
            )
            if timing:
                self._timing = self._create(JointState, "timing", qos.FIGURES)
                self._timing.message.name = list(STAGES)
            self._trajectory = Trajectory(node, contract) if trajectory else None
        except BaseException:
            self.destroy()
            raise
        self._stamped.message.name = [channel.name for channel in contract.action]
        self._stamped.message.header.frame_id = sender

    def send(self, action: npt.NDArray[np.float32], stamp: Stamp) -> None:
        """Send ``action`` (m,) on both topics."""
        self.stamp = stamp
        self._stamped.send(stamp, action)
        if self._action.is_heard():
            self._action.message.data = self._action.row(action)
            self._action.publish()
        if self._trajectory is not None:
            self._trajectory.send(array("d", action.tolist()))

    def repeat(self) -> None:
        """Send the last stamped action again."""
        self._stamped.publish()

    def name_inputs(self, names: Sequence[str]) -> None:
        """Let ``timing`` have these values behind the stages."""
        self._timing.message.name = [*STAGES, *names]

    def is_timing_heard(self) -> bool:
        """Whether anybody listens to ``timing``; where not, nothing need be worked out."""
        return self._timing.is_heard()

    def send_timing(
        self, stamp: Stamp, backend: str, instants: Instants, inputs: Sequence[float] = ()
    ) -> None:
        """Send the stages of one answer of ``backend``, and the values of ``name_inputs``, µs."""
        message = self._timing.message
        set_stamp(message, stamp)
        message.header.frame_id = backend
        values = stages(instants)
        values.extend(inputs)
        message.position = values
        self._timing.publish()

    def flush(self) -> None:
        """Wait until what was sent last has arrived, for a moment at most."""
        for writer in (self._action, self._stamped):
            writer.publisher.wait_for_all_acked(_LAST_WORD)

    def destroy(self) -> None:
        """Stop publishing."""
        while self._writers:
            self._writers.pop().close()
        if self._trajectory is not None:
            self._trajectory.destroy()
            self._trajectory = None

    def _create(self, kind: type, topic: str, profile: QoSProfile) -> Writer:
        writer = open_writer(self._node, kind, topic, profile, self.library)
        self._writers.append(writer)
        return writer
