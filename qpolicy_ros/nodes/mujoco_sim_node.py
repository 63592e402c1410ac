"""``mujoco_sim_node``: plays a simulated robot over ROS 2, in lock-step or in real time.

In lock-step the stamp of an observation identifies it: the node steps when an action with that
stamp arrives, and sends the observation again when none comes. No time but simulated time enters,
so the returns equal those of an offline rollout.

A task with a feature vector publishes `observation`; a robot publishes what a robot would.
"""

from __future__ import annotations

import os
import sys
import time
from array import array
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.duration import Duration
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.nodes import qos
from qpolicy_ros.nodes.parameters import declare
from qpolicy_ros.nodes.robot_topics import RobotTopics
from qpolicy_ros.nodes.runtime import Stop, run
from qpolicy_ros.nodes.sim_specs import NAMES_UP_TO, SPECS, SUMMARY
from qpolicy_ros.policy import PolicyError, find_policy, load_policy
from qpolicy_ros.sim import open_simulation, spread
from qpolicy_ros.sim.channels import joint_names
from qpolicy_ros.sim.film import Film
from qpolicy_ros.sim.session import Result, Session

EPISODE = ("return", "length", "seed", "terminated", "missed", "vx", "vy", "wz")

_NANOSECONDS = 1_000_000_000
_DISCOVERY = 1.0  # s
_BETWEEN = 50  # periods from an episode's end to the next one's start: the policy begins anew
_LAST_WORD = Duration(seconds=0.5)


