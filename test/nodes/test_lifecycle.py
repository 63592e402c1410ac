"""Start, stop and failure of the policy node."""

from __future__ import annotations

import gc
import signal

import pytest
import rclpy
from builtin_interfaces.msg import Time
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState

from qpolicy_ros.nodes import qos
from qpolicy_ros.nodes.policy_node import PolicyNode
from qpolicy_ros.nodes.runtime import Stop
from qpolicy_ros.nodes.serving.feature_loop import FeatureLoop
from qpolicy_ros.policy import load_policy

SAFE = [0.0, 0.0, 0.0]


@pytest.fixture
def observation(policies):
    return load_policy(policies["hopper"]).golden.observations[0].tolist()


def unsolicited(watcher):
    """Actions that answer no observation: stamp zero."""
    stamped = watcher.messages["action_stamped"]
    return [list(m.position) for m in stamped if m.header.stamp == Time()]


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"policy": "hoper"}, "policy: 'hoper' is neither a file nor a shipped policy"),
        ({"policy": "/tmp"}, "/tmp: file: is a folder"),
        ({"policy": "/nowhere/x.safetensors"}, "/nowhere/x.safetensors"),
        ({"policy": ""}, "policy: is empty"),
        ({"backend": "gpu"}, "backend: 'gpu' is unknown; choose one of integer, fp32"),
        ({"task": "ant"}, "asked for 'ant'"),
        ({"timeout": -1.0}, "timeout"),
        ({"timeout": 1}, "timeout"),
    ],
)
def test_a_wrong_start_is_one_line_and_status_2(serve, parameters, text):
    node = serve(**parameters)
    assert node.wait() == 2
    lines = [line for line in node.output.splitlines() if "C kernel" not in line]
    assert len(lines) == 1, node.output
    assert text in lines[0]


def test_a_wrong_policy_is_in_the_diagnostics(start, watcher):
    start("policy_node", policy="/tmp")
    assert not watcher.transition("configure")
    report = watcher.diagnostics()
    assert report["state"] == "unconfigured"
    assert report["level"] == "2"
    assert report["message"].startswith("/tmp: file: is a folder")


def test_transitions_one_by_one(start, watcher, policies, observation):
    start("policy_node", policy=str(policies["hopper"]), timeout=0.0)
    assert watcher.state() == "unconfigured"
    assert watcher.transition("configure")
    assert watcher.transition("activate")
    watcher.wait_for_policy(observation)
    watcher.ask(observation, stamp=1)
    assert watcher.transition("deactivate")
    assert watcher.state() == "inactive"
    watcher.until(lambda: unsolicited(watcher))
    assert unsolicited(watcher) == [SAFE]
    assert watcher.transition("activate")
    watcher.wait_for_policy(observation)
    watcher.ask(observation, stamp=2)
    assert watcher.transition("deactivate")
    assert watcher.transition("cleanup")
    assert watcher.transition("configure")
    assert watcher.state() == "inactive"


@pytest.fixture
def node(place, policies):
    """A policy node in this process."""
    rclpy.init(domain_id=place.domain)
    policy = PolicyNode(Stop())
    policy.set_parameters([Parameter("policy", value=str(policies["hopper"]))])
    yield policy
    policy.close()
    policy.destroy_node()
    rclpy.shutdown()


def fails(*_, **__):
    raise RuntimeError("no middleware")


def topics(node):
    """How many publish and take the topics of serving."""
    names = ("action", "action_stamped", "timing")
    published = [sum(p.topic_name == f"/{name}" for p in node.publishers) for name in names]
    return published, sum(s.topic_name == "/observation" for s in node.subscriptions)


def test_a_half_failed_configuration_leaves_nothing(node, monkeypatch):
    monkeypatch.setattr(qos, "FIGURES", "no profile")
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert topics(node) == ([0, 0, 0], 0)
    monkeypatch.undo()
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert topics(node) == ([1, 1, 1], 0)


def test_a_half_failed_activation_takes_no_observations(node, monkeypatch):
    node.trigger_configure()
    monkeypatch.setattr(FeatureLoop, "set_timeout", fails)
    assert node.trigger_activate() == TransitionCallbackReturn.FAILURE
    assert topics(node) == ([1, 1, 1], 0)
    monkeypatch.undo()
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    assert topics(node) == ([1, 1, 1], 1)


def test_a_failure_is_over_with_the_next_activation(node, monkeypatch):
    reports = []
    monkeypatch.setattr(node._diagnostics, "publish", reports.append)
    monkeypatch.setattr(FeatureLoop, "set_timeout", fails)
    node.trigger_configure()
    node.trigger_activate()
    assert reports[-1].status[0].message == "RuntimeError: no middleware"
    monkeypatch.undo()
    monkeypatch.setattr(node._diagnostics, "publish", reports.append)
    node.trigger_activate()
    node._report()
    assert reports[-1].status[0].message == "active"


