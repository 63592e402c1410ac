"""Running a robot: the observation is put together from its topics, once a control period.

In real time a steady timer ticks, however often messages arrive: the policy was trained at one
rate, and what is missing is held or replaced as the contract says. In lock-step a tick comes when
every topic that has a stamp has sent the same new one.
"""

from __future__ import annotations

import time
from array import array
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, Twist, TwistStamped, WrenchStamped
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState

from qpolicy_ros.backends import BackendError
from qpolicy_ros.nodes import qos
from qpolicy_ros.nodes.rcl.hot import hot
from qpolicy_ros.nodes.rcl.messages import Stamp, open_writer, set_stamp, stamp_of
from qpolicy_ros.nodes.serving.commanders import is_watchdog
from qpolicy_ros.nodes.serving.controller import ControllerCheck
from qpolicy_ros.nodes.serving.loop import SECOND_NS, Loop
from qpolicy_ros.nodes.serving.modes import Mode, Reason
from qpolicy_ros.nodes.serving.neighbours import CLOCK, Neighbours, Wanted
from qpolicy_ros.nodes.serving.outputs import NO_TIME, sent_topics
from qpolicy_ros.nodes.serving.robot_clock import RobotClock
from qpolicy_ros.nodes.serving.robot_inputs import RobotInputs
from qpolicy_ros.nodes.serving.timing import Instants
from qpolicy_ros.policy import Assembler, ObservationError
from qpolicy_ros.policy.model import Float32
from qpolicy_ros.policy.sources import CMD_VEL, IMU, JOINT_STATES, ODOM, POSE, TWIST, WRENCH

MESSAGES: dict[str, type] = {
    JOINT_STATES: JointState,
    IMU: Imu,
    ODOM: Odometry,
    CMD_VEL: Twist,
    TWIST: TwistStamped,
    POSE: PoseStamped,
    WRENCH: WrenchStamped,
}

_LOCKSTEP_DEPTH = 10
_MADE_UP = 5  # ticks at most that are made up for when messages of /clock were lost


