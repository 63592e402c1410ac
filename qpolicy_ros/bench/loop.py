"""The ROS 2 loop: observation published until action received, against a bare echo node.

Every subject is a process of its own with topics of its own; this process publishes an
observation at a fixed rate, waits for the action with its stamp and takes the time.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rclpy
from builtin_interfaces.msg import Time
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState

from qpolicy_ros.bench.cases import Case, random_case, shipped
from qpolicy_ros.bench.figure import draw_ecdf
from qpolicy_ros.bench.measure import DisagreementError, Latency, interleave, summary
from qpolicy_ros.bench.report import Row, compare, conditions, describe, write
from qpolicy_ros.demo.processes import Child, NodeError, children_end_with_us, use_free_domain
from qpolicy_ros.demo.style import colour
from qpolicy_ros.nodes import qos
from qpolicy_ros.policy import save_policy
from qpolicy_ros.policy.baseline import fp32_tolerance

Say = Callable[[str], None]

NAME = "ros_loop"
_RATE = 1000.0  # observations a second
_PEER = "rclpy echo"
_BACKENDS = ("integer", "fp32")
_PATIENCE = 30.0  # s for the nodes to start
_ANSWER = 5.0  # s for one answer on a busy machine


def run(out: Path, say: Say, *, quick: bool = False) -> list[Row]:
    """Time the loop, write ``ros_loop.json``, ``.md`` and ``.png``, return the rows.

    Args:
        out: folder to write to.
        say: takes progress.
        quick: few rounds, for a look rather than for the record.

    Raises:
        DisagreementError: a node's actions are not those of the policy.
        NodeError: a node failed or did not answer.
    """
    # Where the scheduler puts a process stays a while: start them anew now and then.
    sessions, rounds, calls = (1, 5, 100) if quick else (5, 10, 300)
    case = (shipped() or [random_case("hopper shape")])[0]
    use_free_domain()
    facts = conditions(
        rate_hz=_RATE, sessions=sessions, rounds=rounds, calls_per_round=calls, policy=case.name
    )
    parts = []
    with children_end_with_us():
        for session in range(sessions):
            say(f"session {session + 1}/{sessions}: {rounds} rounds of {calls} observations")
            parts.append(_session(case, rounds, calls, session))
    times = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    named = {_PEER: times[_PEER]} | {f"policy_node {name}": times[name] for name in _BACKENDS}
    found = {name: summary(values) for name, values in named.items()}
    missed = {name: int(np.sum(values > 1e9 / _RATE)) for name, values in named.items()}
    rows = [
        compare(f"{NAME}/{case.name}", name, _PEER, latency, found[_PEER])
        for name, latency in found.items()
        if name != _PEER
    ]
    facts |= {"missed_deadlines": missed}
    write(out, NAME, rows, facts, _table(case, found, missed, facts))
    colours = {_PEER: "#777777"} | {f"policy_node {name}": colour(name) for name in _BACKENDS}
    draw_ecdf(named, colours, f"ROS 2 loop, {case.name}, {_RATE:g} Hz", out / f"{NAME}.png")
    return rows


def _session(case: Case, rounds: int, calls: int, seed: int) -> dict[str, npt.NDArray[np.int64]]:
    """Start all nodes, compare their actions and time them; durations in ns by name."""
    with _exchanges(case) as exchanges:
        for backend in _BACKENDS:
            verify(case, backend, exchanges[backend].ask)
        blocks = {name: exchange.block for name, exchange in exchanges.items()}
        return interleave(blocks, rounds, calls, seed=seed)


def verify(case: Case, backend: str, ask: Callable[[np.ndarray], npt.NDArray[np.float32]]) -> None:
    """Compare a node's actions with the policy's golden ones before anything is timed.

    Args:
        case: the policy.
        backend: who computes; ``fp32`` within the stated bound, others exactly.
        ask: float32 observation (n,) -> float32 action (m,).

    Raises:
        DisagreementError: they differ.
    """
    golden = case.artifact.golden
    exact = backend != "fp32"
    wanted = golden.actions if exact else golden.baseline_actions
    bound = 0.0 if exact else fp32_tolerance(case.artifact.contract)
    assert wanted is not None
    for index, observation in enumerate(golden.observations):
        action = ask(observation)
        limited = np.clip(wanted[index], case.artifact.contract.low, case.artifact.contract.high)
        if action.shape != limited.shape or not np.all(np.abs(action - limited) <= bound):
            raise DisagreementError(
                f"{case.name}: policy_node {backend}: golden observation {index} gives "
                f"{action.tolist()}, the policy {limited.tolist()} (bound {bound:g})"
            )


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
        self._count = 0
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
        period = 1.0 / _RATE
        due = time.perf_counter()
        for index in range(calls):
            durations.append(self._must_answer(self._rows[index % len(self._rows)]))
            now = time.perf_counter()
            due = max(due + period, now)
            time.sleep(due - now)
        return durations

    def _must_answer(self, values: array[float]) -> int:
        if not self._exchange(values, _ANSWER):
            self._child.check_alive()
            raise NodeError(f"{self._child.name} has not answered for {_ANSWER:g} s")
        return self._arrived

    def _exchange(self, values: array[float], seconds: float) -> bool:
        """Send one observation; return whether its action came, ``_arrived`` ns later."""
        self._count += 1
        self._answer = None
        message = self._message
        message.header.stamp = Time(sec=self._count)
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
        if message.header.stamp.sec == self._count:
            self._arrived = arrived
            self._answer = message


@contextlib.contextmanager
def _exchanges(case: Case) -> Iterator[dict[str, Exchange]]:
    """Start the echo node and a policy node a backend; yield how to talk to each."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        policy = Path(folder) / "policy.safetensors"
        save_policy(case.artifact, policy)
        children = {
            _PEER: Child.node(
                "echo_node",
                {"actions": len(case.artifact.contract.action)},
                Path(folder) / "echo.log",
                namespace="/echo",
                module="qpolicy_ros.bench.echo_node",
            )
        }
        children |= {
            backend: Child.node(
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
                namespace=f"/{backend}",
            )
            for backend in _BACKENDS
        }
        context = rclpy.Context()
        rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
        stack.callback(rclpy.shutdown, context=context)
        node = rclpy.create_node("qpolicy_bench", context=context)
        stack.callback(node.destroy_node)
        executor = SingleThreadedExecutor(context=context)
        stack.callback(executor.shutdown)
        executor.add_node(node)
        names = [channel.name for channel in case.artifact.contract.observation]
        exchanges = {}
        for name, child in children.items():
            namespace = "/echo" if name == _PEER else f"/{name}"
            exchanges[name] = Exchange(node, executor, namespace, names, case.observations, child)
        for exchange in exchanges.values():
            exchange.wait_until_served()
        try:
            yield exchanges
        finally:
            for child in children.values():
                child.close()


