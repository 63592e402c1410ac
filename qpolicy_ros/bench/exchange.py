"""Nodes as children, and what sends them observations and takes the time to their answers."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import rclpy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState

from qpolicy_ros.bench.cases import Case
from qpolicy_ros.bench.peer import Peer
from qpolicy_ros.common.errors import NodeError
from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.harness.processes import Child, Value
from qpolicy_ros.nodes import qos
from qpolicy_ros.policy import save_policy

RATE = 1000.0  # observations a second
ECHO = "rclpy echo"
C_ECHO = "C echo"
_ECHOES = {C_ECHO: "c_echo_node", ECHO: "echo_node"}
_PATIENCE = 30.0  # s for the nodes to start
_ANSWER = 5.0  # s for one answer on a busy machine


class Exchange:
    """Sends observations to one node and waits for its answers, in C on ``rcl``.

    Args:
        node: whose publisher and subscription are made here.
        namespace: of the other node's topics.
        names: of the observation's values.
        observations: float32 (k, n), sent in turn.
        child: the process of the other node.

    Attributes:
        asked: observations sent so far.
        namespace: as given.
    """

    def __init__(
        self, node: Any, namespace: str, names: list[str], observations: np.ndarray, child: Child
    ) -> None:
        self._child, self.namespace = child, namespace
        self.asked = 0
        self._rows = np.ascontiguousarray(observations, np.float64)
        # The simulator's profiles.
        publisher = node.create_publisher(
            JointState, f"{namespace}/observation", qos.profile(depth=10)
        )
        taken = node.create_subscription(
            JointState, f"{namespace}/action_stamped", lambda _: None, qos.COMMAND
        )
        self._peer = Peer(taken, publisher, node.context, names)

    def close(self) -> None:
        """Let go of the publisher and the subscription."""
        self._peer.close()

    def wait_until_served(self) -> None:
        """Send an observation now and then until it is answered."""
        end = time.monotonic() + _PATIENCE
        while not self._peer.ask(self._rows[0], self._next(), 0.2):
            self._child.check_alive()
            if time.monotonic() > end:
                raise NodeError(f"no answer for {_PATIENCE:g} s: {self._child.complaint()}")

    def ask(self, observation: np.ndarray) -> npt.NDArray[np.float32]:
        """Return the action float32 (m,) for an observation float32 (n,)."""
        if not self._peer.ask(observation.astype(np.float64), self._next(), _ANSWER):
            self._complain()
        return self._peer.answer()

    def block(self, calls: int, rate: float = RATE) -> list[int]:
        """Exchange ``calls`` observations, ``rate`` a second; return the round trips, ns."""
        return self._ask_block(calls, round(1e9 / rate))

    def flood(self, calls: int) -> None:
        """Exchange ``calls`` observations as fast as the answers come."""
        self._ask_block(calls, 0)

    def _ask_block(self, calls: int, period_ns: int) -> list[int]:
        first = self._next(calls)
        took = self._peer.ask_block(self._rows, calls, first, period_ns, _ANSWER)
        if took is None:
            self._complain()
        return took.tolist()

    def _next(self, count: int = 1) -> int:
        """Return the first of ``count`` stamps that nobody had."""
        first = self.asked + 1
        self.asked += count
        return first

    def _complain(self) -> NoReturn:
        self._child.check_alive()
        raise NodeError(f"{self._child.name} has not answered for {_ANSWER:g} s")

    def cpu_seconds(self) -> float:
        """CPU time of the node's process so far, s."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_kib(self) -> int:
        """Resident memory of the node's process, KiB."""
        return int(self._proc("statm").split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self._child.pid}/{name}").read_text(encoding="ascii")


@contextlib.contextmanager
def exchanges(
    case: Case, subjects: Sequence[str], parameters: Mapping[str, Value] | None = None
) -> Iterator[dict[str, Exchange]]:
    """Start the echo nodes and policy nodes; yield how to talk to each, by name.

    Args:
        case: the policy.
        subjects: names of backends; ``NAME, rclpy`` is one served through rclpy's executor.
        parameters: further ones of the policy nodes.
    """
    with scratch_folder() as folder, contextlib.ExitStack() as stack:
        policy = folder / "policy.safetensors"
        save_policy(case.artifact, policy)
        children = {}
        actions = len(case.artifact.contract.action)
        for index, name in enumerate(_ECHOES):
            module = _ECHOES[name]
            children[name] = Child.node(
                module,
                {"actions": actions},
                folder / f"{module}.log",
                namespace=f"/bench_{index}",
                module=f"qpolicy_ros.bench.{module}",
            )
        for index, subject in enumerate(subjects, start=len(children)):
            backend, _, executor = subject.partition(", ")
            children[subject] = Child.node(
                "policy_node",
                {
                    "policy": str(policy),
                    "backend": backend,
                    "preload": [backend],
                    "executor": executor or "fast",
                    "lockstep": True,
                    "autostart": True,
                    "timeout": 0.0,
                    **(parameters or {}),
                },
                folder / f"{index}.log",
                namespace=f"/bench_{index}",
            )
        context = rclpy.Context()
        rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
        stack.callback(rclpy.shutdown, context=context)
        node = rclpy.create_node("qpolicy_bench", context=context)
        stack.callback(node.destroy_node)
        names = [channel.name for channel in case.artifact.contract.observation]
        found = {
            name: Exchange(node, f"/bench_{index}", names, case.observations, child)
            for index, (name, child) in enumerate(children.items())
        }
        try:
            for exchange in found.values():
                exchange.wait_until_served()
            yield found
        finally:
            for exchange in found.values():
                exchange.close()
            for child in children.values():
                child.close()
