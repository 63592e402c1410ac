"""A robot's topics over DDS: standby, ramp, policy, safe."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from monitor import Monitor
from policy_builders import random_artifact
from robot_contracts import robot_contract
from std_srvs.srv import Trigger

from qpolicy_ros.backends import create_backend
from qpolicy_ros.policy import save_policy

pytestmark = pytest.mark.slow

SAFE = [0.0, 0.0]


@pytest.fixture(scope="module")
def artifact():
    return random_artifact(11, hidden=(16, 16), contract=robot_contract())


@pytest.fixture
def policy(tmp_path, artifact):
    save_policy(artifact, tmp_path / "robot.safetensors")
    return str(tmp_path / "robot.safetensors")


@pytest.fixture
def monitor(place, artifact):
    """Everything that is commanded in this test is checked."""
    watching = Monitor(place, artifact.contract)
    yield watching
    watching.close()
    assert watching.unsafe == []


@pytest.fixture
def run(start, policy, monitor):  # noqa: ARG001 the monitor listens before anything is sent
    def starter(**parameters):
        defaults = {"policy": policy, "autostart": True, "ramp_time": 0.3, "timeout": 1.0}
        return start("policy_node", **{**defaults, **parameters})

    return starter


def call(watcher, service):
    response = watcher.call(Trigger, f"policy_node/{service}", Trigger.Request())
    return response.success, response.message


def wait_for_mode(watcher, mode):
    watcher.until(lambda: watcher.diagnostics().get("mode") == mode, timeout=60.0)
    return watcher.diagnostics()


def test_standby_ramp_policy_safe_standby(run, robot, watcher, monitor):
    robot()
    run(engage=False)
    report = wait_for_mode(watcher, "standby")
    assert not monitor.commands
    watcher.until(lambda: "no_action.standby" in watcher.diagnostics())
    assert call(watcher, "start") == (True, "ramp")
    report = wait_for_mode(watcher, "policy")
    assert int(report["answered"]) > 0
    assert (0.25, 0.5) in [command.values for command in monitor.commands[:15]]
    assert call(watcher, "start") == (False, "already started: policy")
    assert call(watcher, "reset") == (False, "policy; call ~/stop first")
    assert call(watcher, "stop") == (True, "safe")
    monitor.wait_for(lambda: list(monitor.commands[-1].values) == SAFE)
    report = wait_for_mode(watcher, "safe")
    assert report["reason"] == "stopped: ~/stop was called"
    assert report["level"] == "2"
    assert call(watcher, "start")[0] is False
    assert call(watcher, "reset") == (True, "standby")
    assert call(watcher, "start") == (True, "ramp")
    wait_for_mode(watcher, "policy")


def test_the_action_is_the_policys_for_the_observation_it_publishes(
    start, robot, watcher, artifact, tmp_path
):
    contract = artifact.contract
    unlimited = tuple(dataclasses.replace(action, rate=math.inf) for action in contract.action)
    contract = dataclasses.replace(contract, action=unlimited)
    artifact = random_artifact(11, hidden=(16, 16), contract=contract)
    save_policy(artifact, tmp_path / "unlimited.safetensors")
    policy = str(tmp_path / "unlimited.safetensors")
    seen = {}
    watcher.collect_observations(seen)
    robot()
    start("policy_node", policy=policy, autostart=True, ramp_time=0.0, timeout=5.0)

    def answered():
        answers = {}
        for message in watcher.messages["action_stamped"]:
            stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
            answers.setdefault(stamp, set()).add(tuple(message.position))
        return {s: a.pop() for s, a in answers.items() if seen.get(s) and len(a) == 1}

    watcher.until(lambda: len(answered()) > 20)
    backend = create_backend("integer", artifact)
    for stamp, action in answered().items():
        assert list(action) == backend.act(np.array(seen[stamp], np.float32)).tolist()


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["names hip,ankle"], "missing: joint_states: 'knee' missing; it has 'hip', 'ankle'"),
        (["names FL,FR"], "missing: joint_states: 'hip', 'knee' missing; it has 'FL', 'FR'"),
        (["nan on"], "non_finite: joint_states: position of 'hip' is nan"),
    ],
)
def test_a_wrong_robot_is_found_by_name_before_anything_is_commanded(
    run, robot, watcher, monitor, lines, reason
):
    robot(*lines)
    run(engage=False)
    wait_for_mode(watcher, "standby")
    watcher.until(lambda: "joint_states" in watcher.diagnostics()["last_reason"])
    success, message = call(watcher, "start")
    assert not success
    assert reason in message
    assert watcher.diagnostics()["input.joint_states.problem"] == reason
    assert not monitor.commands


def test_a_missing_topic_is_named(run, watcher):
    run()
    wait_for_mode(watcher, "standby")
    assert call(watcher, "start") == (False, "waiting: nothing usable on 'joint_states' yet")


def test_the_joints_order_does_not_matter(run, robot, watcher):
    robot("names knee,hip,gripper")
    run()
    wait_for_mode(watcher, "policy")


def test_nothing_starts_before_it_is_active(start, watcher, policy):
    start("policy_node", policy=policy)
    assert call(watcher, "start") == (False, "not active: configure and activate first")


def test_a_late_backend_is_not_answered_with(run, robot, watcher, monitor):
    robot()
    run(inference_deadline=1e-9, ramp_time=0.1)
    report = wait_for_mode(watcher, "safe")
    assert report["reason"].startswith("deadline: backend 'integer' took")
    assert int(report["no_action.deadline"]) > 1
    assert list(monitor.commands[-1].values) == SAFE
