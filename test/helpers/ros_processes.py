"""Real nodes in processes of their own, and a node in this process that watches them."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from qpolicy_ros.harness.domains import reserved_domain
from qpolicy_ros.nodes import qos

ROOT = Path(__file__).resolve().parents[2]
FAST_DISCOVERY = Path(__file__).with_name("fastdds.xml")
HANDSHAKE = 999_999  # stamp, s
SILENCE = 30.0  # s until a service is asked again; its work may take a while
PATIENCE = 90.0  # s until a wait has failed; an idle machine starts a node in one


class Place(NamedTuple):
    """Where the nodes of one test meet: nobody else's messages come in."""

    domain: int
    namespace: str


@contextlib.contextmanager
def private_place() -> Iterator[Place]:
    """A reserved domain and, as other programs may choose the same one, a namespace."""
    with reserved_domain() as domain:
        yield Place(domain, f"/test_{secrets.token_hex(4)}")


def environment_of(place: Place) -> dict[str, str]:
    """The environment of a process that shall meet others at ``place``."""
    return {
        **os.environ,
        "ROS_DOMAIN_ID": str(place.domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
    }


class NodeProcess:
    """A node of this package in its own OS process; ``module.`` is one of these helpers."""

    def __init__(self, module: str, place: Place, log: Path, **parameters: object) -> None:
        self.log = log
        arguments = ["-r", f"__ns:={place.namespace}"]
        for topic in ("diagnostics", "clock"):
            arguments += ["-r", f"/{topic}:={place.namespace}/{topic}"]
        rename = parameters.pop("rename", "")
        arguments += ["-r", str(rename)] if rename else []
        for name, value in parameters.items():
            arguments += ["-p", f"{name.replace('__', '.')}:={_yaml(value)}"]
        module = module[:-1] if module.endswith(".") else f"qpolicy_ros.nodes.{module}"
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, "--ros-args", *arguments],
                cwd=ROOT,
                env=environment_of(place),
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                text=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait(self, timeout: float = PATIENCE) -> int:
        """Return the exit status."""
        return self.process.wait(timeout)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        """Make sure that nothing is left behind, shared memory included."""
        self.process.terminate()
        try:
            self.process.wait(5.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class RobotProcess(NodeProcess):
    """The robot of ``robot_process``."""

    def __init__(self, place: Place, log: Path) -> None:
        super().__init__("robot_process.", place, log)

    def tell(self, line: str) -> None:
        """Tell it how to fail."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()


class Watcher:
    """A node in this process: publishes observations, collects what comes back."""

    def __init__(self, place: Place) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=place.domain)
        self.node = rclpy.create_node("watcher", context=self.context, namespace=place.namespace)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.messages: dict[str, list[Any]] = {}
        topics: Iterable[tuple[str, type, Any]] = (
            ("action_stamped", JointState, qos.profile(depth=100)),
            ("action", Float64MultiArray, qos.profile(depth=100)),
            ("timing", JointState, qos.profile(depth=100)),
            ("episode", JointState, qos.EPISODES),
            ("diagnostics", DiagnosticArray, qos.profile(depth=100)),
            ("joint_states", JointState, qos.profile(depth=100)),
        )
        for topic, kind, profile in topics:
            self.messages[topic] = []
            self.node.create_subscription(kind, topic, self.messages[topic].append, profile)
        self._reports: list[tuple[int, DiagnosticArray]] = []  # with the time of sending, ns
        self.node.create_subscription(
            DiagnosticArray, "diagnostics", self._on_report, qos.profile(depth=100)
        )
        self.observations = self.node.create_publisher(
            JointState, "observation", qos.profile(depth=10)
        )

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def collect_observations(self, seen: dict[tuple[int, int], list[float]]) -> None:
        """Put what a robot's policy sees into ``seen`` by stamp; nothing where it is not clear."""

        def collect(message: JointState) -> None:
            stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
            # Two ticks between two messages of the robot have one stamp: which is meant?
            seen[stamp] = [] if stamp in seen else list(message.position)

        profile = qos.profile(depth=1000)
        self.node.create_subscription(JointState, "observation", collect, profile)

    def until(self, condition: Callable[[], object], timeout: float = PATIENCE) -> None:
        """Spin until ``condition`` holds; fail after ``timeout`` s."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, "nothing came in time"
            self.executor.spin_once(timeout_sec=0.05)

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=left)

    def wait_for_policy(self, values: Sequence[float] = ()) -> None:
        """Wait until the policy node is active; with ``values``, until it answers them.

        Best effort loses what is sent before both sides have found each other. Each attempt has a
        stamp of its own: answers keep their order, so none is under way after the last one's.
        """
        self.until(self.observations.get_subscription_count)
        end = time.monotonic() + PATIENCE
        attempt = HANDSHAKE
        while values and not (self.answers(attempt) and self.messages["action"]):
            assert time.monotonic() < end, "the policy node does not answer"
            attempt += 1
            self.messages["action"].clear()
            self.tell(values, stamp=attempt)
            again = time.monotonic() + 2.0
            while time.monotonic() < again and not (
                self.answers(attempt) and self.messages["action"]
            ):
                self.executor.spin_once(timeout_sec=0.05)
        if values:
            self.spin(0.3)
            for messages in self.messages.values():
                messages.clear()

    def ask(
        self,
        values: Sequence[float],
        names: Sequence[str] = (),
        stamp: int = 1,
        patience: float = 5.0,
    ) -> JointState:
        """Publish an observation and return the action that carries its stamp.

        Best effort may lose a message on a busy machine, so it is sent again after ``patience`` s.
        """
        end = time.monotonic() + PATIENCE
        while not self.answers(stamp):
            assert time.monotonic() < end, "no action came"
            self.tell(values, names, stamp)
            again = time.monotonic() + patience
            while not self.answers(stamp) and time.monotonic() < again:
                self.executor.spin_once(timeout_sec=0.05)
        return self.answers(stamp)[-1]

    def tell(self, values: Sequence[float], names: Sequence[str] = (), stamp: int = 1) -> None:
        message = JointState(name=list(names), position=array("d", values))
        message.header.stamp = Time(sec=stamp)
        self.observations.publish(message)

    def answers(self, stamp: int) -> list[JointState]:
        return [m for m in self.messages["action_stamped"] if m.header.stamp.sec == stamp]

    def set_parameter(self, name: str, value: str) -> Any:
        """Set a string parameter of the policy node; return its SetParametersResult."""
        request = SetParameters.Request()
        content = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)
        request.parameters = [Parameter(name=name, value=content)]
        return self.call(SetParameters, "policy_node/set_parameters", request).results[0]

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """Call a service and return its response."""
        with self.client(kind, name) as client:
            return self._response(client, request, SILENCE)

    @contextlib.contextmanager
    def client(self, kind: Any, name: str) -> Iterator[Any]:
        """A client of a service whose responses come through.

        A node that has not found a client's reader yet drops its response. It finds readers in the
        order in which they were made: once it has answered another client that was made later, it
        will answer this one.
        """
        client = self.node.create_client(kind, name)
        self.until(client.service_is_ready)
        later = self.node.create_client(GetParameters, f"{name.rpartition('/')[0]}/get_parameters")
        self.until(later.service_is_ready)
        self._response(later, GetParameters.Request(), 2.0)
        self.node.destroy_client(later)
        try:
            yield client
        finally:
            self.node.destroy_client(client)

    def _response(self, client: Any, request: Any, silence: float) -> Any:
        """Ask, and again after ``silence`` s without a response: the node may just have gone."""
        futures: list[Any] = []
        asked = -math.inf

        def answered() -> bool:
            nonlocal asked
            if time.monotonic() - asked > silence:
                asked = time.monotonic()
                futures.append(client.call_async(request))
            return any(future.done() for future in futures)

        self.until(answered)
        return next(future.result() for future in futures if future.done())

    def transition(self, label: str) -> bool:
        request = ChangeState.Request()
        request.transition.label = label
        return self.call(ChangeState, "policy_node/change_state", request).success

    def state(self) -> str:
        request = GetState.Request()
        return self.call(GetState, "policy_node/get_state", request).current_state.label

    def _on_report(self, message: DiagnosticArray, info: dict[str, Any]) -> None:
        self._reports.append((info["source_timestamp"], message))

    def diagnostics(self, node: str = "policy_node") -> dict[str, str]:
        """Return the values of the node's next diagnostics message, with level and message.

        One that was on its way when this was called says what was before, and does not count.
        """
        since = time.time_ns()
        found: list[Any] = []
        self._reports.clear()

        def look() -> bool:
            for sent, message in self._reports:
                if sent >= since:
                    found.extend(e for e in message.status if e.name.split(":")[0].endswith(node))
            self._reports.clear()
            return bool(found)

        self.until(look)
        level = int.from_bytes(found[-1].level, "little")
        values = {item.key: item.value for item in found[-1].values}
        return {**values, "level": str(level), "message": found[-1].message}


def _yaml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)
