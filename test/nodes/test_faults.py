"""Faults injected over real DDS, every command checked by an independent monitor.

``pytest test/nodes/test_faults.py test/launch_files/test_robot_launch.py --fault-table FILE``
writes what was observed as a table.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from fault_table import COMMAND_TIMEOUT, TIMEOUT
from monitor import Monitor
from policy_builders import random_artifact
from robot_contracts import robot_contract
from robot_files import write_robot
from std_srvs.srv import SetBool, Trigger

from qpolicy_ros.policy import save_policy
from qpolicy_ros.sim.description import find_robot

pytestmark = pytest.mark.slow

GOES_ON = 1.5  # s of commands to be seen before a policy is said to go on


class Scene:
    """A robot, its policy, and who watches them."""

    def __init__(self, watcher, monitor, node, robot=None):
        self.watcher, self.monitor, self.node, self.robot = watcher, monitor, node, robot
        watcher.until(lambda: watcher.diagnostics().get("mode") == "policy", timeout=60.0)

    def goes_safe(self, since):
        """Wait for the safe action for good; return what the node says and how long it took."""
        self.watcher.until(lambda: self.mode() == "safe", timeout=60.0)
        self.monitor.wait_for(lambda: self.monitor.safe_at(since) is not None)
        report = self.watcher.diagnostics()
        return f"safe action until `~/reset`; {report['reason']}", self.took(since)

    def took(self, since):
        return self.monitor.safe_at(since) - since

    def goes_on(self, since):
        """Wait for commands of the policy and no safe ones; return how many came how fast."""
        self.monitor.wait_for(lambda: time.monotonic() > since + GOES_ON)
        self.watcher.until(lambda: self.mode() == "policy")
        commands = self.monitor.since(since)
        assert commands
        assert not any(command.values == self.monitor.safe for command in commands)
        rate = (len(commands) - 1) / (commands[-1].at - commands[0].at)
        return f"the policy goes on, {rate:.0f} commands a second"

    def mode(self):
        return self.watcher.diagnostics().get("mode")


@pytest.fixture
def contract():
    return robot_contract()


@pytest.fixture
def policy(tmp_path, contract):
    save_policy(random_artifact(11, hidden=(16, 16), contract=contract), tmp_path / "policy")
    return str(tmp_path / "policy")


@pytest.fixture
def monitor(place, contract):
    watching = Monitor(place, contract)
    yield watching
    watching.close()
    assert watching.unsafe == []
    assert watching.bare > 0


@pytest.fixture
def scene(start, robot, policy, watcher, monitor):
    """Return a function that starts robot and policy and waits until the policy commands."""

    def starter(node="policy_node", timeout=TIMEOUT):
        publisher = robot()
        process = start(node, policy=policy, autostart=True, ramp_time=0.1, timeout=timeout)
        return Scene(watcher, monitor, process, publisher)

    return starter


@pytest.fixture
def watched(start, policy, scene, watcher):
    """The same with the watchdog beside."""

    def starter(node="policy_node"):
        start("safety_watchdog", policy=policy, command_timeout=COMMAND_TIMEOUT)
        made = scene(node)
        watcher.until(lambda: watcher.node.count_subscribers("action_stamped") >= 3)
        return made

    return starter


def test_publisher_killed(scene, fault_table):
    running = scene()
    since = time.monotonic()
    running.robot.tell("die")
    said, took = running.goes_safe(since)
    assert "stale: nothing usable on 'joint_states'" in said
    fault_table.add("the robot's publisher is killed", said, took)


def test_publisher_twice_as_slow(scene, fault_table):
    running = scene(timeout=5.0)
    running.robot.tell("rate 50")
    running.watcher.spin(0.5)
    since = time.monotonic()
    running.robot.tell("rate 25")
    said = running.goes_on(since)
    fault_table.add("the publisher is twice as slow (25 Hz for a 50 Hz policy)", said)


def test_nan(scene, fault_table):
    running = scene()
    since = time.monotonic()
    running.robot.tell("nan on")
    said, took = running.goes_safe(since)
    assert "(non_finite: joint_states: position of 'hip' is nan)" in said
    fault_table.add("joint positions are NaN", said, took)


def test_reordered_joints(scene, fault_table, watcher):
    seen = {}
    watcher.collect_observations(seen)
    running = scene(timeout=5.0)
    since = time.monotonic()
    running.robot.tell("names knee,extra,hip")
    said = running.goes_on(since)
    assert {round(values[2], 6) for values in seen.values() if values} == {-0.05}  # the hip's speed
    assert {round(values[3], 6) for values in seen.values() if values} == {-0.1}
    fault_table.add("the joints come in another order", f"{said}: values are found by name")


def test_a_joint_disappears(scene, fault_table):
    running = scene()
    since = time.monotonic()
    running.robot.tell("names hip,ankle")
    said, took = running.goes_safe(since)
    assert "(missing: joint_states: 'knee' missing; it has 'hip', 'ankle')" in said
    fault_table.add("a joint is gone from the message", said, took)


def test_a_frozen_sensor(scene, fault_table):
    running = scene()
    since = time.monotonic()
    running.robot.tell("frozen on")
    said, took = running.goes_safe(since)
    fault_table.add("the same message again and again (same stamp)", said, took)


def test_clock_jumps_back(scene, fault_table):
    running = scene(timeout=5.0)
    since = time.monotonic()
    running.robot.tell("clock -3600")
    running.goes_on(since)
    commands = running.monitor.commands
    running.monitor.wait_for(lambda: commands[-1].stamp < commands[0].stamp)
    said = running.goes_on(time.monotonic())
    fault_table.add("the robot's clock jumps back by an hour", f"{said}: ages are monotonic")


def test_cpu_load(scene, fault_table):
    running = scene(timeout=5.0)
    since = time.monotonic()
    burning = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        said = running.goes_on(since)
    finally:
        for process in burning:
            process.kill()
            process.wait()
    fault_table.add("100 % CPU load beside, on every core", said)


def test_policy_process_frozen(watched, fault_table):
    running = watched()
    since = time.monotonic()
    running.node.send(signal.SIGSTOP)
    running.monitor.wait_for(lambda: running.monitor.safe_at(since) is not None)
    took = running.took(since)
    awake = time.monotonic()
    running.node.send(signal.SIGCONT)
    said, _ = running.goes_safe(awake)
    assert "stalled" in said
    assert len(running.monitor.late) <= 1  # what it was just sending
    text = f"`safety_watchdog` sends the safe action; when the policy wakes up: {said}"
    fault_table.add("the policy's process is frozen (SIGSTOP)", text, took)


def test_policy_process_killed(watched, fault_table):
    running = watched()
    since = time.monotonic()
    running.node.send(signal.SIGKILL)
    running.monitor.wait_for(lambda: running.monitor.safe_at(since) is not None)
    said = "`safety_watchdog` sends the safe action, once a control period"
    fault_table.add("the policy's process is killed (SIGKILL)", said, running.took(since))
    sent = len(running.monitor.commands)
    running.monitor.wait_for(lambda: len(running.monitor.commands) > sent + 5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_policy_process_is_ended(scene, fault_table, number):
    running = scene()
    since = time.monotonic()
    running.node.send(number)
    running.monitor.wait_for(lambda: running.monitor.safe_at(since) is not None)
    took = running.took(since)
    assert running.node.wait() == 0
    assert running.monitor.commands[-1].values == running.monitor.safe
    fault_table.add(f"the policy's process gets {number.name}", "the safe action is the last", took)


@pytest.fixture
def fault(tmp_path, monkeypatch):
    """Return a function that makes the backend of ``faulty_policy_node`` fail, or no more."""
    file = tmp_path / "fault"
    monkeypatch.setenv("FAULT", str(file))

    def inject(kind):
        if kind:
            (tmp_path / "new").write_text(kind)
            (tmp_path / "new").replace(file)  # never seen half-written
        else:
            file.unlink()

    return inject


def test_a_backend_that_raises(fault, scene, fault_table):
    running = scene("faulty_policy_node.")
    since = time.monotonic()
    fault("raise")
    said, took = running.goes_safe(since)
    assert "backend: backend 'integer': OSError: the bus is gone" in said
    assert running.node.process.poll() is None
    fault_table.add("the backend raises", said, took)


def test_a_backend_that_hangs(fault, watched, fault_table):
    running = watched("faulty_policy_node.")
    since = time.monotonic()
    fault("hang")
    running.monitor.wait_for(lambda: running.monitor.safe_at(since) is not None)
    took = running.took(since)
    fault("")
    said, _ = running.goes_safe(since)
    assert "stalled: the backend took" in said
    text = f"`safety_watchdog` sends the safe action; when the backend comes back: {said}"
    fault_table.add("the backend hangs", text, took)


@pytest.fixture
def simulated(tmp_path):
    return write_robot(tmp_path)


class TestSimulator:
    """With a simulated robot in real time."""

    @pytest.fixture
    def contract(self, simulated):
        return find_robot(simulated).contract()

    def test_simulator_paused(self, start, watcher, monitor, policy, simulated, fault_table):
        start("mujoco_sim_node", task=simulated, realtime=True, speed=0.3)
        node = start("policy_node", policy=policy, autostart=True, ramp_time=0.1, timeout=TIMEOUT)
        running = Scene(watcher, monitor, node)
        since = time.monotonic()
        watcher.call(SetBool, "mujoco_sim_node/pause", SetBool.Request(data=True))
        said, took = running.goes_safe(since)
        assert "stale" in said
        fault_table.add("the simulator is paused", said, took)
        watcher.call(SetBool, "mujoco_sim_node/pause", SetBool.Request(data=False))
        assert running.mode() == "safe"
        for service in ("reset", "start"):
            response = Trigger.Response()
            while not response.success:  # a start waits until messages come again
                response = watcher.call(Trigger, f"policy_node/{service}", Trigger.Request())
        watcher.until(lambda: running.mode() == "policy")
