"""Real-time scheduling, chosen CPUs and locked memory for this process; Linux."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Sequence
from pathlib import Path

from rclpy.node import Node

from qpolicy_ros.common.errors import InputError

_CURRENT_AND_FUTURE = 1 | 2  # mlockall's MCL_CURRENT, MCL_FUTURE
_IPC_LOCK = 14  # number of the capability that ignores RLIMIT_MEMLOCK


def apply_to(node: Node) -> None:
    """Set up this process as ``node``'s parameters say; InputError as in ``apply``."""
    apply(
        node.get_parameter("realtime.priority").value,
        # ROS 2 leaves a parameter unset that is given as the empty list.
        node.get_parameter_or("realtime.cpus").value or (),
        lock_memory=node.get_parameter("realtime.lock_memory").value,
    )


def apply(priority: int, cpus: Sequence[int], *, lock_memory: bool) -> None:
    """Set up this process; what is 0, empty or false stays as it is.

    All threads are set, as an observation passes through several: the middleware's and the one
    that serves. Threads and processes that start later, such as the one that loads a backend, get
    the usual scheduling.

    Args:
        priority: of SCHED_FIFO, 1 to 99.
        cpus: numbers of CPUs.
        lock_memory: whether to lock what is and what will be in memory.

    Raises:
        InputError: this process has no right to it, or no such CPU.
    """
    if cpus:
        _keep_to(set(cpus))
    if lock_memory:
        _lock()
    if priority:
        _schedule(priority)


def _threads() -> list[int]:
    return [int(path.name) for path in Path("/proc/self/task").iterdir()]


def _keep_to(cpus: set[int]) -> None:
    allowed = os.sched_getaffinity(0)
    if not cpus <= allowed:
        wrong = f"{sorted(cpus - allowed)} not among this process's CPUs"
        raise InputError.at("", "realtime.cpus", wrong, f"choose from {sorted(allowed)}")
    for thread in _threads():
        os.sched_setaffinity(thread, cpus)


def _lock() -> None:
    field, remedy = "realtime.lock_memory", "allow it with `ulimit -l unlimited` or CAP_IPC_LOCK"
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY and not _has_capability(_IPC_LOCK):
        # With a limit the call may succeed now, and memory run out later.
        wrong = f"refused: only {soft // 1024} KiB may be locked"
        raise InputError.at("", field, wrong, remedy)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_CURRENT_AND_FUTURE):
        raise InputError.at("", field, f"refused: {os.strerror(ctypes.get_errno())}", remedy)


def _schedule(priority: int) -> None:
    try:
        for thread in _threads():
            os.sched_setscheduler(
                thread,
                os.SCHED_FIFO | os.SCHED_RESET_ON_FORK,
                os.sched_param(priority),
            )
    except PermissionError as error:
        remedy = "allow it with `ulimit -r 99` (rtprio in limits.conf) or CAP_SYS_NICE, or set 0"
        wrong = f"{priority} is refused: no right to real-time scheduling"
        raise InputError.at("", "realtime.priority", wrong, remedy) from error


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False