class MujocoSimNode(Node):
    """Node around a :class:`Session`; see ``sim_specs`` for its parameters.

    Args:
        stop: called to end the process.

    Raises:
        PolicyError: unknown task, wrong parameter, no film possible.
    """

    def __init__(self, stop: Stop) -> None:
        super().__init__("mujoco_sim_node")
        declare(self, SPECS)
        self._stop = stop
        self._simulation = self._open()
        contract = self._contract = self._simulation.contract
        self._film = self._open_film()
        self._period_ns = round(contract.period * _NANOSECONDS)
        self._now_ns = 0
        self._paused = False
        self._action = contract.safe
        self._answer: npt.NDArray[np.float32] | None = None  # to the observation now published
        self._heard = False
        self._held = False  # whether the safe action is applied for want of another
        self._heard_at = time.monotonic()
        self._complaint = ""
        self._realtime: bool = self._value("realtime")
        self._make_topics()
        self._session = Session(self._simulation, self._value("seed"))
        self._publish()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        if self._realtime:
            self._timer = self.create_timer(contract.period, self._tick, clock=steady)
        else:
            self._timer = self.create_timer(
                self._value("resend_timeout"), self._send_again, clock=steady
            )
        self.get_logger().info(
            f"{contract.task}: {len(contract.observation)} values out, {len(contract.action)} "
            f"actions in every {contract.period * 1e3:g} ms, "
            f"{'real-time' if self._realtime else 'lock-step'}, mujoco {mujoco.__version__}"
        )

    def close(self) -> None:
        """Finish the film, let the last results arrive, close the simulation."""
        if self._film is not None:
            self._film.close()
        # Short runs end before DDS has found everyone who wants their results.
        end = time.monotonic() + _DISCOVERY
        publisher = self._episode_publisher
        while (
            self._session.results
            and not publisher.get_subscription_count()
            and time.monotonic() < end
        ):
            time.sleep(0.02)
        publisher.wait_for_all_acked(_LAST_WORD)
        self._simulation.close()

    # Steps

    def _on_action(self, message: JointState) -> None:
        arrived = time.monotonic_ns()
        # The policy's float32 values survive their way through float64 exactly.
        action = np.array(message.position, dtype=np.float32)
        complaint = self._check(message, action)
        if not complaint and message.name and message.name != self._action_names:
            action = action[[message.name.index(name) for name in self._action_names]]
        if complaint:
            if complaint != self._complaint:
                self.get_logger().error(complaint)
                self._complaint = complaint
            return
        answers = message.header.stamp == self._observation_message.header.stamp
        if not self._realtime and (not answers or self._answer is not None):
            return  # an answer to an earlier observation, or the same one twice
        self._action = action
        if answers:
            # The first observation waits for the policy to start: that is no round trip.
            if self._heard and self._answer is None:
                self._report_round_trip(arrived)
            self._answer = action
        self._heard, self._heard_at, self._held = True, time.monotonic(), False
        if answers and not (self._realtime or self._paused):
            self._step()

    def _tick(self) -> None:
        """Make one step of real time."""
        if self._paused:
            return
        self._give_up_if_silent()
        if self._heard:
            self._hold_if_silent()
            self._step()
        else:
            # The robot is not switched on before its policy is there.
            self._publish()

    def _send_again(self) -> None:
        """Send the observation again: nobody has answered it for ``resend_timeout``."""
        if self._paused or self._answer is not None:
            return
        self._give_up_if_silent()
        self._publish_observation()

    def _step(self) -> None:
        result = self._session.step(self._action, missed=self._answer is None)
        self._add_frame()
        if result is not None:
            self._finish(result)
        self._publish(anew=result is not None)

    def _finish(self, result: Result) -> None:
        count, wanted = len(self._session.results), self._value("episodes")
        figures = (*result[:-1], *result.velocity)
        message = JointState(name=list(EPISODE), position=[float(each) for each in figures])
        message.header.stamp = self._stamp()
        self._episode_publisher.publish(message)
        missed = f", {result.missed} late actions" if self._realtime else ""
        self.get_logger().info(
            f"episode {count} (seed {result.seed}): return {result.return_:.3f}, "
            f"{result.length} steps{missed}{'' if result.terminated else ', time limit'}"
        )
        self._action = self._contract.safe
        if wanted and count >= wanted:
            self._timer.cancel()
            self._paused = True
            returns = [each.return_ for each in self._session.results]
            self.get_logger().info(
                f"{count} episodes: return {np.mean(returns):.3f} ± {spread(returns):.3f}"
            )
            self._stop()

    def _hold_if_silent(self) -> None:
        """Apply the safe action after ``action_timeout``, as an actuator does by itself."""
        limit = self._value("action_timeout")
        if not limit or self._held or time.monotonic() - self._heard_at <= limit:
            return
        self._held = True
        self._action = self._contract.safe
        self.get_logger().warning(f"no action for {limit:g} s: safe action applied")

    def _give_up_if_silent(self) -> None:
        limit = self._value("policy_timeout")
        if limit and time.monotonic() - self._heard_at > limit:
            why = self._complaint or "is policy_node active, in this ROS domain?"
            self.get_logger().error(f"no action on `action_stamped` for {limit:g} s: {why}")
            self._stop(1)

    # Messages

    def _publish(self, *, anew: bool = False) -> None:
        """Publish the observation with the next stamp.

        ``anew``: an episode begins. A robot's stamps leave a gap then, by which the policy knows
        that its histories end; the stamps of a feature vector count the steps.
        """
        apart = _BETWEEN if anew and self._robot_topics is not None else 1
        self._now_ns += apart * self._period_ns
        self._answer = None
        stamp = self._stamp()
        self._clock_publisher.publish(ClockMessage(clock=stamp))
        message = self._observation_message
        message.header.stamp = stamp
        if self._robot_topics is not None:
            self._robot_topics.read()
        else:
            message.position = _doubles(self._session.observation)
        self._published_ns = time.monotonic_ns()
        self._publish_observation()
        if self._robot_topics is None and self._joints_message.name:
            data = self._simulation.data
            self._joints_message.header.stamp = stamp
            self._joints_message.position = _doubles(data.qpos[self._qpos])
            self._joints_message.velocity = _doubles(data.qvel[self._qvel])
            self._joints_publisher.publish(self._joints_message)
        if not self._realtime and hasattr(self, "_timer"):
            self._timer.reset()

    def _publish_observation(self) -> None:
        """Publish what the policy needs, or publish it again."""
        message = self._observation_message
        if self._robot_topics is not None:
            self._robot_topics.publish(message.header.stamp)
        else:
            self._observation_publisher.publish(message)

    def _report_round_trip(self, arrived: int) -> None:
        """Publish the time from the observation's first publication to its action, µs."""
        message = self._round_trip_message
        message.header.stamp = self._observation_message.header.stamp
        message.position = array("d", ((arrived - self._published_ns) / 1000.0,))
        self._round_trip_publisher.publish(message)

    def _stamp(self) -> Time:
        seconds, nanoseconds = divmod(self._now_ns, _NANOSECONDS)
        return Time(sec=seconds, nanosec=nanoseconds)

    def _check(self, message: JointState, action: npt.NDArray[np.float32]) -> str:
        """Return what is wrong with an action, empty if nothing is."""
        expected = self._action_names
        if message.name and sorted(message.name) != sorted(expected):
            return (
                f"action_stamped: names {list(message.name)} where {self._contract.task} has "
                f"{expected}: is the policy for another task?"
            )
        if action.size != len(expected):
            return f"action_stamped: {action.size} values where {len(expected)} are expected"
        if not np.isfinite(action).all():
            return f"action_stamped: {action.tolist()} is not finite"
        return ""

    # Services

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._session.next_episode()
        self._action = self._contract.safe
        self._publish(anew=True)
        response.success, response.message = True, f"seed {self._session.seed}"
        return response

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._paused = request.data
        self._heard_at = time.monotonic()
        if not self._paused and not self._realtime and self._answer is not None:
            self._step()
        response.success, response.message = True, "paused" if self._paused else "running"
        return response

    def _on_step(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = False
        if not self._paused:
            response.message = "not paused; call ~/pause first"
        elif self._answer is None and not self._realtime:
            response.message = "the observation has not been answered yet"
            self._publish_observation()
        else:
            self._step()
            response.success = True
        return response

    # Set-up

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _command(self) -> list[float]:
        """Return what is commanded: forward, left, turning."""
        command = list(self._value("command"))
        if len(command) != 3:
            wrong = f"{command} is not three numbers"
            raise PolicyError.at("", "command", wrong, "give forward, left (m/s), turning (rad/s)")
        return command if any(command) else [self._value("speed"), 0.0, 0.0]

    def _open(self) -> Any:
        headless, video = self._value("headless"), self._value("video")
        if video and not headless:
            wrong = f"{video!r} is rendered offscreen, headless is false"
            raise PolicyError.at("", "video", wrong, "set headless to true or leave video out")
        if not headless and sys.platform == "linux" and not os.environ.get("DISPLAY"):
            remedy = "set headless to true, or DISPLAY to a display"
            raise PolicyError.at("", "headless", "false, but there is no display", remedy)
        mode = "rgb_array" if video else None if headless else "human"
        policy = self._value("policy")
        return open_simulation(
            self._value("task"),
            mode,
            self._value("max_episode_steps") or None,
            self._value("period") or None,
            load_policy(find_policy(policy)).contract if policy else None,
            self._value("fallen_below"),
        )

    def _open_film(self) -> Film | None:
        path = self._value("video")
        return Film(path, self._contract.period) if path else None

    def _add_frame(self) -> None:
        if self._film is None:
            return
        try:
            self._film.add(self._simulation)
        except InputError as error:
            self.get_logger().warning(f"no film: {error}")
            self._film.close()
            self._film = None

    def _make_topics(self) -> None:
        names = [channel.name for channel in self._contract.observation]
        wanted = self._value("names")
        if wanted not in {"auto", "always", "never"}:
            raise PolicyError.at("", "names", f"{wanted!r} is unknown", "auto, always or never")
        named = wanted == "always" or (wanted == "auto" and len(names) <= NAMES_UP_TO)
        self._observation_message = JointState(name=names if named else [])
        self._action_names = [channel.name for channel in self._contract.action]
        joints, self._qpos, self._qvel = _scalar_joints(self._simulation.model)
        self._joints_message = JointState(name=joints)
        create = self.create_publisher
        sensors, command = _sensors(self._simulation), self._command()
        self._robot_topics: RobotTopics | None = None
        if sensors is not None:
            sensors.command[[0, 1, 5]] = command
            self._robot_topics = RobotTopics(self, sensors.gather, joints, command)
        elif any(command):
            speed, task = self._value("speed"), self._contract.task
            name, told = ("speed", f"{speed:g} m/s") if speed else ("command", f"{command}")
            raise PolicyError.at("", name, f"{told}, but {task!r} is no robot", "leave it out")
        else:
            profile = qos.profile(depth=100, deadline=self._value("deadline"))
            self._observation_publisher = create(JointState, "observation", profile)
            self._joints_publisher = create(JointState, "joint_states", qos.FIGURES)
        self._clock_publisher = create(ClockMessage, "/clock", qos.FIGURES)
        self._episode_publisher = create(JointState, "episode", qos.EPISODES)
        self._round_trip_message = JointState(name=["round_trip"])
        self._round_trip_publisher = create(JointState, "round_trip", qos.FIGURES)
        self.create_subscription(JointState, "action_stamped", self._on_action, qos.COMMAND)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(SetBool, "~/pause", self._on_pause)
        self.create_service(Trigger, "~/step", self._on_step)


def _sensors(simulation: Any) -> Any:
    """Return the sensors of a described robot, or of one inside a task; None for others."""
    robot = getattr(getattr(getattr(simulation, "env", None), "unwrapped", None), "robot", None)
    return getattr(simulation, "sensors", getattr(robot, "sensors", None))


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


def main(args: list[str] | None = None) -> None:
    """Run the node; exits 2 with one line if it cannot start."""
    sys.exit(run(MujocoSimNode, "mujoco_sim_node", SUMMARY, SPECS, args))


if __name__ == "__main__":
    main()
