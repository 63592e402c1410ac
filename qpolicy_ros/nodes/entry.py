"""Where the nodes' commands begin: what has to be said or done before a node is imported.

The imports take a second or more. A signal meanwhile ends the process cleanly: nothing has been
started by then, nothing is to be cleaned up. A middleware that is not there is named here, as ROS
ends the process without a remedy when its libraries are loaded.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path

_INDEX = Path("share", "ament_index", "resource_index", "rmw_typesupport")


def policy_node() -> None:
    """Run ``policy_node``."""
    _run("policy_node")


def mujoco_sim_node() -> None:
    """Run ``mujoco_sim_node``."""
    _run("mujoco_sim_node")


def safety_watchdog() -> None:
    """Run ``safety_watchdog``."""
    _run("safety_watchdog")


def bag_recorder() -> None:
    """Run ``bag_recorder``."""
    _run("bag_recorder")


def missing_middleware() -> str:
    """Say that ``RMW_IMPLEMENTATION`` names a middleware that is not installed, else nothing."""
    wanted = os.environ.get("RMW_IMPLEMENTATION", "")
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    folders = [Path(prefix, _INDEX) for prefix in prefixes if prefix]
    found = sorted(
        {path.name for folder in folders if folder.is_dir() for path in folder.iterdir()}
    )
    if not wanted or not found or wanted in found:
        return ""
    distro = os.environ.get("ROS_DISTRO", "$ROS_DISTRO")
    package = f"ros-{distro}-{wanted.replace('_', '-')}"
    return (
        f"RMW_IMPLEMENTATION: {wanted!r} is not installed, only {', '.join(found)}; install "
        f"{package}, or unset it (every node of one robot needs the same)"
    )


def _run(name: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    missing = missing_middleware()
    if missing:
        sys.stderr.write(f"{name}: error: {missing}\n")
        sys.exit(2)
    importlib.import_module(f"qpolicy_ros.nodes.{name}").main()
