"""``safety_watchdog``: sends the safe action when the policy's commands stop.

A second process, so that it works when the policy's process hangs as a whole. It listens to
``action_stamped`` and says nothing as long as commands come. When they stop, and the last one was
not the safe action, it sends the safe action, once a control period, until the policy is back.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.node import Node
from sensor_msgs.msg import JointState

from qpolicy_ros.nodes import diagnostics, qos
from qpolicy_ros.nodes.parameters import Spec, declare
from qpolicy_ros.nodes.runtime import Stop, run
from qpolicy_ros.nodes.serving.outputs import NO_TIME, Outputs
from qpolicy_ros.policy import PolicyError, find_policy, load_policy

SUMMARY = "Send the safe action when the policy's commands stop."

SPECS = (
    Spec("policy", "", "as of policy_node: it gives the safe action", read_only=True),
    Spec("task", "", "taken where `policy` is empty", read_only=True),
    Spec("command_timeout", 1.0, "s without a command until the safe action is sent; longer than "
         "the policy node's `timeout`, so that the two never both command", (0.001, 3600.0),
         read_only=True),
)  # fmt: skip

_SECOND_NS = 1_000_000_000


class SafetyWatchdog(Node):
    """Watches ``action_stamped``; see ``SPECS`` for its parameters.

    Args:
        stop: not used; it ends by signal.

    Raises:
        PolicyError: no such policy.
    """

    def __init__(self, stop: Stop) -> None:  # noqa: ARG002 what `run` gives
        super().__init__("safety_watchdog")
        declare(self, SPECS)
        policy = self._value("policy") or self._value("task")
        if not policy:
            remedy = "set it to the policy node's"
            raise PolicyError.at("", "policy", "is empty", remedy)
        contract = load_policy(find_policy(policy)).contract
        self._safe = contract.safe
        self._period_ns = round(contract.period * _SECOND_NS)
        self._limit_ns = round(self._value("command_timeout") * _SECOND_NS)
        self._safe_values = contract.safe.tolist()
        self._heard_ns: int | None = None
        self._looked_ns = time.monotonic_ns()
        self._last_is_safe = True
        self._sending = False
        self._took_over = 0
        self._outputs = Outputs(
            self, contract, 0.0, lockstep=False, timing=False, sender=self.get_name()
        )
        self.create_subscription(JointState, "action_stamped", self._on_action, qos.HEARD)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(contract.period, self._look, clock=steady)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.FIGURES)
        self.create_timer(1.0, self._report, clock=steady)
        self.get_logger().info(
            f"{contract.task}: safe action after {self._value('command_timeout'):g} s of silence"
        )

    def close(self) -> None:
        """Leave the robot safe if nobody else does."""
        if self._sending:
            self._send()
            self._outputs.flush()

    def _on_action(self, message: JointState) -> None:
        if message.header.frame_id == self.get_name():
            return  # its own
        self._heard_ns = time.monotonic_ns()
        self._last_is_safe = list(message.position) == self._safe_values
        if self._sending:
            self._sending = False
            self.get_logger().info("commands come again")

    def _look(self) -> None:
        """Take over where the policy has gone silent; once a control period."""
        now = time.monotonic_ns()
        gap, self._looked_ns = now - self._looked_ns, now
        if self._heard_ns is None or self._last_is_safe:
            return
        if gap > self._limit_ns // 2:
            return  # it was this process that stood still: commands may be waiting to be taken
        silent = now - self._heard_ns
        if silent <= self._limit_ns:
            return
        if not self._sending:
            self._sending = True
            self._took_over += 1
            self.get_logger().error(
                f"no command for {silent / _SECOND_NS:.3g} s: the safe action is sent"
            )
        self._send()

    def _send(self) -> None:
        self._outputs.send(self._safe, NO_TIME)

    def _report(self) -> None:
        level, text = diagnostics.OK, "listens"
        if self._heard_ns is None:
            text = "no command yet"
        elif self._sending:
            level, text = diagnostics.ERROR, "the policy is silent: the safe action is sent"
        values = {"took_over": self._took_over, "sending": self._sending}
        self._diagnostics.publish(diagnostics.diagnostics(self, "commands", level, text, values))

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value


def main(args: list[str] | None = None) -> None:
    """Run the node; exits 2 with one line if it cannot start."""
    sys.exit(run(SafetyWatchdog, "safety_watchdog", SUMMARY, SPECS, args))


if __name__ == "__main__":
    main()
