"""Ends whatever a test run started, once the run is over, however it ended.

The run holds the write end of this process's standard input. When that closes, even because the run
was killed, every process that still carries the run's mark in its environment is killed. A child
inherits the mark, and so do its own children.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

MARK = "QPOLICY_TEST_RUN"
_ROUNDS = 20  # a process may start another one while it is looked for


def start_guard() -> subprocess.Popen[bytes]:
    """Mark this process's future children, and start the one that ends them; close its stdin."""
    mark = secrets.token_hex(8)
    guard = subprocess.Popen(
        [sys.executable, __file__, mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.environ[MARK] = mark
    return guard


def marked(mark: str) -> list[int]:
    """Return the processes that were started with ``mark`` in their environment."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def main() -> None:
    """Wait for the end of the run, then end what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    for _ in range(_ROUNDS):
        left = marked(sys.argv[1])
        if not left:
            return
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


if __name__ == "__main__":
    main()
