"""The process around a node: start, signals, clean stop, one-line errors."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import rclpy
from rclpy.exceptions import InvalidNamespaceException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from rclpy.utilities import get_rmw_implementation_identifier, remove_ros_args
from rclpy.validate_namespace import validate_namespace

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.nodes.parameters import Spec, help_text
from qpolicy_ros.policy import PolicyError


class Stop:
    """A request to end the process; may be made from any thread.

    Attributes:
        code: exit status.
    """

    def __init__(self) -> None:
        self.code = 0
        self._event = threading.Event()
        self._wake: Callable[[], object] = lambda: None

    def __call__(self, code: int = 0) -> None:
        """Ask the executor to return; the first request's ``code`` counts."""
        if not self._event.is_set():
            self.code = code
            self._event.set()
        self._wake()

    def __bool__(self) -> bool:
        """Whether the process shall end."""
        return self._event.is_set()

    def on_request(self, wake: Callable[[], object]) -> None:
        """Call ``wake`` when a stop is requested, to interrupt the executor's wait."""
        self._wake = wake


class RunnableNode(Protocol):
    """What :func:`run` needs beyond rclpy's Node."""

    def close(self) -> None:
        """Leave the robot safe; called while the context is still alive."""


class Program(Protocol):
    """Builds a node that may call the given :class:`Stop` to end the process."""

    def __call__(self, stop: Stop) -> RunnableNode:
        """Return the node; PolicyError if it cannot start."""


def run(
    program: Program, name: str, summary: str, specs: Sequence[Spec], args: list[str] | None = None
) -> int:
    """Run one node until a signal or its own request to stop.

    rclpy's own signal handlers would invalidate the context before the node can send its last
    message, so SIGINT and SIGTERM are handled here.

    Returns:
        Exit status: the node's own, or 2 if it could not start.
    """
    arguments = sys.argv[1:] if args is None else args
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(help_text(name, summary, specs) + "\n")
        return 0
    try:
        unknown = remove_ros_args([name, *arguments])[1:]
        if unknown:
            wrong, remedy = f"{unknown[0]!r} is unknown", "parameters go behind --ros-args"
            raise PolicyError.at("", "arguments", wrong, f"{remedy}, as -p NAME:=VALUE")
    except (InputError, RuntimeError, UnicodeError, TypeError) as error:
        return _fail(name, error)
    stop = Stop()
    with _signals(stop, for_good=args is None):
        try:
            rclpy.init(args=[name, *arguments], signal_handler_options=SignalHandlerOptions.NO)
        # What rclpy raises for arguments that it cannot parse, half surrogates among them.
        except (RuntimeError, UnicodeError, TypeError) as error:
            return _fail(name, _with_remedy(error))
        try:
            return 0 if stop else _spin(program, stop)
        except InputError as error:
            return _fail(name, error)
        finally:
            rclpy.try_shutdown()


def checked_namespace(namespace: str) -> str:
    """Return the full form of a namespace, with or without its first slash: ``/robot``.

    Raises:
        PolicyError: ROS does not take it.
    """
    full = f"/{namespace.strip('/')}"
    try:
        validate_namespace(full if full.isprintable() else "/?")
    except InvalidNamespaceException as error:
        wrong = f"{namespace!r}: {str(error).splitlines()[0].removesuffix(':')}"
        raise PolicyError.at("", "--namespace", wrong, "give one like /robot") from None
    return full


def place(node: Node) -> str:
    """Return where a node looks for others: its ROS domain and its middleware."""
    domain = node.context.get_domain_id()
    return f"ROS domain {domain} ({get_rmw_implementation_identifier()})"


def gives_message_info() -> bool:
    """Whether this rclpy hands a message's times to callbacks (Humble does not)."""
    return hasattr(Subscription, "CallbackType")


def _spin(program: Program, stop: Stop) -> int:
    node = program(stop)
    executor = getattr(node, "make_executor", SingleThreadedExecutor)()
    wake = node.create_guard_condition(lambda: None)  # type: ignore[attr-defined]
    stop.on_request(wake.trigger)
    executor.add_node(node)  # type: ignore[arg-type]
    try:
        while not stop:
            executor.spin_once()
    finally:
        node.close()
        stop.on_request(lambda: None)
        executor.shutdown()
        node.destroy_node()  # type: ignore[attr-defined]
    return stop.code


def _with_remedy(error: Exception) -> Exception:
    """Say what to do about the one failure of ROS's start that is no wrong argument."""
    if "log directory" not in str(error):
        return error
    remedy = "set ROS_LOG_DIR to a folder that can be written"
    return InputError.at("", "logging", " ".join(str(error).split()), remedy)


def _fail(name: str, error: Exception) -> int:
    sys.stderr.write(f"{name}: error: {' '.join(str(error).split())}\n")
    return 2


@contextmanager
def _signals(stop: Stop, *, for_good: bool) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into ``stop``; any further one too, until the process has ended.

    With ``for_good`` the process ends after this: what a terminal or launch sends meanwhile must
    not break its status.

    The main thread waits inside the middleware, where Python's handlers do not run. So a second
    thread reads the byte that the interpreter writes on a signal, and wakes the executor.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, lambda *_: None) for number in numbers}
    descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def listen() -> None:
        while reader.recv(1):
            stop()

    listener = threading.Thread(target=listen, name="signals", daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_IGN if for_good else handler)
        writer.close()
        listener.join()
        reader.close()
