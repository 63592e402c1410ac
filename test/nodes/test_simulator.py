"""The simulator node: real time, services, giving up, bad input."""

from __future__ import annotations

import math
import signal
from array import array
from dataclasses import replace

import numpy as np
import pytest
from policy_builders import random_artifact
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool, Trigger

from qpolicy_ros.nodes import qos
from qpolicy_ros.policy import make_artifact, save_policy
from qpolicy_ros.sim import open_simulation


@pytest.fixture
def observations(watcher):
    """Everything that is published on `observation`."""
    received = []
    watcher.node.create_subscription(
        JointState, "observation", received.append, qos.profile(depth=100)
    )
    return received


@pytest.fixture
def act(watcher):
    """Publish an action for hopper."""
    publisher = watcher.node.create_publisher(JointState, "action_stamped", qos.COMMAND)
    matched = []

    def publish(stamp, values=(0.0, 0.0, 0.0), names=()):
        if not matched:  # what is sent before is lost
            # The watcher itself listens too.
            watcher.until(lambda: publisher.get_subscription_count() >= 2)
            matched.append(True)
        message = JointState(name=list(names), position=array("d", values))
        message.header.stamp = stamp
        publisher.publish(message)

    return publish


def stamp_ns(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def trigger(watcher, name):
    return watcher.call(Trigger, f"mujoco_sim_node/{name}", Trigger.Request())


def pause(watcher, on):
    return watcher.call(SetBool, "mujoco_sim_node/pause", SetBool.Request(data=on))


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"task": "hoper"}, "task: 'hoper' is not known"),
        ({"task": "CartPole-v1"}, "action space Discrete is not supported"),
        ({"names": "some"}, "names: 'some' is unknown"),
        ({"episodes": -1}, "episodes"),
        ({"video": "/nowhere/film.mp4"}, "/nowhere/film.mp4: video: its folder does not exist"),
        ({"headless": False}, "headless: false, but there is no display"),
        ({"task": "/nowhere/arm.xml"}, "there is no such MJCF file"),
        ({"video": "film.mp4", "headless": False}, "video: 'film.mp4' is rendered offscreen"),
    ],
)
def test_a_wrong_start_is_one_line_and_status_2(start, monkeypatch, parameters, text):
    monkeypatch.delenv("DISPLAY", raising=False)
    node = start("mujoco_sim_node", **parameters)
    assert node.wait() == 2
    assert len(node.output.splitlines()) == 1, node.output
    assert text in node.output


def test_without_a_policy_it_gives_up(start):
    node = start("mujoco_sim_node", policy_timeout=2.5)
    assert node.wait() == 1
    assert "no action on `action_stamped` for 2.5 s" in node.output
    # Before that, as another domain and another middleware look like this too.
    assert "nobody sends 'action_stamped' in ROS domain" in node.output
    assert "WARN" not in node.output


def test_a_policy_of_another_task_is_named(start, watcher, policies):
    start("policy_node", policy=str(policies["hopper"]), autostart=True, lockstep=True)
    watcher.wait_for_policy()
    simulator = start("mujoco_sim_node", task="walker2d", policy_timeout=5.0)
    assert simulator.wait() == 1
    assert "where walker2d has" in simulator.output


def test_a_lockstep_observation_is_sent_again_until_it_is_answered(start, watcher, observations):
    start("mujoco_sim_node", resend_timeout=0.1)
    watcher.until(lambda: len(observations) >= 3)
    assert len(_stamps(observations)) == 1


def test_only_the_action_with_the_right_stamp_counts(start, watcher, observations, act):
    start("mujoco_sim_node", resend_timeout=0.1)
    watcher.until(lambda: observations)
    first = observations[-1]
    wrong = JointState().header.stamp
    act(wrong)
    watcher.spin(0.4)
    assert stamp_ns(observations[-1]) == stamp_ns(first)
    watcher.until(lambda: act(first.header.stamp) or len(_stamps(observations)) == 2)
    assert _stamps(observations)[1] - _stamps(observations)[0] == 8_000_000


