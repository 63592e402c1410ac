"""``mujoco_sim_node``: plays a simulated robot over ROS 2, in lock-step or in real time.

In lock-step the stamp of an observation identifies it: the node steps when an action with that
stamp arrives, and sends the observation again when none comes. No time but simulated time enters,
so the returns equal those of an offline rollout.

A task with a feature vector publishes `observation`; a robot publishes what a robot would.
"""

from __future__ import annotations

import math
import os
import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.nodes import qos
from qpolicy_ros.nodes.parameters import declare
from qpolicy_ros.nodes.runtime import Stop, place, run
from qpolicy_ros.nodes.sim_clock import Pace
from qpolicy_ros.nodes.sim_publishers import SimPublishers
from qpolicy_ros.nodes.sim_specs import NAMES_UP_TO, SPECS, SUMMARY
from qpolicy_ros.policy import PolicyError, find_policy, load_policy
from qpolicy_ros.sim import open_simulation, spread
from qpolicy_ros.sim.display import mujoco
from qpolicy_ros.sim.film import Film
from qpolicy_ros.sim.session import Result, Session

_SILENCE = 1.5  # s until it says who is missing


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
        self._pace = Pace(self, contract.period)
        self._paused = False
        self._action = contract.safe
        self._answer: npt.NDArray[np.float32] | None = None  # to the observation now published
        self._heard = False
        self._held = False  # whether the safe action is applied for want of another
        self._heard_at = time.monotonic()
        self._complaint = ""
        self._said = False  # that nobody answers
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
        self._topics.let_results_arrive(self._session.results)
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
        answers = message.header.stamp == self._topics.stamp
        if not self._realtime and (not answers or self._answer is not None):
            return  # an answer to an earlier observation, or the same one twice
        self._action = action
        if answers:
            # The first observation waits for the policy to start: that is no round trip.
            if self._heard and self._answer is None:
                self._topics.report_round_trip(arrived)
            self._answer = action
        self._heard, self._heard_at, self._held = True, time.monotonic(), False
        if answers and not (self._realtime or self._paused):
            self._step()

    def _tick(self) -> None:
        """Make one step of real time."""
        if self._paused:
            self._pace.pause()
            return
        self._give_up_if_silent()
        if self._heard:
            began = time.monotonic()
            self._hold_if_silent()
            self._step()
            self._pace.stepped(time.monotonic() - began)
        else:
            # The robot is not switched on before its policy is there.
            self._publish()

    def _send_again(self) -> None:
        """Send the observation again: nobody has answered it for ``resend_timeout``."""
        if self._paused or self._answer is not None:
            return
        self._give_up_if_silent()
        self._topics.publish_again()

    def _step(self) -> None:
        result = self._session.step(self._action, missed=self._answer is None)
        self._add_frame()
        if result is not None:
            self._finish(result)
        self._publish(anew=result is not None)

    def _finish(self, result: Result) -> None:
        results = self._session.results
        count, wanted = len(results), self._value("episodes")
        self._topics.report_episode(result)
        missed = f", {result.missed} late actions" if self._realtime else ""
        text = f"episode {count} (seed {result.seed}): {_reward(result.return_)}, "
        if result.fault:
            self.get_logger().error(f"{text}failed after {result.length} steps: {result.fault}")
        else:
            limit = "" if result.terminated else ", time limit"
            self.get_logger().info(f"{text}{result.length} steps{missed}{limit}")
        self._action = self._contract.safe
        if wanted and count >= wanted:
            self._timer.cancel()
            self._paused = True
            returns = [each.return_ for each in results]
            failed = sum(bool(each.fault) for each in results)
            ended = f"{count} episodes: {_reward(float(np.mean(returns)), spread(returns))}"
            self.get_logger().info(f"{ended}, {failed} failed" if failed else ended)
            self._stop(1 if failed else 0)

    def _hold_if_silent(self) -> None:
        """Apply the safe action after ``action_timeout``, as an actuator does by itself."""
        limit = self._value("action_timeout")
        if not limit or self._held or time.monotonic() - self._heard_at <= limit:
            return
        self._held = True
        self._action = self._contract.safe
        self.get_logger().warning(f"no action for {limit:g} s: safe action applied")

    def _say_who_is_missing(self) -> None:
        """Say once, soon, that nobody answers: another domain or middleware looks like that."""
        silent = time.monotonic() - self._heard_at
        if self._heard or self._said or silent < _SILENCE:
            return
        self._said = True
        if not self.count_publishers("action_stamped"):
            where = place(self)
            self.get_logger().info(f"nobody sends 'action_stamped' in {where} yet")

    def _give_up_if_silent(self) -> None:
        self._say_who_is_missing()
        limit = self._value("policy_timeout")
        if limit and time.monotonic() - self._heard_at > limit:
            why = self._complaint or "is policy_node active, in this ROS domain?"
            self.get_logger().error(f"no action on `action_stamped` for {limit:g} s: {why}")
            self._stop(1)

    # Messages

    def _publish(self, *, anew: bool = False) -> None:
        """Publish the observation with the next stamp; ``anew`` where an episode begins."""
        self._answer = None
        self._topics.publish(self._session.observation, anew=anew)
        if not self._realtime and hasattr(self, "_timer"):
            self._timer.reset()

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
            self._topics.publish_again()
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
        self._action_names = [channel.name for channel in self._contract.action]
        self._topics = SimPublishers(
            self,
            self._simulation,
            named=named,
            deadline=self._value("deadline"),
            command=self._command(),
            speed=self._value("speed"),
            command_period=self._value("command_period"),
            seed=self._value("seed"),
        )
        self.create_subscription(JointState, "action_stamped", self._on_action, qos.HEARD)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(SetBool, "~/pause", self._on_pause)
        self.create_service(Trigger, "~/step", self._on_step)


def _reward(return_: float, spread_: float | None = None) -> str:
    """Say what an episode returned; a robot without a task has no reward."""
    if math.isnan(return_):
        return "no reward"
    return f"return {return_:.3f}" + ("" if spread_ is None else f" ± {spread_:.3f}")


def main(args: list[str] | None = None) -> None:
    """Run the node; exits 2 with one line if it cannot start."""
    sys.exit(run(MujocoSimNode, "mujoco_sim_node", SUMMARY, SPECS, args))


if __name__ == "__main__":
    main()
