"""What a policy node's parameters ask for: the policy, its backends, their options."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node

from qpolicy_ros.backends import BACKENDS
from qpolicy_ros.nodes.serving.loading import keys
from qpolicy_ros.nodes.serving.record import Record
from qpolicy_ros.nodes.serving.robot_clock import RobotClock
from qpolicy_ros.nodes.serving.server import PolicyServer, check_known
from qpolicy_ros.policy import PolicyError, find_policy, load_policy, require_task


def backend_options(node: Node) -> dict[str, dict[str, Any]]:
    """Return the options of each backend by its name."""
    return {
        name: {key: item.value for key, item in node.get_parameters_by_prefix(name).items()}
        for name in BACKENDS
    }


def make_server(node: Node, library: Any = None, record: Record | None = None) -> PolicyServer:
    """Load and check the policy, build and warm up the backends.

    Args:
        node: whose parameters say which.
        library: the hot path's C part, None where it is not there.
        record: where to say what was refused; None for one of its own.

    Raises:
        InputError: a parameter, the policy or its signature is wrong.
        BackendError: the serving backend cannot be built.
    """

    def value(name: str) -> Any:
        return node.get_parameter(name).value

    task, policy = value("task"), value("policy") or value("task")
    if not policy:
        raise PolicyError("policy: is empty; set it to a task name such as hopper or to a file")
    check_known(value("backend"))
    artifact = load_policy(find_policy(policy), keys(value("trusted_keys")))
    if task:
        require_task(artifact, task)
    server = PolicyServer(
        artifact,
        value("backend"),
        # ROS 2 leaves a parameter unset that is given as the empty list.
        node.get_parameter_or("preload").value or (),
        backend_options(node),
        value("rate_limit"),
        RobotClock(node),
        library,
        record,
    )
    server.set_deadline(value("inference_deadline"))
    server.supervise(value("unseen"), value("seen_codes"))
    return server