def test_one_step_at_a_time_while_paused(start, watcher, observations, act):
    start("mujoco_sim_node", resend_timeout=0.1)
    watcher.until(lambda: observations)
    assert not trigger(watcher, "step").success  # not paused
    assert pause(watcher, on=True).success
    assert not trigger(watcher, "step").success  # not answered
    act(observations[-1].header.stamp)
    watcher.spin(0.5)
    assert len(_stamps(observations)) == 1
    # The answer may still be under way.
    watcher.until(lambda: trigger(watcher, "step").success)
    watcher.until(lambda: len(_stamps(observations)) == 2)
    assert not trigger(watcher, "step").success  # the next one needs its own answer


def test_going_on_after_a_pause_uses_the_answer_that_came(start, watcher, observations, act):
    start("mujoco_sim_node", resend_timeout=0.1)
    watcher.until(lambda: observations)
    pause(watcher, on=True)
    act(observations[-1].header.stamp)
    watcher.spin(0.3)
    pause(watcher, on=False)
    watcher.until(lambda: len(_stamps(observations)) == 2)


def test_reset_takes_the_next_seed(start, watcher, observations):
    start("mujoco_sim_node", seed=5, resend_timeout=0.1)
    watcher.until(lambda: observations)
    before = list(observations[-1].position)
    assert trigger(watcher, "reset").message == "seed 6"
    watcher.until(lambda: len(_stamps(observations)) == 2)
    assert list(observations[-1].position) != before


def test_real_time_keeps_the_control_rate(start, watcher, observations, policies):
    start("mujoco_sim_node", task="halfcheetah", realtime=True)
    start("policy_node", policy=str(policies["halfcheetah"]), autostart=True, timeout=0.0)
    watcher.until(lambda: watcher.messages["timing"])
    clocks = []
    watcher.node.create_subscription(Clock, "clock", clocks.append, qos.profile(depth=100))
    watcher.until(lambda: clocks and observations)
    first, begin = stamp_ns(observations[-1]), _seconds(watcher)
    watcher.until(lambda: stamp_ns(observations[-1]) >= first + 3_000_000_000)
    # A busy machine may only slow it down or make it catch up; unpaced it takes milliseconds.
    assert _seconds(watcher) - begin > 1.5
    assert len(_stamps(observations)) > 30
    assert len(clocks) > 30


def test_real_time_waits_for_its_policy_then_counts_late_actions(start, watcher, policies):
    node = start(
        "mujoco_sim_node", task="halfcheetah", realtime=True, max_episode_steps=20, episodes=1
    )
    watcher.until(lambda: watcher.node.count_publishers("episode"))
    watcher.spin(0.5)
    start("policy_node", policy=str(policies["halfcheetah"]), autostart=True, timeout=0.0)
    assert node.wait() == 0
    watcher.until(lambda: watcher.messages["episode"])
    message = watcher.messages["episode"][0]
    episode = dict(zip(message.name, message.position, strict=True))
    assert (episode["length"], episode["terminated"]) == (20, 0)
    assert 0 <= episode["missed"] < 20


def test_a_frozen_policy_in_lockstep_ends_the_simulator_with_its_error(start, watcher, policies):
    policy = start("policy_node", policy=str(policies["hopper"]), autostart=True, lockstep=True)
    watcher.wait_for_policy()
    simulator = start("mujoco_sim_node", policy_timeout=4.0)
    watcher.until(lambda: len(watcher.messages["timing"]) > 10)
    policy.send(signal.SIGSTOP)
    try:
        assert simulator.wait() == 1
    finally:
        policy.send(signal.SIGCONT)
    assert "no action on `action_stamped` for 4 s" in simulator.output


