"""SIGINT and SIGTERM at the wrong moments: status 0, the safe action last, no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from monitor import Monitor
from policy_builders import random_artifact
from robot_contracts import robot_contract

from qpolicy_ros.policy import save_policy

DURING_IMPORTS = """
import os, signal
from qpolicy_ros.nodes import entry
def interrupted(name):
    os.kill(os.getpid(), signal.{number})
    raise AssertionError(name)
entry.importlib.import_module = interrupted
entry.{node}()
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    "node", ["policy_node", "mujoco_sim_node", "safety_watchdog", "bag_recorder"]
)
def test_a_signal_during_the_imports_ends_a_node_cleanly(node, number):
    code = DURING_IMPORTS.format(number=number, node=node)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_again_and_again_change_nothing(start, robot, watcher, place, tmp_path, number):
    artifact = random_artifact(11, hidden=(16, 16), contract=robot_contract())
    save_policy(artifact, tmp_path / "robot.safetensors")
    monitor = Monitor(place, artifact.contract)
    robot()
    policy = str(tmp_path / "robot.safetensors")
    node = start("policy_node", policy=policy, autostart=True, ramp_time=0.0, timeout=5.0)
    watcher.until(lambda: watcher.diagnostics().get("mode") == "policy")
    while node.process.poll() is None:
        node.send(number)
        time.sleep(0.002)
    monitor.close()
    assert node.wait() == 0, node.output
    assert "Traceback" not in node.output
    assert monitor.commands[-1].values == monitor.safe
