"""How evenly a robot's commands come at 500 Hz, beside how evenly this machine wakes up at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import rclpy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import JointState

from qpolicy_ros.bench.cases import robot_case
from qpolicy_ros.bench.peer import Peer, wake_ups
from qpolicy_ros.common.errors import NodeError
from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.harness.processes import Child
from qpolicy_ros.nodes import qos
from qpolicy_ros.policy import save_policy

RATE = 500.0
MACHINE = "the machine (clock_nanosleep)"
NODES = {"policy_node": "fast", "policy_node, rclpy": "rclpy"}
_PERIOD_NS = round(1e9 / RATE)
_SENSOR_QOS = qos.profile(depth=10)
_ATTEMPTS = 60  # s for a node to start and serve

Deviations = dict[str, npt.NDArray[np.int64]]


def measure(seconds: int) -> Deviations:
    """Return the deviations of intervals from the period, ns, by name.

    All subjects take turns of one second, so that a busy moment of the machine hits them all.

    Args:
        seconds: turns of each.
    """
    found: dict[str, list[npt.NDArray[np.int64]]] = {MACHINE: []}
    with _robots() as robots:
        for turn in range(seconds):
            late = wake_ups(round(RATE), _PERIOD_NS)
            found[MACHINE].append(np.diff(late))
            for name, peer in robots.items():
                published = peer.follow(round(RATE), _stamp(turn), _PERIOD_NS)
                # The first one is what was left over from the turn before.
                gaps = np.diff(published[1:]) - _PERIOD_NS
                found.setdefault(name, []).append(gaps)
    return {name: np.abs(np.concatenate(parts)) for name, parts in found.items()}


def table(found: Deviations, seconds: int) -> list[str]:
    """Return the section of the page."""
    lines = [f"## A robot's commands at {RATE:g} Hz, {seconds} s each", "", _HOW, ""]
    lines += ["| who | intervals | deviation p50, µs | p99, µs | largest, µs |"]
    lines += ["|---|---:|---:|---:|---:|"]
    for name, values in found.items():
        p50, p99, most = np.quantile(values, (0.5, 0.99, 1.0)) / 1e3
        lines.append(f"| {name} | {values.size} | {p50:.1f} | {p99:.0f} | {most:.0f} |")
    return [*lines, ""]


def _stamp(turn: int) -> int:
    """Return the first of a turn's stamps, s: each message has one of its own."""
    return 1 + turn * round(RATE)


@contextlib.contextmanager
def _robots() -> Iterator[dict[str, Peer]]:
    """Start a policy node of each kind that commands a robot; yield what plays that robot."""
    case = robot_case(1 / RATE)
    with scratch_folder() as folder, contextlib.ExitStack() as stack:
        policy = folder / "robot.safetensors"
        save_policy(case.artifact, policy)
        context = rclpy.Context()
        rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
        stack.callback(rclpy.shutdown, context=context)
        node = rclpy.create_node("qpolicy_jitter", context=context)
        stack.callback(node.destroy_node)
        joints = [action.name for action in case.artifact.contract.action]
        peers = {}
        for index, (name, executor) in enumerate(NODES.items()):
            namespace = f"/jitter_{index}"
            child = Child.node(
                "policy_node",
                {
                    "policy": str(policy),
                    "executor": executor,
                    "preload": ["integer"],
                    "autostart": True,
                    "ramp_time": 0.0,
                    "timeout": 0.0,
                },
                folder / f"{index}.log",
                namespace=namespace,
            )
            stack.callback(child.close)
            publisher = node.create_publisher(JointState, f"{namespace}/joint_states", _SENSOR_QOS)
            taken = node.create_subscription(
                JointState, f"{namespace}/action_stamped", lambda _: None, qos.profile(depth=100)
            )
            peers[name] = Peer(taken, publisher, context, joints)
            stack.callback(peers[name].close)
            _wait(child, peers[name])
        yield peers


def _wait(child: Child, peer: Peer) -> None:
    for attempt in range(_ATTEMPTS):
        # Stamps that no turn has.
        if peer.follow(round(RATE), -_stamp(attempt + 1), _PERIOD_NS).size > RATE / 2:
            return
        child.check_alive()
    raise NodeError(f"no commands for {_ATTEMPTS} s: {child.complaint()}")


_HOW = (
    "How far the time between two commands is from the control period, by the middleware's stamps "
    "of their publication; for the machine, how far the time between two wake-ups of a bare loop "
    "on `clock_nanosleep` is, which is what `cyclictest` looks at. Turns of one second each."
)