@pytest.fixture
def pushed(start, tmp_path):
    """Play in real time a weight on a rail that its policy pushes; return the policy's node.

    Friction lets it slide at 0.5 m/s while it is pushed and stops it where it is not.
    """

    def play(**parameters):
        model = tmp_path / "rail.xml"
        model.write_text(
            """<mujoco><option gravity="0 0 0"/><worldbody><body>
            <joint name="rail" type="slide" damping="1"/><geom size="0.1" mass="0.01"/>
            </body></worldbody><actuator><motor joint="rail" ctrlrange="-1 1"/></actuator></mujoco>
            """
        )
        random = random_artifact(contract=open_simulation(str(model)).contract)
        network = replace(random.network, table=np.full_like(random.network.table, 0.5))
        save_policy(
            make_artifact(
                random.contract, random.baseline, network, {}, random.golden.observations
            ),
            tmp_path / "push.safetensors",
        )
        start("mujoco_sim_node", task=str(model), period=0.02, realtime=True, **parameters)
        return start("policy_node", policy=str(tmp_path / "push.safetensors"), autostart=True)

    return play


def velocity(watcher):
    """The last one that came, m/s; NaN before the first."""
    messages = watcher.messages["joint_states"]
    return messages[-1].velocity[0] if messages else math.nan


def test_a_frozen_policy_in_real_time_brings_the_safe_action(pushed, watcher):
    policy = pushed(action_timeout=0.3)
    watcher.until(lambda: velocity(watcher) == pytest.approx(0.5, abs=0.01))
    policy.send(signal.SIGSTOP)
    try:
        watcher.until(lambda: abs(velocity(watcher)) < 0.01)
    finally:
        policy.send(signal.SIGCONT)


def test_without_an_action_timeout_the_last_action_stays(pushed, watcher):
    policy = pushed(action_timeout=0.0)
    watcher.until(lambda: velocity(watcher) == pytest.approx(0.5, abs=0.01))
    policy.send(signal.SIGSTOP)
    try:
        watcher.spin(1.0)
        assert velocity(watcher) == pytest.approx(0.5, abs=0.01)
    finally:
        policy.send(signal.SIGCONT)


def test_real_time_gives_up_when_actions_end(start, watcher, act):
    node = start("mujoco_sim_node", realtime=True, policy_timeout=5.0, max_episode_steps=5)
    watcher.until(lambda: act(JointState().header.stamp) or watcher.messages["episode"])
    assert node.wait() == 1
    assert "no action on `action_stamped` for 5 s" in node.output


def test_long_observations_go_without_names(start, watcher, observations):
    start("mujoco_sim_node", task="humanoid", resend_timeout=0.1)
    watcher.until(lambda: observations)
    assert (len(observations[0].name), len(observations[0].position)) == (0, 376)


@pytest.mark.parametrize(("names", "count"), [("never", 0), ("always", 11)])
def test_names_on_demand(start, watcher, observations, names, count):
    start("mujoco_sim_node", names=names, resend_timeout=0.1)
    watcher.until(lambda: observations)
    assert len(observations[0].name) == count


def test_an_mjcf_file_gives_no_reward(start, watcher, observations, act, tmp_path):
    path = tmp_path / "arm.xml"
    path.write_text(
        """<mujoco><worldbody><body><joint name="elbow"/><geom size="0.1"/></body></worldbody>
        <actuator><motor joint="elbow" ctrlrange="-1 1"/></actuator></mujoco>"""
    )
    node = start("mujoco_sim_node", task=str(path), max_episode_steps=1, episodes=1, period=0.004)
    watcher.until(lambda: observations and watcher.node.count_publishers("episode"))
    assert list(observations[0].name) == ["position:elbow", "velocity:elbow"]
    watcher.until(lambda: act(observations[-1].header.stamp, [0.5]) or watcher.messages["episode"])
    assert node.wait() == 0
    assert math.isnan(watcher.messages["episode"][0].position[0])


def _stamps(messages):
    return sorted({stamp_ns(message) for message in messages})


def _seconds(watcher):
    return watcher.node.get_clock().now().nanoseconds / 1e9
