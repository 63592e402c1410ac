"""``policy_node``: a lifecycle node that answers observations with actions."""

from __future__ import annotations

import gc
import sys
import time
from array import array
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from qpolicy_ros.backends import BACKENDS, BackendError
from qpolicy_ros.nodes import diagnostics, qos
from qpolicy_ros.nodes.conditions import conditions, live_conditions
from qpolicy_ros.nodes.parameters import declare
from qpolicy_ros.nodes.policy_specs import SPECS, SUMMARY
from qpolicy_ros.nodes.runtime import Stop, gives_message_info, run
from qpolicy_ros.nodes.server import PolicyServer, check_known
from qpolicy_ros.nodes.timing import STAGES, Instants, ages, stages
from qpolicy_ros.policy import ObservationError, PolicyError, find_policy, load_policy, require_task

_UNTIL_CLEANUP = frozenset(
    {"policy", "task", "integer.engine", "fpga.transport", "fpga.device", "fpga.bitstream"}
)
_NO_TIME = Time()  # stamp of a safe action that answers no observation
_LAST_WORD = Duration(seconds=0.2)  # an acknowledgement may take a heartbeat longer


class PolicyNode(LifecycleNode):
    """Lifecycle node around a :class:`PolicyServer`; see ``policy_specs`` for its parameters.

    Args:
        stop: called to end the process.
    """

    def __init__(self, stop: Stop) -> None:
        super().__init__("policy_node")
        declare(self, SPECS)
        self._stop = stop
        self._state = "unconfigured"
        self._failure = ""
        self._server: PolicyServer | None = None
        self._subscription: Subscription | None = None
        self._outputs: list[Publisher] = []
        self._lockstep: bool = self._value("lockstep")
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._answered = self._repeated = self._stale = self._late = self._missed = 0
        self._swaps = self._held_reported = self._slow_reported = 0
        self._is_stale = False
        self._period_ns = 0
        self._stamped, self._action, self._timing = JointState(), Float64MultiArray(), JointState()
        self._timing.name = list(STAGES)
        self._last_values: array[float] | None = None
        self._conditions = conditions()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.FIGURES)
        self.create_timer(1.0, self._report, clock=self._steady)
        self._watchdog = self.create_timer(1.0, self._on_timeout, clock=self._steady)
        self._watchdog.cancel()
        self.add_on_set_parameters_callback(self._on_parameters)

    # Lifecycle

    def start(self) -> None:
        """Configure and activate; request a stop with status 2 if that fails."""
        for transition in (self.trigger_configure, self.trigger_activate):
            if transition() != TransitionCallbackReturn.SUCCESS:
                self._stop(2)
                return

    def on_configure(self, _: LifecycleState) -> TransitionCallbackReturn:
        """Load and check the policy, build and warm up the backends, create the publishers."""
        try:
            server = self._server = self._load()
            self._connect(server)
        except Exception as error:  # noqa: BLE001 rclpy would swallow it without a word
            self._unload()
            return self._fail(error)
        contract = server.artifact.contract
        self._state, self._failure = "inactive", ""
        for name, reason in server.failed.items():
            self.get_logger().warning(f"backend {name!r} is not ready: {reason}")
        self.get_logger().info(
            f"{contract.task}: {len(contract.observation)} values in, {len(contract.action)} "
            f"actions out every {contract.period * 1e3:g} ms; backend {server.backend}, "
            f"ready: {', '.join(server.ready)}; function {server.artifact.function_hash[:12]}"
        )
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, _: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and serve."""
        try:
            self._start_serving()
        except Exception as error:  # noqa: BLE001 rclpy would swallow it without a word
            self._unsubscribe()
            return self._fail(error)
        self._state, self._failure = "active", ""
        # What lives now stays: the collector need not look at it while serving.
        gc.collect()
        gc.freeze()
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, _: LifecycleState) -> TransitionCallbackReturn:
        """Send the safe action, then stop serving."""
        self._stop_serving()
        self._state = "inactive"
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, _: LifecycleState) -> TransitionCallbackReturn:
        """Forget the policy."""
        self._unload()
        self._state, self._failure = "unconfigured", ""
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, _: LifecycleState) -> TransitionCallbackReturn:
        """Send the safe action if serving, forget the policy."""
        if self._subscription is not None:
            self._stop_serving()
        self._unload()
        self._state = "finalized"
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Clean up after a transition that raised: safe action, nothing loaded."""
        result = self.on_shutdown(state)
        self._state = "unconfigured"
        return result

    def close(self) -> None:
        """Shut down from whatever state, safe action first."""
        if self._state != "finalized":
            self.trigger_shutdown()

    # Hot path

    def _on_bare_observation(self, message: JointState) -> None:
        self._on_observation(message, None)

    def _on_observation(self, message: JointState, info: dict[str, Any] | None) -> None:
        arrived = time.monotonic_ns()
        age, queue = ages(info)
        stamp = message.header.stamp
        if self._lockstep and self._is_repeat(message):
            self._repeated += 1
            self._stamped_publisher.publish(self._stamped)
            return
        server = self._server
        assert server is not None
        self._last_values = message.position
        try:
            action = server.answer(message.name, message.position)
        except (ObservationError, BackendError):
            self._publish(server.guard.hold(), stamp)
            return
        self._publish(action, stamp)
        published = time.monotonic_ns()
        self._answered += 1
        self._late += published - arrived > self._period_ns
        self._is_stale = False
        self._watchdog.reset()
        self._timing.header.stamp = stamp
        started, inferred, quantise = server.started_ns, server.inferred_ns, server.quantise_ns
        instants = Instants(age, queue, arrived, started, inferred, published, quantise)
        self._timing.header.frame_id = server.backend
        self._timing.position = stages(instants)
        self._timing_publisher.publish(self._timing)

    def _publish(self, action: Any, stamp: Time) -> None:
        values = array("d", action.tolist())
        self._stamped.header.stamp = stamp
        self._stamped.position = values
        self._action.data = values
        self._stamped_publisher.publish(self._stamped)
        self._action_publisher.publish(self._action)

    def _is_repeat(self, message: JointState) -> bool:
        """Whether this observation has just been answered (a simulator that sends it again)."""
        return (
            message.header.stamp == self._stamped.header.stamp
            and message.position == self._last_values
        )

    # Watchdogs and reports

    def _on_timeout(self) -> None:
        """Hold the safe action: ``timeout`` has passed since the last good observation."""
        server = self._server
        if server is None or self._subscription is None:
            return
        if not self._is_stale:
            self._is_stale = True
            self._stale += 1
            server.last_reason = (
                f"stale: no good observation for {self._value('timeout'):g} s, safe action held"
            )
            self.get_logger().warning(server.last_reason)
        self._publish(server.guard.hold(), _NO_TIME)

    def _on_deadline_missed(self, event: Any) -> None:
        self._missed += event.total_count_change

    def _report(self) -> None:
        """Publish the node's state, once a second."""
        server = self._server
        values: dict[str, object] = {"state": self._state, "backend": self._value("backend")}
        refused = 0
        if server is not None:
            refused = sum(server.refused.values())
            values["ready"] = ", ".join(server.ready)
            values |= {f"not_ready.{name}": reason for name, reason in server.failed.items()}
            values["policy"] = server.artifact.path
            values["function_hash"] = server.artifact.function_hash
            values["period_ms"] = f"{self._period_ns / 1e6:g}"
            values |= {f"refused.{name}": count for name, count in server.refused.items()}
            values["last_reason"] = server.last_reason
        values |= {
            "answered": self._answered,
            "repeated": self._repeated,
            "refused": refused,
            "stale": self._stale,
            "late": self._late,
            "deadline_missed": self._missed,
            "swaps": self._swaps,
            **self._conditions,
            **live_conditions(self.executor),
        }
        held = refused + self._stale
        level, text = diagnostics.OK, self._state
        if self._failure:
            level, text = diagnostics.ERROR, self._failure
        elif server is not None and self._is_stale:
            level, text = diagnostics.ERROR, server.last_reason
        elif server is not None and held > self._held_reported:
            level, text = diagnostics.WARN, server.last_reason
        elif self._late + self._missed > self._slow_reported:
            level = diagnostics.WARN
            text = f"{self._late} late answers, {self._missed} missed deadlines"
        self._held_reported, self._slow_reported = held, self._late + self._missed
        stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(
            diagnostics.diagnostics(stamp, "policy_node: policy", level, text, values)
        )

    # Parameters

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        try:
            for parameter in parameters:
                self._check(parameter)
        except PolicyError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for parameter in parameters:
            self._apply(parameter)
        return SetParametersResult(successful=True)

    def _check(self, parameter: Parameter) -> None:
        if parameter.name == "backend":
            if self._server is None:
                check_known(parameter.value)
            else:
                self._server.check_ready(parameter.value)
        elif parameter.name in _UNTIL_CLEANUP and self._server is not None:
            raise PolicyError(
                f"{parameter.name}: cannot change while the node is {self._state}; clean up first"
            )

    def _apply(self, parameter: Parameter) -> None:
        if self._server is None:
            return
        if parameter.name == "backend" and parameter.value != self._server.backend:
            # The one thread that runs this runs the hot path too: between two observations.
            self._server.swap(parameter.value)
            self._swaps += 1
        elif parameter.name == "rate_limit":
            self._server.guard.set_rate_limit(parameter.value)
        elif parameter.name == "timeout" and self._subscription is not None:
            self._set_timeout(parameter.value)

    # Helpers

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _load(self) -> PolicyServer:
        task, policy = self._value("task"), self._value("policy") or self._value("task")
        if not policy:
            raise PolicyError("policy: is empty; set it to a task name such as hopper or to a file")
        check_known(self._value("backend"))
        artifact = load_policy(find_policy(policy))
        if task:
            require_task(artifact, task)
        options = {
            name: {key: item.value for key, item in self.get_parameters_by_prefix(name).items()}
            for name in BACKENDS
        }
        return PolicyServer(
            artifact,
            self._value("backend"),
            # ROS 2 leaves a parameter unset that is given as the empty list.
            self.get_parameter_or("preload").value or (),
            options,
            self._value("rate_limit"),
        )

    def _connect(self, server: PolicyServer) -> None:
        """Create the publishers, and what they publish."""
        contract = server.artifact.contract
        self._period_ns = round(contract.period * 1e9)
        self._stamped.name = [channel.name for channel in contract.action]
        deadline = self._value("deadline")
        command = qos.profile(depth=1, deadline=deadline)
        # In lock-step nothing overtakes: a recorder shall get every action.
        stamped = qos.profile(depth=100, deadline=deadline) if self._lockstep else command
        for kind, topic, profile in (
            (Float64MultiArray, "action", command),
            (JointState, "action_stamped", stamped),
            (JointState, "timing", qos.FIGURES),
        ):
            self._outputs.append(self.create_publisher(kind, topic, profile))
        self._action_publisher, self._stamped_publisher, self._timing_publisher = self._outputs

    def _fail(self, error: Exception) -> TransitionCallbackReturn:
        kind = "" if isinstance(error, (PolicyError, BackendError)) else f"{type(error).__name__}: "
        self._failure = " ".join(f"{kind}{error}".split())
        self.get_logger().error(self._failure)
        self._report()
        return TransitionCallbackReturn.FAILURE

    def _set_timeout(self, seconds: float) -> None:
        self._watchdog.cancel()
        if seconds > 0:
            self._watchdog.timer_period_ns = round(seconds * 1e9)
            self._watchdog.reset()
        else:
            # reset() on the hot path would start a cancelled timer again
            self._watchdog.timer_period_ns = 2**62

    def _start_serving(self) -> None:
        deadline = self._value("deadline")
        self._is_stale = False
        self._last_values = None
        callback: Any = self._on_observation if gives_message_info() else self._on_bare_observation
        self._subscription = self.create_subscription(
            JointState,
            "observation",
            callback,
            qos.profile(reliable=self._lockstep, depth=1, deadline=deadline),
            event_callbacks=qos.SubscriptionEventCallbacks(
                deadline=self._on_deadline_missed if deadline > 0 else None
            ),
        )
        self._set_timeout(self._value("timeout"))

    def _stop_serving(self) -> None:
        assert self._server is not None
        self._unsubscribe()
        self._publish(self._server.guard.hold(), _NO_TIME)
        for publisher in (self._action_publisher, self._stamped_publisher):
            publisher.wait_for_all_acked(_LAST_WORD)

    def _unsubscribe(self) -> None:
        """Take no more observations, however far ``_start_serving`` came."""
        self._watchdog.cancel()
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
            self._subscription = None

    def _unload(self) -> None:
        """Undo ``on_configure``, however far it came."""
        if self._server is not None:
            self._server.close()
            self._server = None
        while self._outputs:
            self.destroy_publisher(self._outputs.pop())


def main(args: list[str] | None = None) -> None:
    """Run the node; exits 2 with one line if it cannot start."""

    def program(stop: Stop) -> PolicyNode:
        node = PolicyNode(stop)
        if node.get_parameter("autostart").value:
            node.start()
        return node

    sys.exit(run(program, "policy_node", SUMMARY, SPECS, args))


if __name__ == "__main__":
    main()
