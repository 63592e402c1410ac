"""Serving a feature vector: each observation is answered by one action."""

from __future__ import annotations

import time
from array import array
from typing import Any

from rclpy.subscription import Subscription
from sensor_msgs.msg import JointState

from qpolicy_ros.backends import BackendError
from qpolicy_ros.nodes import qos
from qpolicy_ros.nodes.rcl.hot import hot
from qpolicy_ros.nodes.rcl.messages import Stamp, stamp_of
from qpolicy_ros.nodes.runtime import gives_message_info
from qpolicy_ros.nodes.serving.commanders import is_watchdog
from qpolicy_ros.nodes.serving.loop import SECOND_NS, Loop
from qpolicy_ros.nodes.serving.modes import Mode, Reason
from qpolicy_ros.nodes.serving.neighbours import Neighbours, Wanted
from qpolicy_ros.nodes.serving.outputs import sent_topics
from qpolicy_ros.nodes.serving.timing import Instants, ages
from qpolicy_ros.policy import ObservationError


class FeatureLoop(Loop):
    """Answers ``observation``; a refused one gets the safe action and serving goes on."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._subscription: Subscription | None = None
        self._last_values: array[float] | None = None
        self._lockstep = self.options.lockstep
        self._observed = False  # whether anything has come
        self._served_ns = 0  # monotonic time of the last good answer
        self._heard: Subscription | None = None  # only while somebody else may command
        self._to_engage = False
        self._profile = qos.profile(
            reliable=self.options.lockstep, depth=1, deadline=self.options.deadline
        )
        self._neighbours = Neighbours(
            self.node,
            {"observation": Wanted(JointState, self._profile)},
            sent_topics(lockstep=self.options.lockstep, deadline=self.options.deadline),
        )
        self._watchdog = hot(self.node.create_timer(1.0, self._on_timeout, clock=self.steady))
        self._watchdog.cancel()

    def open(self) -> None:
        """See ``Loop.open``."""
        deadline = self.options.deadline
        callback: Any = self._on_observation if gives_message_info() else self._on_bare_observation
        self._subscription = self.node.create_subscription(
            JointState,
            "observation",
            callback,
            self._profile,
            event_callbacks=qos.only(self._on_deadline_missed if deadline > 0 else None),
        )
        hot(self._subscription)
        self.set_timeout(self.options.timeout)
        self._listen()
        if self.options.engage and self._heard is None:
            self.start()
        else:  # after a second of listening
            self._to_engage = self.options.engage

    def close(self) -> None:
        """See ``Loop.close``."""
        self._neighbours.close()
        self.node.destroy_timer(self._watchdog)
        if self._heard is not None:
            self.node.destroy_subscription(self._heard)
            self._heard = None
        if self._subscription is not None:
            self.node.destroy_subscription(self._subscription)
            self._subscription = None

    def set_timeout(self, seconds: float) -> None:
        """See ``Loop.set_timeout``."""
        self.options = self.options._replace(timeout=seconds)
        self._watchdog.cancel()
        self._served_ns = time.monotonic_ns()
        if seconds > 0:
            self._arm(round(seconds * SECOND_NS))

    def start(self) -> str:
        """See ``Loop.start``."""
        conflict = self.commanders.conflict()
        if conflict:
            return f"{Reason.OVERRIDDEN.value}: {conflict}"
        self._to_engage = False
        return self.modes.start()

    def problems(self) -> list[str]:
        """See ``Loop.problems``."""
        self._listen()
        wrong = self.start() if self._to_engage else ""
        return [*self._neighbours.look(), *filter(None, [wrong])]

    def waits_for(self) -> str:
        """See ``Loop.waits_for``."""
        return "" if self._observed else "waits for the first message on 'observation'"

    def _listen(self) -> None:
        """Hear commands while somebody else may send some: one's own cost time."""
        if self._heard is None and self.node.count_publishers("action_stamped") > 1:
            self._heard = self.node.create_subscription(
                JointState, "action_stamped", self._on_command, qos.HEARD
            )

    def _on_command(self, message: JointState) -> None:
        other = self.commanders.hear(message)
        if other and not is_watchdog(other) and self.modes.mode is Mode.POLICY:
            text = self.commanders.text(other)
            self.modes.fault(Reason.OVERRIDDEN, text)
            self.record.explain(Reason.OVERRIDDEN.value, text)
            self.node.get_logger().error(f"{self.record.last_reason}; safe action until ~/reset")

    # Hot path

    def _on_bare_observation(self, message: JointState) -> None:
        self._on_observation(message, None)

    def _on_observation(self, message: JointState, info: dict[str, Any] | None) -> None:
        arrived = time.monotonic_ns()
        self._observed = True
        stamp = stamp_of(message)
        if self._lockstep and self._is_repeat(stamp, message):
            self.record.repeat()
            self.outputs.repeat()
            return
        if self.modes.mode is not Mode.POLICY:
            self._answer_without_policy(stamp, message)
            return
        server = self.server
        try:
            action = server.answer(message)
        except (ObservationError, BackendError):
            self.record.idle(self.record.reason)
            self._hold(stamp, message)
            return
        self.outputs.send(action, stamp)
        published = time.monotonic_ns()
        self._keep(message)
        self.record.answer(late=published - arrived > self.period_ns)
        self.record.recover()
        self._served_ns = published
        if self.outputs.is_timing_heard():
            wall_clock = time.time_ns() - (time.monotonic_ns() - arrived)
            instants = Instants.of(server, *ages(info, wall_clock), arrived, published)
            self.outputs.send_timing(stamp, server.backend, instants)

    def _answer_without_policy(self, stamp: Stamp, message: Any) -> None:
        """In safe the safe action goes out, in standby none."""
        self.idle(self.modes.reason)
        if self.modes.mode is Mode.SAFE:
            self._hold(stamp, message)

    def _hold(self, stamp: Stamp, message: Any) -> None:
        """Answer with the safe action."""
        self.outputs.send(self.server.guard.hold(), stamp)
        self._keep(message)

    def _keep(self, message: Any) -> None:
        """Remember what has just been answered, where it may come again."""
        if self._lockstep:
            self._last_values = message.position

    def _is_repeat(self, stamp: Stamp, message: Any) -> bool:
        """Whether this observation has just been answered (a simulator that sends it again)."""
        return bool(stamp == self.outputs.stamp and message.position == self._last_values)

    # Watchdogs

    def _arm(self, wait_ns: int) -> None:
        self._watchdog.timer_period_ns = wait_ns
        self._watchdog.reset()

    def _on_timeout(self) -> None:
        """Hold the safe action if ``timeout`` has passed since the last good observation.

        Resetting the timer at every observation would wake the executor once more each time.
        """
        timeout_ns = round(self.options.timeout * SECOND_NS)
        left = self._served_ns + timeout_ns - time.monotonic_ns()
        self._arm(left if left > 0 else timeout_ns)
        if left > 0:
            return
        if self.modes.mode is Mode.STANDBY:
            return
        if not self.record.is_stale:
            text = f"no good observation for {self.options.timeout:g} s, safe action held"
            self.record.stop_coming(Reason.STALE.value, text)
            # In lock-step the robot stands still meanwhile, and before the first one none is there.
            if self.options.lockstep or not self._observed:
                self.node.get_logger().info(self.record.last_reason)
            else:
                self.node.get_logger().warning(self.record.last_reason)
        self.send_safe()

    def _on_deadline_missed(self, event: Any) -> None:
        self.record.miss(event.total_count_change)
