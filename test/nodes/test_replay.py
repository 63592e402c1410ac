"""What real nodes record is replayed bit for bit: swaps, restarts, rates and modes included."""

from __future__ import annotations

import signal

import pytest
from policy_builders import random_artifact
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from robot_files import write_robot
from std_srvs.srv import Trigger

from qpolicy_ros.latency.bag import open_bag
from qpolicy_ros.policy import load_policy, save_policy
from qpolicy_ros.replay.run import replay
from qpolicy_ros.sim.description import find_robot

pytestmark = pytest.mark.slow


@pytest.fixture
def record(start, watcher, tmp_path):
    """Record until told to stop; returns a function that gives the finished bag."""
    bag = tmp_path / "bag"
    recorder = start("bag_recorder", output=str(bag))
    watcher.until(lambda: watcher.node.count_subscribers("timing") == 2)

    def finish():
        watcher.spin(0.5)
        recorder.send(signal.SIGINT)
        assert recorder.wait() == 0, recorder.output
        return bag

    return finish


def set_double(watcher, name, value):
    kind = ParameterType.PARAMETER_DOUBLE
    given = ParameterValue(type=kind, double_value=value)
    request = SetParameters.Request(parameters=[Parameter(name=name, value=given)])
    assert watcher.call(SetParameters, "policy_node/set_parameters", request).results[0].successful


def answered(watcher, count):
    """Wait until there are ``count`` more answers."""
    before = len(watcher.messages["timing"])
    watcher.until(lambda: len(watcher.messages["timing"]) >= before + count)


def test_swaps_rates_and_a_restart_of_a_feature_vectors_node(start, watcher, policies, record):
    options = {"policy": str(policies["hopper"]), "autostart": True, "lockstep": True}
    node = start("policy_node", **options, timeout=0.0)
    start("mujoco_sim_node", task="hopper", max_episode_steps=100)
    answered(watcher, 50)
    assert watcher.set_parameter("backend", "fp32").successful
    answered(watcher, 50)
    set_double(watcher, "rate_limit", 3.0)
    answered(watcher, 50)
    assert watcher.set_parameter("backend", "integer").successful
    answered(watcher, 50)
    node.send(signal.SIGKILL)
    node.wait()
    start("policy_node", **options, timeout=0.0, rate_limit=3.0)
    answered(watcher, 50)
    found = replay(record(), [load_policy(policies["hopper"])])
    assert found.equal, found.first
    assert found.reproduced == found.ticks > 250
    assert found.replay.begins.sum() == 1
    assert set(found.replay.backend[found.replay.acted]) == {"integer", "fp32"}
    assert (found.replay.rate == 3.0).any()


def test_modes_of_a_robot_in_real_time(start, watcher, record, tmp_path):
    description = write_robot(tmp_path)
    artifact = random_artifact(5, hidden=(16, 16), contract=find_robot(description).contract())
    save_policy(artifact, tmp_path / "policy.safetensors")
    start("mujoco_sim_node", task=str(description), realtime=True, speed=0.4)
    start(
        "policy_node",
        policy=str(tmp_path / "policy.safetensors"),
        autostart=True,
        engage=False,
        timeout=5.0,
        ramp_time=0.4,
        rate_limit=2.0,
    )
    watcher.until(lambda: watcher.diagnostics()["mode"] == "standby")

    def call(name):
        watcher.until(
            lambda: watcher.call(Trigger, f"policy_node/{name}", Trigger.Request()).success
        )

    for _ in range(2):
        call("start")
        answered(watcher, 40)
        call("stop")
        watcher.until(lambda: watcher.diagnostics()["mode"] == "safe")
        call("reset")
    found = replay(record(), [artifact])
    assert found.equal, found.first
    assert found.reproduced == found.ticks
    kinds = set(found.replay.kind.tolist())
    assert kinds == {0, 1, 2}  # policy, ramp, safe


def test_a_parameter_that_changes_is_reported_at_once(start, watcher, policies, record):
    start("policy_node", policy=str(policies["hopper"]), autostart=True)
    watcher.until(lambda: watcher.diagnostics()["state"] == "active")
    set_double(watcher, "rate_limit", 7.0)
    watcher.until(lambda: watcher.diagnostics()["parameter.rate_limit"] == "7.0")
    bag = open_bag(record())
    assert bag.path.name == "bag"
