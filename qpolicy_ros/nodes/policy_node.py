"""``policy_node``: a lifecycle node that answers observations with actions."""

from __future__ import annotations

import gc
import secrets
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.task import Future
from std_srvs.srv import Trigger

from qpolicy_ros.backends import BACKENDS, BackendError
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.machine import conditions, live_conditions
from qpolicy_ros.nodes import diagnostics, qos, realtime
from qpolicy_ros.nodes.parameters import declare
from qpolicy_ros.nodes.policy_specs import REPORTED, SPECS, SUMMARY
from qpolicy_ros.nodes.rcl.choice import HotPath
from qpolicy_ros.nodes.rcl.hot import hot
from qpolicy_ros.nodes.runtime import Stop, run
from qpolicy_ros.nodes.serving.commanders import sender_name
from qpolicy_ros.nodes.serving.configured import backend_options, make_server
from qpolicy_ros.nodes.serving.feature_loop import FeatureLoop
from qpolicy_ros.nodes.serving.loading import Loading
from qpolicy_ros.nodes.serving.loop import Loop, Options
from qpolicy_ros.nodes.serving.outputs import Outputs
from qpolicy_ros.nodes.serving.record import Record
from qpolicy_ros.nodes.serving.robot_loop import RobotLoop
from qpolicy_ros.nodes.serving.server import PolicyServer, check_known
from qpolicy_ros.nodes.serving.status import Status
from qpolicy_ros.policy import PolicyError, find_policy

