"""What both ways of serving have in common: answering a feature vector, or running a robot."""

from __future__ import annotations

import abc
from typing import NamedTuple

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.node import Node

from qpolicy_ros.nodes.serving.commanders import Commanders
from qpolicy_ros.nodes.serving.modes import Mode, Modes, Reason
from qpolicy_ros.nodes.serving.outputs import NO_TIME, Outputs
from qpolicy_ros.nodes.serving.server import PolicyServer

SECOND_NS = 1_000_000_000


class Options(NamedTuple):
    """Parameters that a loop needs; see ``policy_specs``."""

    timeout: float
    deadline: float
    ramp_time: float
    lockstep: bool
    engage: bool
    position_commands: bool
    enable_stamped_cmd_vel: bool
    odom_twist_frame: str
    controller: str


class Loop(abc.ABC):
    """Serves a policy from activation to deactivation; one thread runs all of it.

    Args:
        node: whose topics and timers these are.
        server: computes the actions.
        outputs: where they go.
        options: parameters.

    Attributes:
        modes: the state machine.
        now: the robot's time, ns.
        commanders: who else commands the robot.
        record: what happens, of ``server``.
    """

    def __init__(
        self,
        node: Node,
        server: PolicyServer,
        outputs: Outputs,
        options: Options,
    ) -> None:
        self.node, self.server, self.outputs = node, server, outputs
        self.options = options
        self.record = server.record
        self.record.activate()
        contract = server.artifact.contract
        self.modes = Modes(contract, options.ramp_time if contract.robot else 0.0)
        self.period_ns = round(contract.period * SECOND_NS)
        self.steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.now = server.clock
        self.commanders = Commanders(outputs.sender, self.now)
        self._said: set[str] = set()

    @abc.abstractmethod
    def open(self) -> None:
        """Subscribe and serve."""

    @abc.abstractmethod
    def close(self) -> None:
        """Take no more messages, however far ``open`` came."""

    @abc.abstractmethod
    def set_timeout(self, seconds: float) -> None:
        """Change the time without a good observation until the safe action is sent; 0 = off."""

    @abc.abstractmethod
    def start(self) -> str:
        """Leave standby; return what is wrong, empty if nothing is."""

    @abc.abstractmethod
    def problems(self) -> list[str]:
        """Return what is wrong around the node, one sentence each."""

    @abc.abstractmethod
    def waits_for(self) -> str:
        """Return the topic that serving waits for, with what is wrong; empty where for none."""

    def look(self) -> list[str]:
        """Return ``problems``, and log what is new about them and about what is waited for.

        Called once a second, off the hot path.
        """
        found = self.problems()
        log = self.node.get_logger()
        waited = self.waits_for()
        for text in found:
            if text not in self._said:
                log.warning(text)
        if waited and waited not in self._said:
            log.info(waited)
        self._said = {*found, waited}
        return found

    def facts(self) -> dict[str, object]:
        """Return what ``/diagnostics`` shall say about the inputs."""
        return {}

    def stop(self) -> str:
        """Send the safe action, and go on sending it until a reset."""
        if self.modes.mode is Mode.STANDBY:
            return "not started"
        self.modes.stop()
        self.send_safe()
        return ""

    def reset(self) -> str:
        """Go to standby; return what is wrong, empty if nothing is."""
        return self.modes.reset()

    def send_safe(self) -> None:
        """Send the safe action on its own account."""
        self.outputs.send(self.server.guard.hold(), NO_TIME)

    def idle(self, reason: Reason, text: str = "") -> None:
        """Count a tick or an observation without an action of the policy."""
        self.record.idle(reason.value, text)
