"""Collects what the fault tests observed, and writes it as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT = 1.0  # s, of the policy node
COMMAND_TIMEOUT = 0.5  # s, of the watchdog

_HEAD = """# Faults

Made by the tests from one run, do not edit: `pytest test/nodes/test_faults.py
test/launch_files/test_robot_launch.py --fault-table docs/faults.md`. The policy's control period is
20 ms, its `timeout` {timeout:g} s, the watchdog's `command_timeout` {command:g} s. A monitor of its
own takes every command from the wire and checks it against limits, rates and finiteness: it found
none that was unsafe. Time to safe counts from the fault to the first safe action that no other
command follows; a policy that rightly goes on stays.

| fault | observed | time to safe, s |
|---|---|---|
"""


class FaultTable:
    """Rows of a session.

    Args:
        path: where to write them, None for nowhere.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows: list[str] = []

    def add(self, fault: str, observed: str, took: float | None = None) -> None:
        """Note what was observed; ``took`` is s to safe, None where it stays with the policy."""
        seconds = "stays" if took is None else f"{took:.2f}"
        self._rows.append(f"| {fault} | {observed} | {seconds} |")

    def write(self) -> None:
        """Write the table if it is wanted."""
        if self._path is not None and self._rows:
            head = _HEAD.format(timeout=TIMEOUT, command=COMMAND_TIMEOUT)
            self._path.write_text(head + "\n".join(self._rows) + "\n", encoding="utf-8")
