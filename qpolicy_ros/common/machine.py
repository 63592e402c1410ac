"""What measured times depend on: machine, kernel, middleware, revision of the source."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from qpolicy_ros import __version__
from qpolicy_ros.common.revision import revision


def conditions() -> dict[str, str]:
    """Return the conditions of this process, as ``/diagnostics`` carries them into a bag."""
    from rclpy.utilities import get_rmw_implementation_identifier  # noqa: PLC0415  bench needs none

    return {
        "cpu": cpu(),
        "cores": str(os.cpu_count()),
        "kernel": kernel(),
        "rmw": get_rmw_implementation_identifier(),
        "ros_distro": os.environ.get("ROS_DISTRO", "unknown"),
        "version": __version__,
        "git_revision": revision(),
    }


def live_conditions(executor: object) -> dict[str, str]:
    """Return the conditions that may change while a node runs in ``executor``, None before that."""
    served = {} if executor is None else {"executor": type(executor).__name__}
    return {
        **served,
        "scheduler": scheduler(),
        "load_average": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }


def scheduler() -> str:
    """Return how the operating system schedules this thread, empty where it does not say."""
    if not hasattr(os, "sched_getscheduler"):
        return ""
    names = {os.SCHED_OTHER: "SCHED_OTHER", os.SCHED_FIFO: "SCHED_FIFO", os.SCHED_RR: "SCHED_RR"}
    kind = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
    if kind in (os.SCHED_FIFO, os.SCHED_RR):
        return f"{names[kind]}, priority {os.sched_getparam(0).sched_priority}"
    return f"{names.get(kind, kind)}, nice {os.nice(0)}"


def cpu() -> str:
    """Return the processor's model."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def kernel() -> str:
    """Return the operating system's kernel and its version."""
    return f"{platform.system()} {platform.release()}"
