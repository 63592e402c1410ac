"""Where the nodes' commands begin: a signal while a node is still being imported ends it cleanly.

The imports take a second or more. Nothing has been started by then: nothing is to be cleaned up.
"""

from __future__ import annotations

import importlib
import os
import signal


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


def _run(name: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    importlib.import_module(f"qpolicy_ros.nodes.{name}").main()