_UNTIL_CLEANUP = frozenset({"policy", "task", "use_sim_time"})
_SPECS = {spec.name: spec for spec in SPECS}
_NOT_SERVING = "not active: configure and activate first"


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
        self._outputs: Outputs | None = None
        self._loop: Loop | None = None
        self._loading: Loading | None = None
        self._record = Record()
        self._hot_path = HotPath(self._value("executor"), self.get_logger().warning)
        self.make_executor = self._hot_path.make_executor
        self._conditions = conditions()
        self._session = secrets.token_hex(4)  # another one after a restart
        self._status = Status(self._record)
        self._swaps = 0
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.FIGURES)
        # Seldom, but through rclpy it would stop the hot path for longer than the report takes.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        hot(self.create_timer(1.0, self._report, clock=steady))
        # A recording shall say at once what the next command depends on.
        self._report_soon = self.create_timer(0.0, self._report_once, clock=steady)
        self._report_soon.cancel()
        self.add_on_set_parameters_callback(self._on_parameters)
        self.create_service(Trigger, "~/start", self._on_start)
        self.create_service(Trigger, "~/stop", self._on_stop)
        self.create_service(Trigger, "~/reset", self._on_reset)
        # A group of its own: its answer waits, and nothing else shall.
        group = ReentrantCallbackGroup()
        self.create_service(Trigger, "~/load", self._on_load, callback_group=group)
        self._wake = self.create_guard_condition(lambda: None)

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
            realtime.apply_to(self)
            server = self._server = make_server(self, self._hot_path.library, self._record)
            contract = server.artifact.contract
            options = {
                "lockstep": self._value("lockstep"),
                "trajectory": self._value("joint_trajectory"),
                "library": self._hot_path.library,
            }
            deadline = self._value("deadline")
            self._outputs = Outputs(self, contract, deadline, sender=sender_name(self), **options)
        except Exception as error:  # noqa: BLE001 rclpy would swallow it without a word
            self._unload()
            return self._fail(error)
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
            self._loop = self._make_loop()
            self._loop.open()
        except Exception as error:  # noqa: BLE001 rclpy would swallow it without a word
            self._close_loop()
            return self._fail(error)
        self._state, self._failure = "active", ""
        # A value beyond float32's range becomes infinite, and is refused as such.
        np.seterr(over="ignore")
        # What lives now stays: the collector need not look at it while serving.
        gc.collect()
        gc.freeze()
        self._report()
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
        if self._loop is not None:
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

    # Services

    def _on_start(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._do(response, lambda loop: loop.start())

    def _on_stop(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._do(response, lambda loop: loop.stop())

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._do(response, lambda loop: loop.reset())

    def _do(self, response: Trigger.Response, act: Callable[[Loop], str]) -> Trigger.Response:
        loop = self._loop
        wrong = act(loop) if loop is not None else _NOT_SERVING
        if not wrong:
            self._report_soon.reset()
        response.success = not wrong
        response.message = wrong or (loop.modes.mode.value if loop is not None else "")
        return response

    async def _on_load(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            loading = self._start_loading()
        except InputError as error:
            response.success, response.message = False, str(error)
            return response
        await self._loaded
        response.success, response.message = self._take_loaded(loading)
        say = self.get_logger().info if response.success else self.get_logger().warning
        say(f"load: {response.message}")
        return response

    def _start_loading(self) -> Loading:
        if (server := self._server) is None:
            raise PolicyError("load: nothing is configured; configure the node first")
        if self._loading is not None:
            raise PolicyError("load: one is under way; wait for it")
        backend = self._value("load.backend") or server.backend
        check_known(backend)
        policy = self._value("load.policy")
        file = str(find_policy(policy)) if policy else server.artifact.path
        names = [backend]
        if file != server.artifact.path:
            names = list(dict.fromkeys([*server.ready, backend]))
        loaded: Future[None] = Future(executor=self.executor)
        self._loaded = loaded

        def done() -> None:
            loaded.set_result(None)
            self._wake.trigger()

        given = (server.artifact, file, names, backend_options(self), done)
        self._loading = Loading(*given, self._value("trusted_keys"))
        return self._loading

    def _take_loaded(self, loading: Loading) -> tuple[bool, str]:
        """Put what was loaded in service, between two observations; return success and text."""
        if self._loading is not loading or self._server is None:
            loading.discard()
            return False, "load: the node was cleaned up meanwhile"
        self._loading = None
        if loading.built is None:
            return False, loading.error
        artifact, backends = loading.built
        try:
            self._server.install(artifact, backends)
        except InputError as error:
            loading.discard()
            return False, str(error)
        self._report()
        return True, f"{', '.join(backends)} of {artifact.path or artifact.contract.task}"

    # Reports

    def _report_once(self) -> None:
        self._report_soon.cancel()
        self._report()

    def _report(self) -> None:
        """Publish the node's state, once a second."""
        more = {
            "backend": self._value("backend"),
            "swaps": self._swaps,
            "session": self._session,
            **{f"parameter.{name}": self._value(name) for name in REPORTED},
            **self._conditions,
            "hot_path": self._hot_path.state,
            **live_conditions(self.executor),
        }
        level, text, values = self._status.report(
            self._state, self._failure, self._server, self._loop, more
        )
        self._diagnostics.publish(diagnostics.diagnostics(self, "policy", level, text, values))

    # Parameters

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        try:
            for parameter in parameters:
                self._check(parameter)
        except InputError as error:
            return SetParametersResult(successful=False, reason=str(error))
        for parameter in parameters:
            self._apply(parameter)
        if self._server is not None:
            self._report_soon.reset()  # not now: this parameter has its old value until we return
        return SetParametersResult(successful=True)

    def _check(self, parameter: Parameter) -> None:
        if parameter.name == "backend":
            if self._server is None:
                check_known(parameter.value)
            else:
                self._server.check_ready(parameter.value)
        elif parameter.name.partition(".")[0] in BACKENDS:
            _SPECS[parameter.name].check(parameter.value)
            if self._server is not None:
                self._server.check_option(parameter.name)
        elif parameter.name in _UNTIL_CLEANUP and self._server is not None:
            raise PolicyError(
                f"{parameter.name}: cannot change while the node is {self._state}; clean up first"
            )

    def _apply(self, parameter: Parameter) -> None:
        if self._server is None:
            return
        if parameter.name == "backend" and parameter.value != self._server.backend:
            # The one thread that runs this runs the hot path too: between two observations.
            before = self._server.backend
            self._server.swap(parameter.value)
            self._swaps += 1
            self.get_logger().info(f"backend: {before} -> {parameter.value}")
        elif parameter.name == "rate_limit":
            self._server.guard.set_rate_limit(parameter.value)
        elif parameter.name == "inference_deadline":
            self._server.set_deadline(parameter.value)
        elif parameter.name == "timeout" and self._loop is not None:
            self._loop.set_timeout(parameter.value)

    # Helpers

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _make_loop(self) -> Loop:
        assert self._server is not None
        assert self._outputs is not None
        options = Options(**{name: self._value(name) for name in Options._fields})
        kind = RobotLoop if self._server.artifact.contract.robot else FeatureLoop
        return kind(self, self._server, self._outputs, options)

    def _fail(self, error: Exception) -> TransitionCallbackReturn:
        kind = "" if isinstance(error, (InputError, BackendError)) else f"{type(error).__name__}: "
        self._failure = " ".join(f"{kind}{error}".split())
        self.get_logger().error(self._failure)
        self._report()
        return TransitionCallbackReturn.FAILURE

    def _stop_serving(self) -> None:
        """Take no more observations; the safe action is the last word."""
        loop, outputs = self._loop, self._outputs
        assert loop is not None
        assert outputs is not None
        self._close_loop()
        loop.send_safe()
        outputs.flush()
        # Frozen garbage would never be collected.
        gc.unfreeze()

    def _close_loop(self) -> None:
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def _unload(self) -> None:
        """Undo ``on_configure``, however far it came."""
        if self._loading is not None:
            self._loading.cancel()
            self._loading = None
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._outputs is not None:
            self._outputs.destroy()
            self._outputs = None
        gc.collect()


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
