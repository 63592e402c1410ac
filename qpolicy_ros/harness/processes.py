"""Nodes as child processes: started with their logs in files, ended in every case."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from qpolicy_ros.common.errors import NodeError

_PATIENCE = 5.0  # s for a node to end by itself after SIGINT
_LOG_PREFIX = re.compile(r"^(\[[^\]]*\] ?)+: ?")

Value = str | bool | int | float | list[str] | list[float]


@contextlib.contextmanager
def children_end_with_us() -> Iterator[None]:
    """End every child when the context is left, on SIGTERM and Ctrl-C too."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        with _deferred_signals():
            while _running:
                _running[-1].close()
        signal.signal(signal.SIGTERM, previous)


@contextlib.contextmanager
def _deferred_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait until the context is left.

    By handlers, not by a mask: children would inherit that.
    """
    caught: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, _: caught.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if caught:
            signal.raise_signal(caught[0])


class Child:
    """A Python module that runs in a process of its own, until it is closed.

    Args:
        module: dotted name, for example ``qpolicy_ros.nodes.policy_node``.
        arguments: its command line.
        log: file for both of its output streams.
        environment: variables beside this process's own.
    """

    def __init__(
        self,
        module: str,
        arguments: list[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = module.rpartition(".")[2]
        self.log = log
        with log.open("w", encoding="utf-8") as stream, _deferred_signals():
            # A session of its own: Ctrl-C reaches this process alone, which then ends the children
            # in order.
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
            _running.append(self)

    @classmethod
    def node(
        cls,
        name: str,
        parameters: Mapping[str, Value],
        log: Path,
        *,
        namespace: str = "",
        module: str = "",
    ) -> Child:
        """Start the node ``name`` of this package with ``parameters``.

        Args:
            name: the node's module in ``qpolicy_ros.nodes``.
            parameters: by name.
            log: as for the class.
            namespace: ROS namespace of its node and topics.
            module: dotted name, where the node is not in ``qpolicy_ros.nodes``.
        """
        arguments = ["--ros-args"]
        if namespace:
            arguments += ["-r", f"__ns:={namespace}"]
        for key, value in parameters.items():
            # JSON's values are YAML's, which the arguments are read as.
            arguments += ["-p", f"{key}:={json.dumps(value)}"]
        return cls(module or f"qpolicy_ros.nodes.{name}", arguments, log)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Exit status, None while it runs."""
        return self._process.poll()

    def check_alive(self) -> None:
        """Raise NodeError if it has ended."""
        if self.code is not None:
            raise NodeError(self.complaint())

    def complaint(self) -> str:
        """Say in one line how it ended and what it said last."""
        code = self.code
        how = f"was ended by signal {-code}" if code is not None and code < 0 else None
        how = how or ("runs" if code is None else f"ended with status {code}")
        return f"{self.name} {how}: {last_error(self.log)} (log: {self.log})"

    def wait(self, seconds: float) -> int:
        """Return the exit status; NodeError if it does not end in time."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise NodeError(
                f"{self.name} has not ended after {seconds:g} s (log: {self.log})"
            ) from error

    def close(self) -> None:
        """End it: SIGINT first, so that a node can leave its robot safe."""
        if self.code is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        if self in _running:
            _running.remove(self)


_running: list[Child] = []


def last_error(log: Path) -> str:
    """Return the last error that a log reports, else its last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() or "[fatal]" in line.lower()]
    # What Python prints last of a traceback is the error itself.
    chosen = lines[-1:] if any(line.startswith("Traceback") for line in lines) else errors or lines
    return _LOG_PREFIX.sub("", chosen[-1]) if chosen else "it said nothing"
