"""Nodes as children, and what sends them observations and takes the time to their answers."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rclpy
from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState

from qpolicy_ros.bench.cases import Case
from qpolicy_ros.harness.processes import Child, NodeError
from qpolicy_ros.nodes import qos
from qpolicy_ros.policy import save_policy

RATE = 1000.0  # observations a second
ECHO = "rclpy echo"
ECHO_ALL = "rclpy echo, 3 messages"
_ECHOES = {ECHO: False, ECHO_ALL: True}
_PATIENCE = 30.0  # s for the nodes to start
_ANSWER = 5.0  # s for one answer on a busy machine


class Exchange:
    """Sends observations to one node and waits for its answers.

    Args:
        node: publishes and subscribes here.
        executor: spins ``node``.
        namespace: of the other node's topics.
        names: of the observation's values.
        observations: float32 (k, n), sent in turn.
        child: the process of the other node.
    """

    def __init__(
        self,
        node: Any,
        executor: Any,
        namespace: str,
        names: list[str],
        observations: np.ndarray,
        child: Child,
    ) -> None:
        self._executor = executor
        self._child = child
        self.asked = 0
        self._arrived = 0
        self._answer: JointState | None = None
        self._message = JointState(name=names)
        self._rows = [array("d", row.astype(np.float64).tobytes()) for row in observations]
        # The simulator's profiles.
        self._publisher = node.create_publisher(
            JointState, f"{namespace}/observation", qos.profile(depth=10)
        )
        node.create_subscription(
            JointState, f"{namespace}/action_stamped", self._on_action, qos.COMMAND
        )

    def wait_until_served(self) -> None:
        """Send an observation now and then until it is answered."""
        end = time.monotonic() + _PATIENCE
        while not self._exchange(self._rows[0], 0.2):
            self._child.check_alive()
            if time.monotonic() > end:
                raise NodeError(f"no answer for {_PATIENCE:g} s: {self._child.complaint()}")

    def ask(self, observation: np.ndarray) -> npt.NDArray[np.float32]:
        """Return the action float32 (m,) for an observation float32 (n,)."""
        self._must_answer(array("d", observation.astype(np.float64).tobytes()))
        assert self._answer is not None
        return np.array(self._answer.position, np.float32)

    def block(self, calls: int) -> list[int]:
        """Exchange ``calls`` observations at the fixed rate; return the round trips, ns."""
        durations = []
        period = 1.0 / RATE
        due = time.perf_counter()
        for index in range(calls):
            durations.append(self._must_answer(self._rows[index % len(self._rows)]))
            now = time.perf_counter()
            due = max(due + period, now)
            time.sleep(due - now)
        return durations

    def flood(self, calls: int) -> None:
        """Exchange ``calls`` observations as fast as the answers come."""
        for index in range(calls):
            self._must_answer(self._rows[index % len(self._rows)])

    def cpu_seconds(self) -> float:
        """CPU time of the node's process so far, s."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_kib(self) -> int:
        """Resident memory of the node's process, KiB."""
        return int(self._proc("statm").split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self._child.pid}/{name}").read_text(encoding="ascii")

    def _must_answer(self, values: array[float]) -> int:
        if not self._exchange(values, _ANSWER):
            self._child.check_alive()
            raise NodeError(f"{self._child.name} has not answered for {_ANSWER:g} s")
        return self._arrived

    def _exchange(self, values: array[float], seconds: float) -> bool:
        """Send one observation; return whether its action came, ``_arrived`` ns later."""
        self.asked += 1
        self._answer = None
        message = self._message
        message.header.stamp = Time(sec=self.asked)
        message.position = values
        end = time.monotonic() + seconds
        start = time.perf_counter_ns()
        self._publisher.publish(message)
        while self._answer is None and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=seconds)
        self._arrived -= start
        return self._answer is not None

    def _on_action(self, message: JointState) -> None:
        arrived = time.perf_counter_ns()
        if message.header.stamp.sec == self.asked:
            self._arrived = arrived
            self._answer = message


@contextlib.contextmanager
def exchanges(case: Case, backends: Sequence[str]) -> Iterator[dict[str, Exchange]]:
    """Start the echo nodes and a policy node a backend; yield how to talk to each, by name."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        policy = Path(folder) / "policy.safetensors"
        save_policy(case.artifact, policy)
        children = {}
        actions = len(case.artifact.contract.action)
        for index, (name, everything) in enumerate(_ECHOES.items()):
            children[name] = Child.node(
                "echo_node",
                {"actions": actions, "all_messages": everything},
                Path(folder) / f"echo_{index}.log",
                namespace=f"/bench_{index}",
                module="qpolicy_ros.bench.echo_node",
            )
        for index, backend in enumerate(backends, start=len(children)):
            children[backend] = Child.node(
                "policy_node",
                {
                    "policy": str(policy),
                    "backend": backend,
                    "preload": [backend],
                    "lockstep": True,
                    "autostart": True,
                    "timeout": 0.0,
                },
                Path(folder) / f"{backend}.log",
                namespace=f"/bench_{index}",
            )
        context = rclpy.Context()
        rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
        stack.callback(rclpy.shutdown, context=context)
        node = rclpy.create_node("qpolicy_bench", context=context)
        stack.callback(node.destroy_node)
        executor = SingleThreadedExecutor(context=context)
        stack.callback(executor.shutdown)
        executor.add_node(node)
        names = [channel.name for channel in case.artifact.contract.observation]
        found = {
            name: Exchange(node, executor, f"/bench_{index}", names, case.observations, child)
            for index, (name, child) in enumerate(children.items())
        }
        for exchange in found.values():
            exchange.wait_until_served()
        try:
            yield found
        finally:
            for child in children.values():
                child.close()
