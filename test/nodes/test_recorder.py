"""The recorder: what was published is in the bag, and the bag is complete after a signal."""

from __future__ import annotations

import signal
from collections import Counter

import pytest
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import JointState

from qpolicy_ros.nodes import qos


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_recorded_run(start, watcher, place, policies, tmp_path, number):
    bag = tmp_path / "bag"
    recorder = start("bag_recorder", output=str(bag))
    watcher.until(lambda: watcher.node.count_subscribers("episode") == 2)
    simulator = start("mujoco_sim_node", task="halfcheetah", episodes=2, max_episode_steps=50)
    watcher.until(lambda: watcher.node.count_publishers("episode"))
    watcher.spin(0.5)
    start("policy_node", policy=str(policies["halfcheetah"]), autostart=True, lockstep=True)
    assert simulator.wait() == 0, simulator.output
    watcher.until(lambda: len(watcher.messages["episode"]) == 2)
    watcher.spin(0.5)
    recorder.send(number)
    assert recorder.wait() == 0, recorder.output
    with AnyReader([bag]) as reader:
        counts = Counter(
            connection.topic.removeprefix(place.namespace) for connection, _, _ in reader.messages()
        )
        results = [
            reader.deserialize(raw, connection.msgtype)
            for connection, _, raw in reader.messages()
            if connection.topic.endswith("/episode")
        ]
    assert [message.position[0] for message in results] == [
        message.position[0] for message in watcher.messages["episode"]
    ]
    assert counts["/episode"] == 2
    assert counts["/observation"] >= 101
    # The simulator may have found the policy a few steps before the recorder did.
    assert counts["/action_stamped"] >= 50
    assert counts["/timing"] >= 50
    assert {"/clock", "/diagnostics", "/joint_states", "/action"} <= counts.keys()


def test_an_existing_folder_is_not_overwritten(start, tmp_path):
    node = start("bag_recorder", output=str(tmp_path))
    assert node.wait() == 2
    assert len(node.output.splitlines()) == 1, node.output
    assert "exists already" in node.output


def test_a_best_effort_robot_is_recorded(start, watcher, tmp_path):
    start("bag_recorder", output=str(tmp_path / "bag"))
    robot = watcher.node.create_publisher(
        JointState, "observation", qos.profile(reliable=False, depth=10)
    )
    watcher.until(lambda: robot.get_subscription_count() > 0)
