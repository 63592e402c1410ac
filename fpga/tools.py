"""Run a tool: Verilator, a compiler, Yosys. Each has an end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from qpolicy_ros.backends.base import BackendError

TIME_LIMIT = 1800.0  # s for one run; a minute of work on a busy machine is many


def run_limited(
    what: str,
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    limit: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Return the exit status of a tool and what it printed, as text.

    Args:
        what: the tool, for messages.
        command: what to run.
        environment: of the tool, this process's own by default.
        folder: in which it runs, this process's own by default.
        limit: seconds that it may take, ``TIME_LIMIT`` by default.

    Raises:
        BackendError: it took longer than that; it has ended, with all that it started.
    """
    limit = TIME_LIMIT if limit is None else limit
    # A session of its own: the compiler that g++ starts must end with it.
    with subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=limit)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                text = f"{what} took more than {limit:g} s; try on a machine less busy"
                raise BackendError(text) from error
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)
