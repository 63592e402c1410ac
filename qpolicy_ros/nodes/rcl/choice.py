"""Whether a node is served below rclpy, or why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.executors import SingleThreadedExecutor

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.nodes.rcl.compile import CompileError
from qpolicy_ros.nodes.rcl.library import load, make_executor

EXECUTORS = ("fast", "rclpy")


class HotPath:
    """The way below rclpy, where it is wanted and can be had.

    Args:
        wanted: of ``EXECUTORS``.
        warn: takes one line that says why it cannot be had.

    Attributes:
        library: the C part, None where rclpy serves.
        state: ``rcl``, or why rclpy serves.

    Raises:
        InputError: no such executor.
    """

    def __init__(self, wanted: str, warn: Callable[[str], object]) -> None:
        if wanted not in EXECUTORS:
            remedy = f"choose one of {', '.join(EXECUTORS)}"
            raise InputError.at("", "executor", f"{wanted!r} is unknown", remedy)
        self.library: Any = None
        self.state = "off: executor is rclpy"
        self._warn = warn
        if wanted == "fast":
            try:
                self.library, self.state = load(), "rcl"
            except CompileError as error:
                self._fall_back(error)

    def make_executor(self) -> SingleThreadedExecutor:
        """Return the executor for the node."""
        if self.library is not None:
            try:
                return make_executor(self.library)
            except CompileError as error:
                self._fall_back(error)
        return SingleThreadedExecutor()

    def _fall_back(self, error: CompileError) -> None:
        self.state = f"off: {error}"
        self._warn(f"executor: rclpy serves, as fast is not to be had: {error}")
