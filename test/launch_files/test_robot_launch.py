"""`robot.launch.py`: a robot's nodes, started again when they die, watched, recorded."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest

pytest.importorskip("launch_ros", reason="launch_ros is not installed (comes with ROS 2)")
pytest.importorskip("rclpy")

from monitor import Monitor
from policy_builders import random_artifact
from robot_files import write_robot
from ros_processes import Place, Watcher
from std_srvs.srv import Trigger

from qpolicy_ros.policy import save_policy
from qpolicy_ros.sim.description import find_robot


@pytest.fixture
def description(tmp_path):
    return write_robot(tmp_path)


@pytest.fixture
def artifact(description):
    return random_artifact(5, hidden=(16, 16), contract=find_robot(description).contract())


@pytest.fixture
def policy(tmp_path, artifact):
    save_policy(artifact, tmp_path / "policy.safetensors")
    return f"policy:={tmp_path / 'policy.safetensors'}"


@pytest.fixture
def watcher(domain):
    watching = Watcher(Place(domain, ""))
    yield watching
    watching.close()


@pytest.fixture
def monitor(domain, artifact):
    watching = Monitor(Place(domain, ""), artifact.contract)
    yield watching
    watching.close()
    assert watching.unsafe == []


@pytest.fixture
def params(tmp_path):
    """Patient enough for a busy machine."""
    file = tmp_path / "params.yaml"
    file.write_text(
        "/**/policy_node: {ros__parameters: {timeout: 1.0, ramp_time: 0.3}}\n"
        "/**/safety_watchdog: {ros__parameters: {command_timeout: 0.5}}\n"
        "/**/mujoco_sim_node: {ros__parameters: {policy_timeout: 0.0}}\n"
    )
    return f"params_file:={file}"


def call(watcher, service):
    return watcher.call(Trigger, f"policy_node/{service}", Trigger.Request()).success


def wait_for_mode(watcher, mode):
    watcher.until(lambda: watcher.diagnostics().get("mode") == mode, timeout=60.0)


def test_a_killed_policy_node_is_started_again_and_waits(
    launch, watcher, monitor, policy, description, params, fault_table, tmp_path
):
    arguments = (f"robot:={description}", policy, params, "speed:=0.3", "record:=true")
    running = launch.begin("robot.launch.py", *arguments)
    try:
        wait_for_mode(watcher, "standby")
        watcher.until(lambda: call(watcher, "start"))
        wait_for_mode(watcher, "policy")
        (pid,) = re.findall(r"\[policy_node-\d+\]: process started .*pid \[(\d+)\]", log(launch))
        since = time.monotonic()
        os.kill(int(pid), signal.SIGKILL)
        monitor.wait_for(lambda: monitor.safe_at(since) is not None)
        took = monitor.safe_at(since) - since
        watcher.until(lambda: len(re.findall("policy_node-.*process started", log(launch))) == 2)
        wait_for_mode(watcher, "standby")
        assert monitor.safe_at(since) is not None  # the watchdog holds on meanwhile
        watcher.until(lambda: call(watcher, "start"))
        wait_for_mode(watcher, "policy")
        said = (
            "`safety_watchdog` sends the safe action; the launch file starts the node again, "
            "which waits in standby for `~/start`"
        )
        fault_table.add("the policy's process is killed under `robot.launch.py`", said, took)
    finally:
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == 0, log(launch)
    assert "Traceback" not in log(launch)
    assert list(tmp_path.glob("rosbag2_*/metadata.yaml"))
    assert monitor.commands[-1].values == monitor.safe


def log(launch):
    return launch.log.read_text()


def test_a_wrong_policy_ends_the_launch(launch, description):
    done = launch("robot.launch.py", f"robot:={description}", "policy:=/nowhere.safetensors")
    text = done.stdout + done.stderr
    assert "/nowhere.safetensors" in text
    assert "exit code 2" in text
    assert "Traceback" not in text
