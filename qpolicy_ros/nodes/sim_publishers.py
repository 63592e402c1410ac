"""What a simulation publishes: its observation or its sensors, the time, and its episodes."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.node import Node
from sensor_msgs.msg import JointState

from qpolicy_ros.nodes import qos
from qpolicy_ros.nodes.robot_topics import RobotTopics
from qpolicy_ros.nodes.sim_clock import SharedClock
from qpolicy_ros.policy import PolicyError
from qpolicy_ros.sim.channels import joint_names
from qpolicy_ros.sim.commanded import command_ranges, draw_command
from qpolicy_ros.sim.display import mujoco
from qpolicy_ros.sim.environment import Simulated
from qpolicy_ros.sim.robot import RobotSimulation
from qpolicy_ros.sim.session import Result

EPISODE = ("return", "length", "seed", "terminated", "missed", "vx", "vy", "wz", "failed")

_NANOSECONDS = 1_000_000_000
_DISCOVERY = 1.0  # s
_BETWEEN = 50  # periods from an episode's end to the next one's start: the policy begins anew
_LAST_WORD = Duration(seconds=0.5)


class SimPublishers:
    """The topics of one simulation.

    Args:
        node: that publishes.
        simulation: whose state it is.
        named: whether observations carry names.
        deadline: s, offered to DDS for observations; 0 = none.
        command: forward, left (m/s) and turning (rad/s), commanded on ``cmd_vel`` of a robot.
        speed: m/s, where the first of it was given so.
        command_period: s of simulated time between commands that are drawn; 0: ``command`` stays.
        seed: of what is drawn.

    Attributes:
        stamp: of the observation that was published last.

    Raises:
        PolicyError: a speed for what is no robot.
    """

    def __init__(
        self,
        node: Node,
        simulation: Simulated,
        *,
        named: bool,
        deadline: float,
        command: Sequence[float],
        speed: float,
        command_period: float,
        seed: int,
    ) -> None:
        contract = simulation.contract
        self._simulation = simulation
        self._period_ns = round(contract.period * _NANOSECONDS)
        self._now_ns = self._published_ns = 0
        self._draw_ns = round(command_period * _NANOSECONDS)
        self._drawn_ns = -self._draw_ns  # when a command was drawn last
        self._chance = np.random.default_rng(seed)
        names = [channel.name for channel in contract.observation]
        self._observation = JointState(name=names if named else [])
        joints, self._qpos, self._qvel = _scalar_joints(simulation.model)
        self._joints = JointState(name=joints)
        create = node.create_publisher
        robot = _robot(simulation)
        self._robot: RobotTopics | None = None
        if robot is not None:
            sensors = robot.sensors
            self._ranges = command_ranges(contract, robot.description)
            sensors.command[[0, 1, 5]] = command
            self._robot = RobotTopics(node, sensors.gather, joints, command)
        elif any(command) or command_period:
            name, told = _what_is_commanded(command, speed, command_period)
            wrong = f"{told}, but {contract.task!r} is no robot"
            raise PolicyError.at("", name, wrong, "leave it out")
        else:
            profile = qos.profile(depth=100, deadline=deadline)
            self._observation_publisher = create(JointState, "observation", profile)
            self._joints_publisher = create(JointState, "joint_states", qos.FIGURES)
        self._clock = SharedClock(node)
        self._episodes = create(JointState, "episode", qos.EPISODES)
        self._round_trip = JointState(name=["round_trip"])
        self._round_trips = create(JointState, "round_trip", qos.FIGURES)

    @property
    def stamp(self) -> Time:
        """Of the observation that was published last."""
        return self._observation.header.stamp

    def publish(self, observation: npt.NDArray[np.float32], *, anew: bool = False) -> None:
        """Publish ``observation`` (n,), or what the robot's sensors say, with the next stamp.

        ``anew``: an episode begins. A robot's stamps leave a gap then, by which the policy knows
        that its histories end; the stamps of a feature vector count the steps.
        """
        apart = _BETWEEN if anew and self._robot is not None else 1
        self._now_ns += apart * self._period_ns
        seconds, nanoseconds = divmod(self._now_ns, _NANOSECONDS)
        stamp = Time(sec=seconds, nanosec=nanoseconds)
        self._clock.publish(stamp)
        self._observation.header.stamp = stamp
        if self._robot is not None:
            if self._draw_ns and self._now_ns - self._drawn_ns >= self._draw_ns:
                self._drawn_ns = self._now_ns
                self._robot.command(draw_command(self._chance, self._ranges).tolist())
            self._robot.read()
        else:
            self._observation.position = _doubles(observation)
        self._published_ns = time.monotonic_ns()
        self.publish_again()
        if self._robot is None and self._joints.name:
            data = self._simulation.data
            self._joints.header.stamp = stamp
            self._joints.position = _doubles(data.qpos[self._qpos])
            self._joints.velocity = _doubles(data.qvel[self._qvel])
            self._joints_publisher.publish(self._joints)

    def publish_again(self) -> None:
        """Publish what the policy needs again."""
        if self._robot is not None:
            self._robot.publish(self.stamp)
        else:
            self._observation_publisher.publish(self._observation)

    def report_round_trip(self, arrived_ns: int) -> None:
        """Publish the time from the observation's first publication to its action, µs."""
        self._round_trip.header.stamp = self.stamp
        self._round_trip.position = array("d", ((arrived_ns - self._published_ns) / 1000.0,))
        self._round_trips.publish(self._round_trip)

    def report_episode(self, result: Result) -> None:
        """Publish the result of a finished episode."""
        figures = (*result[:5], *result.velocity, bool(result.fault))
        message = JointState(name=list(EPISODE), position=[float(value) for value in figures])
        message.header.stamp = self.stamp
        self._episodes.publish(message)

    def let_results_arrive(self, results: Sequence[Result]) -> None:
        """Wait a moment: short runs end before DDS has found everyone who wants their results."""
        end = time.monotonic() + _DISCOVERY
        while results and not self._episodes.get_subscription_count() and time.monotonic() < end:
            time.sleep(0.02)
        self._episodes.wait_for_all_acked(_LAST_WORD)


def _robot(simulation: Any) -> RobotSimulation | None:
    """Return a described robot, or the one inside a task; None for others."""
    inside = getattr(getattr(getattr(simulation, "env", None), "unwrapped", None), "robot", None)
    found = inside if hasattr(inside, "sensors") else simulation
    return found if hasattr(found, "sensors") else None


def _what_is_commanded(
    command: Sequence[float], speed: float, command_period: float
) -> tuple[str, str]:
    """Return the parameter that commands, and what it says."""
    if speed:
        return "speed", f"{speed:g} m/s"
    if any(command):
        return "command", f"{command}"
    return "command_period", f"{command_period:g} s"


def _scalar_joints(
    model: Any,
) -> tuple[list[str], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Names of the hinge and slide joints and where they are in ``qpos`` and ``qvel``."""
    if model is None:
        return [], np.empty(0, np.intp), np.empty(0, np.intp)
    kinds = (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)
    scalar = np.isin(model.jnt_type, [int(kind) for kind in kinds])
    names = [name for name, chosen in zip(joint_names(model), scalar, strict=True) if chosen]
    return names, model.jnt_qposadr[scalar], model.jnt_dofadr[scalar]


def _doubles(values: npt.NDArray[Any]) -> array[float]:
    """Return ``values`` as a message field takes them fastest."""
    return array("d", np.asarray(values, dtype=np.float64).tobytes())