class RobotLoop(Loop):
    """Ticks through standby, ramp, policy and safe; every fault is kept until ``~/reset``."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        contract = self.server.artifact.contract
        self._assembler = Assembler(contract)
        self.inputs = RobotInputs(
            contract,
            self._assembler.sources,
            position_commands=self.options.position_commands,
            timeless=self.options.lockstep,
            stamped_commands=self.options.enable_stamped_cmd_vel,
            world_twist=self.options.odom_twist_frame == "world",
            clock=self.now,
        )
        self.outputs.name_inputs(self.inputs.used_names)
        self._made: list[tuple[Any, Any]] = []  # how to destroy it, what to destroy
        self._to_engage = self.options.engage
        self._last_tick_ns = self._last_action_ns = self._started_ns = self.now()
        self._began_ns = time.monotonic_ns()
        self._ticks = 0
        self._seen = (0, time.monotonic_ns())  # how many at the last look, and when that was new
        self._neighbours = Neighbours(self.node, {})
        joints = [action.name for action in contract.action]
        self._controller = ControllerCheck(self.node, self.options.controller, joints)
        # In lock-step stamps say when to tick.
        clock = self.now if isinstance(self.now, RobotClock) and self.now.simulated else None
        self._clock = None if self.options.lockstep else clock
        self._next_ns = 0  # simulated time of the next tick
        self._answered = (0, 0)  # stamp, in lock-step
        self.set_timeout(self.options.timeout)

    def open(self) -> None:
        """See ``Loop.open``."""
        node, lockstep = self.node, self.options.lockstep
        writer = open_writer(node, JointState, "observation", qos.FIGURES, self.outputs.library)
        writer.message.name = [c.name for c in self.server.artifact.contract.observation]
        self._observations = writer
        self._made.append((lambda made: made.close(), writer))
        wanted = {name: self._wanted(name) for name in self.inputs.topics}
        for name, topic in wanted.items():
            self._hear(topic.kind, name, partial(self._on_message, name), topic.profile)
        self._hear(JointState, "action_stamped", self._on_command, qos.HEARD)
        if self._clock is not None:
            wanted["/clock"] = CLOCK
            self._hear(Clock, "/clock", self._on_clock, CLOCK.profile)
        elif not lockstep:
            timer = node.create_timer(self.period_ns / SECOND_NS, self._tick, clock=self.steady)
            self._made.append((node.destroy_timer, hot(timer)))
        sent = sent_topics(lockstep=lockstep, deadline=self.options.deadline)
        self._neighbours = Neighbours(node, wanted, sent)
        self._last_tick_ns = self.now()

    def _hear(self, kind: type, topic: str, callback: Any, profile: QoSProfile) -> None:
        taken = self.node.create_subscription(
            kind, topic, callback, profile, event_callbacks=qos.only()
        )
        self._made.append((self.node.destroy_subscription, hot(taken)))

    def close(self) -> None:
        """See ``Loop.close``."""
        self._neighbours.close()
        self._controller.close()
        while self._made:
            destroy, entity = self._made.pop()
            destroy(entity)

    def set_timeout(self, seconds: float) -> None:
        """See ``Loop.set_timeout``."""
        # In lock-step the simulator may take its time.
        self._timeout_ns = 0 if self.options.lockstep else round(seconds * SECOND_NS)

    def start(self) -> str:
        """See ``Loop.start``."""
        now = self.now()
        conflict = self.commanders.conflict()
        if conflict:
            return f"{Reason.OVERRIDDEN.value}: {conflict}"
        if self._controller.problem:
            return f"{Reason.MISNAMED.value}: {self._controller.problem}"
        try:
            self.inputs.read(now, self._timeout_ns)
            pose = self._pose()
        except ObservationError as error:
            return f"{error.reason}: {error}"
        wrong = self.modes.start(pose)
        if wrong:
            return wrong
        self.server.guard.begin(pose)
        self._assembler.reset()
        self._to_engage = False
        self.record.start()
        self._last_action_ns = self._started_ns = now
        self.node.get_logger().info(f"started: {self.modes.mode.value}")
        return ""

    def facts(self) -> dict[str, object]:
        """See ``Loop.facts``."""
        now, facts = self.now(), {}
        for name, topic in self.inputs.topics.items():
            came = topic.arrived_ns
            age = "never" if came is None else f"{(now - came) / 1e6:.1f}"
            facts[f"input.{name}.age_ms"] = age
            facts[f"input.{name}.missed"] = str(topic.missed)
            facts[f"input.{name}.problem"] = topic.problem
        return {
            **facts,
            **{f"refused_messages.{name}": n for name, n in self.inputs.refused.items()},
        }

    def problems(self) -> list[str]:
        """See ``Loop.problems``."""
        found = self._neighbours.look()
        standing = self.modes.mode is Mode.STANDBY
        conflict = self.commanders.conflict() if standing else ""
        controller = self._controller.look()
        found += filter(None, [self.inputs.odometry.problem, conflict, controller])
        ticks, at = self._seen
        now = time.monotonic_ns()
        if self._ticks != ticks:
            self._seen = (self._ticks, now)
        elif self._clock is not None and now - at > SECOND_NS * 3 // 4:
            found.append("use_sim_time: /clock stands still, and so does the policy")
        return found

    def waits_for(self) -> str:
        """See ``Loop.waits_for``."""
        silent = [name for name, t in self.inputs.topics.items() if t.arrived_ns is None]
        if silent and self.modes.mode is Mode.STANDBY:
            problem = next((f": {t.problem}" for t in self.inputs.topics.values() if t.problem), "")
            silent = [name for name in silent if name != CMD_VEL]
            names = ", ".join(map(repr, silent))
            if names:
                unsent = self.unsent(silent)
                return f"waits for the first usable message on {names}{problem}{unsent}"
        command = self.inputs.topics.get(CMD_VEL)
        if command is None or self.options.lockstep or self.modes.mode is not Mode.POLICY:
            return ""
        if command.arrived_ns is None or self.now() - command.arrived_ns > command.limit_ns:
            stand_ins = sorted({value for value in command.stand_ins if value is not None})
            taken = ", ".join(f"{value:g}" for value in stand_ins)
            return f"'cmd_vel' is silent: the commanded speed is {taken} until it speaks"
        return ""

    def _wanted(self, name: str) -> Wanted:
        """Return type and QoS of one of the robot's topics."""
        lockstep = self.options.lockstep
        profile = qos.profile(
            reliable=lockstep and name != CMD_VEL,
            depth=max(_LOCKSTEP_DEPTH, qos.SHARED_DEPTH),
        )
        if name == CMD_VEL:
            stamped = self.options.enable_stamped_cmd_vel
            remedy = f"set enable_stamped_cmd_vel to {str(not stamped).lower()}, or remap it"
            return Wanted(TwistStamped if stamped else Twist, profile, remedy=remedy)
        if name == JOINT_STATES:
            return Wanted(JointState, profile, parts=self._joints_in)
        return Wanted(MESSAGES[self.inputs.topics[name].kind], profile)

    def _joints_in(self, message: JointState) -> list[str]:
        """Return the joints of a message that the policy takes."""
        return [s.key for s in self.inputs.topics[JOINT_STATES].sources if s.key in message.name]

    # Messages

    def _on_message(self, name: str, message: Any) -> None:
        accepted = self.inputs.take(name, message)
        if not self.options.lockstep or name == CMD_VEL:
            return
        stamp = stamp_of(message)
        if not accepted and self.inputs.topics[name].problem:
            self._fault_or_wait(name, stamp)
            return
        if any(other != stamp for other in self.inputs.stamps()):
            return  # the others are under way
        if stamp == self._answered:
            if name == next(iter(self.inputs.topics)):
                self.record.repeat()
                self.outputs.repeat()
            return
        if self._begins_anew(stamp):
            self._assembler.reset()
        self._tick()
        if self.modes.mode is not Mode.STANDBY:
            self._answered = stamp

    def _begins_anew(self, stamp: tuple[int, int]) -> bool:
        """Whether the simulator has begun another episode: its stamps leave a gap, or go back."""
        (now, now_ns), (then, then_ns) = stamp, self._answered
        apart = (now - then) * SECOND_NS + now_ns - then_ns
        return bool(then or then_ns) and not 0 <= apart <= 2 * self.period_ns

    def _on_command(self, message: JointState) -> None:
        """Leave the robot to whoever else commands it."""
        other = self.commanders.hear(message)
        if not other or self.modes.mode not in {Mode.RAMP, Mode.POLICY}:
            return
        if not is_watchdog(message.header.frame_id):
            self._fault(Reason.OVERRIDDEN, self.commanders.text(other))
        # Just after the start the watchdog has not heard of us yet.
        elif self.now() - self._started_ns > self._timeout_ns:
            self._fault(Reason.OVERRIDDEN, f"{other!r} sends commands")

    def _fault_or_wait(self, name: str, stamp: Stamp) -> None:
        """Answer a refused message in lock-step, where the simulator waits for it."""
        if self.modes.mode is Mode.STANDBY:
            self.idle(Reason.WAITING, self.inputs.topics[name].problem)
            return
        reason, _, text = self.inputs.topics[name].problem.partition(": ")
        self._fault(Reason(reason), text)
        self.outputs.send(self.server.guard.hold(), stamp)

    def _on_clock(self, message: Clock) -> None:
        """Tick once a control period of simulated time."""
        clock = self._clock
        assert clock is not None
        now = message.clock.sec * SECOND_NS + message.clock.nanosec
        clock.tell(now)
        # Ticks that a lost message has skipped are made up for; after a jump it begins anew.
        if not -_MADE_UP * self.period_ns <= self._next_ns - now <= self.period_ns:
            self._next_ns = now
        while self._next_ns <= now:
            self._next_ns += self.period_ns
            self._tick()

    # One control period

    def _tick(self) -> None:
        self._ticks += 1
        self._began_ns, now = time.monotonic_ns(), self.now()
        gap, self._last_tick_ns = now - self._last_tick_ns, now
        if gap < 0:
            self.inputs.rebase(now)
            self._last_action_ns = min(self._last_action_ns, now)
        if self.modes.mode is Mode.STANDBY and not self._engaged(now):
            return
        if self._timeout_ns and gap > self._timeout_ns:
            self._fault(Reason.STALLED, f"the node stood still for {gap / SECOND_NS:.3g} s")
        if self.modes.mode is not Mode.SAFE:
            try:
                raw = self.inputs.read(now, self._timeout_ns)
            except ObservationError as error:
                self._fault(Reason(error.reason), str(error))
        if self.modes.mode is Mode.SAFE:
            self.idle(self.modes.reason)
            self.outputs.send(self.server.guard.hold(), self._stamp())
        elif self.modes.mode is Mode.RAMP:
            self.outputs.send(self.server.guard.limit(self.modes.next_pose()), self._stamp())
            self._last_action_ns = now
        else:
            self._act(raw, now)

    def _act(self, raw: list[float], now: int) -> None:
        """Let the policy act; what it answers too late is not sent."""
        server, stamp = self.server, self._stamp()
        try:
            observation = self._assembler.observation(raw)
            action = server.act(observation)
        except (ObservationError, BackendError) as error:
            reason = Reason(self.record.reason if isinstance(error, BackendError) else error.reason)
            if reason is not Reason.DEADLINE:
                self._fault(reason, str(error))
                self.outputs.send(server.guard.hold(), stamp)
            elif self._timeout_ns and now - self._last_action_ns > self._timeout_ns:
                self._fault(reason, f"{error}; no action for {self._timeout_ns / SECOND_NS:g} s")
                self.outputs.send(server.guard.hold(), stamp)
            self.idle(reason)
            return
        began = self._began_ns
        took = time.monotonic_ns() - began
        if self._timeout_ns and took > self._timeout_ns:
            self._fault(Reason.STALLED, f"the backend took {took / SECOND_NS:.3g} s")
            self.outputs.send(server.guard.hold(), stamp)
            self.idle(Reason.STALLED)
            return
        self.outputs.send(action, stamp)
        published = time.monotonic_ns()
        self._assembler.acted(action, server.computed)
        self.record.answer(late=published - began > self.period_ns)
        self._last_action_ns = now
        if self.outputs.is_timing_heard():
            # Of several messages: how old the oldest is, from its arrival on; no queue is known.
            age = now - self.inputs.oldest_ns(now)
            instants = Instants.of(server, age, -1, began, published)
            self.outputs.send_timing(stamp, server.backend, instants, self.inputs.used(now))
        if not self._observations.is_heard():
            return
        message = self._observations.message
        set_stamp(message, stamp)
        message.position = array("d", observation.astype(np.float64).tobytes())
        self._observations.publish()

    def _engaged(self, now: int) -> bool:
        """Whether the policy commands; start it by itself once all inputs are there, if it may."""
        try:
            self.inputs.read(now, self._timeout_ns)
        except ObservationError as error:
            self.idle(Reason.WAITING, str(error))
            return False
        if self.options.lockstep and self._first_command_is_under_way():
            self.idle(Reason.WAITING, f"nothing on {CMD_VEL!r} yet, which has a sender")
            return False
        wrong = self.start() if self._to_engage else ""
        if wrong:
            self.idle(Reason.WAITING, wrong)
        elif self.modes.mode is Mode.STANDBY:
            self.idle(Reason.STANDBY)
        return self.modes.mode is not Mode.STANDBY

    def _first_command_is_under_way(self) -> bool:
        """Whether a sender of commands is there that has not sent its first one yet."""
        command = self.inputs.topics.get(CMD_VEL)
        if command is None or command.arrived_ns is not None:
            return False
        return self.node.count_publishers(self.node.resolve_topic_name(CMD_VEL)) == 1

    def _fault(self, reason: Reason, text: str) -> None:
        """Keep to the safe action until a reset."""
        if self.modes.mode is Mode.SAFE:
            return
        self.modes.fault(reason, text)
        said = self.record.stop_coming if reason is Reason.STALE else self.record.explain
        said(reason.value, text)
        self.node.get_logger().error(f"{self.record.last_reason}; safe action until ~/reset")

    def _pose(self) -> Float32:
        """Return where the ramp starts: the measured joints, or the safe action."""
        contract = self.server.artifact.contract
        if not self.options.position_commands or JOINT_STATES not in self.inputs.topics:
            return contract.safe
        measured = self.inputs.pose
        for action in contract.action:
            if action.name not in measured:
                text = f"joint_states has no {action.name!r}, which the policy commands"
                raise ObservationError("missing", text)
        return np.array([measured[action.name] for action in contract.action], np.float32)

    def _stamp(self) -> Stamp:
        stamps = self.inputs.stamps()
        return stamps[0] if stamps else NO_TIME
