"""Whether a ros2_control controller has the policy's joints, in the policy's order."""

from __future__ import annotations

from typing import Any

from rcl_interfaces.srv import GetParameters
from rclpy.node import Node

_JOINTS = "joints"


class ControllerCheck:
    """Asks a controller for its ``joints``, once a second.

    Args:
        node: that asks.
        controller: full name of the controller's node; empty asks nobody.
        joints: the policy's, in order.

    Attributes:
        problem: that it does not answer, or has other joints; empty where all is well.
    """

    def __init__(self, node: Node, controller: str, joints: list[str]) -> None:
        self._node, self._name, self._joints = node, controller, joints
        self._client: Any = None
        self._answer: Any = None
        self.problem = ""
        if controller:
            self._client = node.create_client(GetParameters, f"{controller}/get_parameters")
            self.problem = f"controller: {controller} has not answered yet; is it loaded?"

    def close(self) -> None:
        """Ask no more."""
        if self._client is not None:
            self._node.destroy_client(self._client)
            self._client = None

    def look(self) -> str:
        """Take an answer that has come, ask again; return ``problem``."""
        if self._client is None:
            return self.problem
        if self._answer is not None and self._answer.done():
            self._judge(self._answer.result())
            self._answer = None
        if self._answer is None and self._client.service_is_ready():
            self._answer = self._client.call_async(GetParameters.Request(names=[_JOINTS]))
        elif not self._client.service_is_ready():
            self.problem = f"controller: {self._name} does not answer; is it loaded?"
        return self.problem

    def _judge(self, response: Any) -> None:
        values = response.values if response is not None else []
        found = list(values[0].string_array_value) if values else []
        if found == self._joints:
            self.problem = ""
            return
        what = (
            "the same joints in another order"
            if sorted(found) == sorted(self._joints)
            else ("other joints")
        )
        self.problem = (
            f"controller: {self._name} has {what}: {found}, the policy {self._joints}; give it the "
            "YAML of `qpolicy export --format ros2-control`"
        )
