"""A node in this process that collects what the two nodes of a run publish."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from sensor_msgs.msg import JointState

from qpolicy_ros.nodes import qos

# Enough that nothing is lost while this process is busy elsewhere.
_DEPTH = 5000
_NANOSECONDS = 1_000_000_000


class Episode(NamedTuple):
    """A finished episode, as ``mujoco_sim_node`` reported it."""

    seed: int
    return_: float
    length: int
    terminated: bool = False
    velocity: tuple[float, float, float] = (math.nan, math.nan, math.nan)


class Observer:
    """Collects episodes, and either timing and round trips or actions.

    Not all at once: an observer that cannot keep up is no witness.

    Args:
        actions: whether to keep every action, and no times.

    Attributes:
        stages: names of the stages of ``timing``, empty until the first message.
        timing: one list of durations a message, µs.
        round_trips: observation published until action received, µs, in the simulator.
        episodes: those finished, in order.
        actions: float32 action (m,) by the stamp of its observation, ns of simulated time.
        backends: name of the backend that answered, by the same stamp; both only if asked for.
    """

    def __init__(self, *, actions: bool = False) -> None:
        self.stages: list[str] = []
        self.timing: list[Any] = []
        self.round_trips: list[float] = []
        self.episodes: list[Episode] = []
        self.actions: dict[int, np.ndarray] = {}
        self.backends: dict[int, str] = {}
        self._context = rclpy.Context()
        # Ctrl-C stays Python's.
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("qpolicy_observer", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        times = {"timing": self._on_timing, "round_trip": self._on_round_trip}
        wanted = {"action_stamped": self._on_action, "timing": self._on_backend}
        for topic, callback in (wanted if actions else times).items():
            profile = qos.profile(depth=_DEPTH)
            self._node.create_subscription(JointState, topic, callback, profile)
        self._node.create_subscription(JointState, "episode", self._on_episode, qos.EPISODES)
        self._parameters: Any = self._node.create_client(
            SetParameters, "policy_node/set_parameters"
        )
        self._lifecycle: Any = self._node.create_client(ChangeState, "policy_node/change_state")

    def close(self) -> None:
        """Leave ROS."""
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def spin(self, seconds: float) -> None:
        """Wait at most ``seconds`` for one message and take it."""
        self._executor.spin_once(timeout_sec=seconds)

    @property
    def steps(self) -> int:
        """How many control steps have been heard of."""
        return len(self.timing) + len(self.actions)

    def hears(self, topic: str) -> bool:
        """Whether a publisher of ``topic`` has been found."""
        return bool(self._node.count_publishers(topic))

    def finds_policy(self) -> bool:
        """Whether the policy node's services have been found."""
        return self._lifecycle.service_is_ready() and self._parameters.service_is_ready()

    def request_transition(self, transition: int) -> Future[Any]:
        """Ask the policy node for a lifecycle transition; the future has the response."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return self._lifecycle.call_async(request)

    def request_backend(self, name: str) -> Future[Any]:
        """Set the policy node's parameter ``backend``; the future has the response."""
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=name)
        request = SetParameters.Request(parameters=[Parameter(name="backend", value=value)])
        return self._parameters.call_async(request)

    def _on_timing(self, message: JointState) -> None:
        self.stages = self.stages or list(message.name)
        self.timing.append(message.position)

    def _on_round_trip(self, message: JointState) -> None:
        self.round_trips.append(message.position[0])

    def _on_episode(self, message: JointState) -> None:
        fields = dict(zip(message.name, message.position, strict=True))
        velocity = (fields["vx"], fields["vy"], fields["wz"])
        self.episodes.append(
            Episode(
                int(fields["seed"]),
                fields["return"],
                int(fields["length"]),
                bool(fields["terminated"]),
                velocity,
            )
        )

    def _on_action(self, message: JointState) -> None:
        self.actions[_nanoseconds(message)] = np.array(message.position, np.float32)

    def _on_backend(self, message: JointState) -> None:
        self.backends[_nanoseconds(message)] = message.header.frame_id


def _nanoseconds(message: JointState) -> int:
    stamp = message.header.stamp
    return int(stamp.sec * _NANOSECONDS + stamp.nanosec)