def test_an_empty_preload_is_the_backend_alone(serve, watcher):
    serve(preload=[])
    watcher.wait_for_policy()
    assert watcher.diagnostics()["ready"] == "integer"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sends_the_safe_action_last(serve, watcher, observation, number):
    node = serve()
    watcher.wait_for_policy(observation)
    assert list(watcher.ask(observation).position) != SAFE
    node.send(number)
    watcher.until(lambda: unsolicited(watcher) == [SAFE])
    watcher.until(lambda: [list(m.data) for m in watcher.messages["action"][-1:]] == [SAFE])
    assert watcher.messages["action_stamped"][-1].header.stamp == Time()
    assert node.wait() == 0
    assert "Traceback" not in node.output


def test_a_stale_observation_brings_the_safe_action(serve, watcher, observation):
    serve(timeout=2.5)
    watcher.wait_for_policy(observation)
    for stamp in range(1, 15):  # for longer than the timeout
        watcher.ask(observation, stamp=stamp, patience=0.5)
        watcher.spin(0.2)
    assert not unsolicited(watcher)
    watcher.until(lambda: unsolicited(watcher))
    assert unsolicited(watcher)[0] == SAFE
    assert watcher.diagnostics()["last_reason"].startswith("stale: no good observation for 2.5 s")


def test_no_timeout_no_safe_action(serve, watcher, observation):
    serve(timeout=0.0)
    watcher.wait_for_policy(observation)
    watcher.ask(observation)
    watcher.spin(1.5)
    assert not unsolicited(watcher)


def test_a_killed_simulator_brings_the_safe_action(start, serve, watcher):
    simulator = start("mujoco_sim_node", task="hopper")
    node = serve(timeout=0.3, lockstep=True)
    watcher.until(lambda: len(watcher.messages["timing"]) > 100)
    simulator.send(signal.SIGKILL)
    simulator.wait()
    watcher.messages["action_stamped"].clear()
    watcher.until(lambda: unsolicited(watcher))
    assert unsolicited(watcher)[0] == SAFE
    assert node.process.poll() is None


def test_a_new_simulator_is_served_after_a_killed_one(start, serve, watcher):
    first = start("mujoco_sim_node", task="hopper")
    serve(timeout=0.3, lockstep=True)
    watcher.until(lambda: watcher.messages["timing"])
    first.send(signal.SIGKILL)
    first.wait()
    second = start("mujoco_sim_node", task="hopper", episodes=2)
    assert second.wait() == 0, second.output


def test_a_signal_ends_a_node_that_was_never_configured(start, watcher):
    node = start("policy_node")
    assert watcher.state() == "unconfigured"
    node.send(signal.SIGTERM)
    assert node.wait() == 0
    assert "Traceback" not in node.output


def test_dds_counts_missed_deadlines(serve, watcher, observation):
    serve(deadline=0.2)
    robot = watcher.observations
    watcher.observations = watcher.node.create_publisher(
        JointState, "observation", qos.profile(deadline=0.2)
    )
    watcher.node.destroy_publisher(robot)
    watcher.wait_for_policy(observation)
    watcher.until(lambda: int(watcher.diagnostics()["deadline_missed"]) >= 2)
    assert "missed deadlines" in watcher.diagnostics()["message"]


def test_an_unknown_parameter_is_reported(serve, watcher):
    node = serve(bakend="fp32")
    watcher.wait_for_policy()
    assert "parameter 'bakend' is unknown and ignored" in node.output


def test_a_repeated_observation_gets_the_same_answer_again(serve, watcher, observation):
    serve(lockstep=True)
    watcher.wait_for_policy(observation)
    before = int(watcher.diagnostics()["repeated"])
    first = watcher.ask(observation, stamp=7)
    assert watcher.set_parameter("backend", "fp32").successful
    seen = len(watcher.answers(7))  # more than one where a busy machine made it ask again
    watcher.tell(observation, stamp=7)
    watcher.until(lambda: len(watcher.answers(7)) > seen)
    assert all(answer == first for answer in watcher.answers(7))
    assert int(watcher.diagnostics()["repeated"]) > before


def test_what_is_frozen_while_serving_is_thawed_afterwards(node):
    """What is not cannot be collected: memory would grow with every activation."""
    before = gc.get_freeze_count()  # Python 3.12 has frozen some things of its own
    for _ in range(2):
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        assert gc.get_freeze_count() > before
        assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
        assert gc.get_freeze_count() <= before