def _table(
    case: Case, found: Mapping[str, Latency], missed: Mapping[str, int], facts: Mapping[str, Any]
) -> list[str]:
    """Return the Markdown page."""
    lines = [
        "# The ROS 2 loop",
        "",
        _HOW.format(rate=f"{_RATE:g}", policy=case.name, shape=case.shape),
        "",
        "| node | p50, µs | spread of p50 | p99, µs | p50 / echo | p99 / echo | missed |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    echo = found[_PEER]
    for name, latency in found.items():
        lines.append(
            f"| {name} | {latency.p50:.0f} | {latency.low:.0f} to {latency.high:.0f} "
            f"| {latency.p99:.0f} | {latency.p50 / echo.p50:.2f} | {latency.p99 / echo.p99:.2f} "
            f"| {missed[name]} of {latency.calls} |"
        )
    lines += ["", _MISSED, "", "![round trips](ros_loop.png)", ""]
    lines += describe(facts)
    lines.append(
        f"- nodes started {facts['sessions']} times, each time {facts['rounds']} rounds of "
        f"{facts['calls_per_round']} observations"
    )
    return lines


_HOW = (
    "Observation published until action received over DDS between two processes, at {rate} Hz, "
    "policy {policy} ({shape}). The echo node answers with a constant: what it takes is the price "
    "of rclpy and DDS. All nodes run side by side and are asked in turn, block by block in "
    "shuffled order; before that their actions are compared with the golden ones."
)
_MISSED = "Spread: quartiles of the rounds' medians. Missed: round trips longer than the period."
