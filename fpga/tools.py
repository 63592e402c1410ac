"""Run a tool: Verilator, a compiler, Yosys. Each has an end."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

from qpolicy_ros.backends.base import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TIME_LIMIT = 1800.0  # s for one run; a minute of work on a busy machine is many


def run_limited(
    what: str, command: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Return the exit status of a tool and what it printed, as text.

    Args:
        what: the tool, for messages.
        command: what to run.
        environment: of the tool, this process's own by default.

    Raises:
        BackendError: it took longer than ``TIME_LIMIT``; it has ended, with all that it started.
    """
    # A session of its own: the compiler that g++ starts must end with it.
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=TIME_LIMIT)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                text = f"{what} took more than {TIME_LIMIT:g} s; try on a machine less busy"
                raise BackendError(text) from error
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)
