"""An independent witness: takes every command that anybody sends, and checks each one."""

from __future__ import annotations

import math
import threading
import time
from typing import Any, NamedTuple

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from ros_processes import Place
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from qpolicy_ros.nodes import qos
from qpolicy_ros.policy import Contract

_ROUNDING = 1e-5
_LATE = 1.0  # s


class Command(NamedTuple):
    """One command as it came in; ``at`` is monotonic, s."""

    at: float
    stamp: tuple[int, int]
    values: tuple[float, ...]


class Monitor:
    """Listens in a thread of its own until it is closed.

    A command is unsafe if it is not finite, has another length, is outside its limits, or is
    further than a joint's rate allows in a control period from the command before and from where
    the joint is. The safe action is always safe. Commands that a busy monitor has not seen are
    counted in. A command that its sender had under way when it was frozen is late, not unsafe:
    its stamp is old, which tells a receiver to drop it.
    """

    def __init__(self, place: Place, contract: Contract) -> None:
        self._contract = contract
        self.safe = tuple(contract.safe.tolist())
        self.commands: list[Command] = []
        self.unsafe: list[str] = []
        self.late: list[Command] = []
        self.bare = 0
        self._robot_stamp = 0.0
        self.measured: dict[str, float] = {}
        self._sequences: dict[bytes, int] = {}
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=place.domain)
        self._node = rclpy.create_node("monitor", context=self._context, namespace=place.namespace)
        profile = qos.profile(depth=1000)
        self._node.create_subscription(JointState, "action_stamped", self._on_stamped, profile)
        self._node.create_subscription(JointState, "joint_states", self._on_joints, profile)
        self._node.create_subscription(Float64MultiArray, "action", self._on_bare, profile)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)

    def since(self, at: float) -> list[Command]:
        return [command for command in list(self.commands) if command.at >= at]

    def hears(self, topic: str) -> bool:
        """Whether a publisher of ``topic`` has been found."""
        return bool(self._node.count_publishers(topic))

    def wait_for(self, condition: Any, timeout: float = 30.0) -> None:
        """Wait until ``condition()`` holds; fail after ``timeout`` s."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.01)

    def safe_at(self, since: float) -> float | None:
        """When the commands became safe for good after ``since``; None if they are not."""
        after = self.since(since)
        if not after or after[-1].values != self.safe:
            return None
        first = after[-1]
        for command in reversed(after):
            if command.values != self.safe:
                break
            first = command
        return first.at

    def _on_joints(self, message: JointState) -> None:
        self._robot_stamp = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
        self.measured.update(zip(message.name, message.position, strict=False))

    def _on_stamped(self, message: JointState, info: dict[str, Any]) -> None:
        stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
        command = Command(time.monotonic(), stamp, tuple(message.position))
        names = [action.name for action in self._contract.action]
        if list(message.name) != names:
            self.unsafe.append(f"names {list(message.name)}")
        self._check(command.values, "action_stamped")
        publisher = bytes(info.get("publisher_gid", {"data": b""})["data"])  # Jazzy has none
        sequence = info["publication_sequence_number"]
        self._check_rate(command, sequence - self._sequences.get(publisher, sequence - 1))
        self._sequences[publisher] = sequence
        self.commands.append(command)

    def _on_bare(self, message: Float64MultiArray) -> None:
        self.bare += 1
        self._check(tuple(message.data), "action")

    def _check(self, values: tuple[float, ...], topic: str) -> None:
        actions = self._contract.action
        if len(values) != len(actions):
            self.unsafe.append(f"{topic}: {len(values)} values")
            return
        for action, value in zip(actions, values, strict=True):
            low, high = np.float32(action.low), np.float32(action.high)
            if not (math.isfinite(value) and low <= value <= high):
                self.unsafe.append(f"{topic}: {action.name} is {value}")

    def _check_rate(self, command: Command, periods: int) -> None:
        if command.values == self.safe:
            return
        contract = self._contract
        last = self.commands[-1].values if self.commands else command.values
        step = contract.rate.astype(float) * contract.period * periods + _ROUNDING
        for action, new, old, most in zip(contract.action, command.values, last, step, strict=True):
            here = self.measured.get(action.name, math.inf)
            if abs(new - old) > most and not abs(new - here) <= most:
                if self._robot_stamp - (command.stamp[0] + command.stamp[1] * 1e-9) > _LATE:
                    self.late.append(command)
                    return
                wrong = f"{action.name} from {old} to {new} while at {here}"
                self.unsafe.append(f"action_stamped: {wrong}; {command}")
