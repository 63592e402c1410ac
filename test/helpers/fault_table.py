"""Collects what the fault tests observed, and writes it as a table."""

from __future__ import annotations

import datetime as dt
import os
import platform
from pathlib import Path

TIMEOUT = 1.0  # s, of the policy node
COMMAND_TIMEOUT = 2.0  # s, of the watchdog: longer, so that they never both command

_HEAD = """# Faults

Made by the tests from one run, do not edit: `pytest test/nodes/test_faults.py
test/launch_files/test_robot_launch.py --fault-table docs/faults.md`. {date}, {cores} cores shared
with other work (load average {load:.0f}), {system}, rclpy and Fast DDS of Kilted.

The policy's control period is 20 ms. Its `timeout` is {timeout:g} s and the watchdog's
`command_timeout` {command:g} s, long enough for a busy test machine; `config/robot.yaml` has 0.1 s
and 0.2 s, and time to safe follows them. A monitor of its own takes every command from the wire and
checks it against limits, rates and finiteness: it found none that was unsafe. A command that was
being sent when its process froze, and arrives when it wakes up, counts as late. Time to safe counts
from the fault to the first safe action that no other command follows; a policy that rightly goes on
stays.

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
            head = _HEAD.format(
                date=dt.datetime.now(dt.timezone.utc).date(),
                cores=os.cpu_count(),
                load=os.getloadavg()[0],
                system=f"{platform.system()} {platform.release()}",
                timeout=TIMEOUT,
                command=COMMAND_TIMEOUT,
            )
            self._path.write_text(head + "\n".join(self._rows) + "\n", encoding="utf-8")
