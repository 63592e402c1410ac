"""The recorder: what was published is in the bag, and the bag is complete after a signal."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest
from ros_processes import HANDSHAKE, PATIENCE
from rosbags.highlevel import AnyReader
from ruamel.yaml import YAML
from sensor_msgs.msg import JointState
from std_srvs.srv import SetBool

from qpolicy_ros.latency.mcap import Scan
from qpolicy_ros.nodes import qos

pytestmark = pytest.mark.slow


def recorded(bag, topic=""):
    """How many messages, of one topic or all, are in the bag as flushed so far."""
    if not (bag / "metadata.yaml").is_file():
        return 0
    information = YAML(typ="safe").load((bag / "metadata.yaml").read_text())
    return sum(
        each["message_count"]
        for each in information["rosbag2_bagfile_information"]["topics_with_message_count"]
        if each["topic_metadata"]["name"].endswith(topic)
    )


def tell_until_recorded(watcher, bag):
    """Publish observations until one is in the bag: the first ones may find nobody."""

    def told():
        watcher.tell([1.0])
        watcher.spin(0.05)
        return recorded(bag)

    watcher.until(told)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_recorded_run(start, watcher, place, policies, tmp_path, number):
    bag = tmp_path / "bag"
    recorder = start("bag_recorder", output=str(bag))
    watcher.until(lambda: watcher.node.count_subscribers("episode") == 2)
    simulator = start("mujoco_sim_node", task="halfcheetah", episodes=2, max_episode_steps=50)
    watcher.until(lambda: watcher.node.count_publishers("episode"))
    watcher.call(SetBool, "mujoco_sim_node/pause", SetBool.Request(data=True))
    start("policy_node", policy=str(policies["halfcheetah"]), autostart=True, lockstep=True)
    stamps = itertools.count(HANDSHAKE)

    def heard():
        watcher.tell([0.0] * 17, stamp=next(stamps))
        watcher.spin(0.05)
        return recorded(bag, "/action_stamped") and recorded(bag, "/timing")

    watcher.until(heard)  # nothing moves before the recorder has found the policy
    watcher.call(SetBool, "mujoco_sim_node/pause", SetBool.Request(data=False))
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
    assert counts["/action_stamped"] > 100
    assert counts["/timing"] > 100
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


def test_a_killed_recorder_leaves_a_readable_bag(start, watcher, place, tmp_path):
    """SIGKILL: nobody finishes anything, yet rosbags reads what was flushed, with its types."""
    bag = tmp_path / "bag"
    recorder = start("bag_recorder", output=str(bag))
    watcher.until(lambda: watcher.observations.get_subscription_count() > 0)
    sent = 0

    def told() -> int:
        nonlocal sent
        sent += 1
        watcher.tell([float(sent)], ["x"], stamp=sent)
        watcher.spin(0.02)
        return recorded(bag)

    # Twice, so that one flush has written over the summary of another.
    watcher.until(lambda: told() > 0)
    first = told()
    watcher.until(lambda: told() > first)
    recorder.send(signal.SIGKILL)
    recorder.wait()
    with AnyReader([bag]) as reader:
        stamps = [
            reader.deserialize(raw, connection.msgtype).header.stamp.sec
            for connection, _, raw in reader.messages()
            if connection.topic == f"{place.namespace}/observation"
        ]
        (profile,) = next(
            connection.ext.offered_qos_profiles
            for connection in reader.connections
            if connection.topic == f"{place.namespace}/observation"
        )
    # None is missing or there twice. Readers sort by arrival, and one that found no reader at first
    # is sent again, so it arrives behind the next ones.
    assert sorted(stamps) == list(range(min(stamps), min(stamps) + len(stamps)))
    assert len(stamps) > first
    assert profile.reliability.name == "RELIABLE"


def test_arrival_and_sending_are_recorded_apart(start, watcher, tmp_path):
    bag = tmp_path / "bag"
    recorder = start("bag_recorder", output=str(bag))
    tell_until_recorded(watcher, bag)
    recorder.send(signal.SIGINT)
    assert recorder.wait() == 0, recorder.output
    scan = Scan(next(bag.glob("*.mcap")), lambda topic, _: topic.endswith("/observation"))
    (found,) = scan.batches()
    assert 0 < found.log[0] - found.publish[0] < PATIENCE * 1e9


def test_the_log_says_whom_it_hears_and_from_whom_something_has_come(start, watcher, tmp_path):
    bag = tmp_path / "bag"
    recorder = start("bag_recorder", output=str(bag))
    watcher.until(lambda: "hears observation" in recorder.output)
    assert "receives" not in recorder.output, "found is not yet found by it"
    tell_until_recorded(watcher, bag)
    assert "receives observation" in recorder.output
    assert "receives timing" not in recorder.output


def test_the_conditions_of_a_run_travel_on_diagnostics(serve, watcher):
    serve()
    values = watcher.diagnostics()
    while "executor" not in values:  # a report from before the node was served
        values = watcher.diagnostics()
    wanted = ("cpu", "kernel", "rmw", "executor", "git_revision", "function_hash", "period_ms")
    assert all(values[name] for name in wanted)
    assert values["executor"] in {"HotExecutor", "SingleThreadedExecutor"}
    assert float(values["period_ms"]) == 8.0


def test_timing_names_the_backend_that_answered(serve, watcher):
    serve(backend="fp32")
    watcher.wait_for_policy([0.0] * 11)
    watcher.ask([0.0] * 11)
    watcher.until(lambda: watcher.messages["timing"])
    message = watcher.messages["timing"][-1]
    assert message.header.frame_id == "fp32"
    stages = dict(zip(message.name, message.position, strict=True))
    assert 0.0 <= stages["queue"] <= stages["age"]


def test_the_command_records_too(place, watcher, tmp_path):
    bag = tmp_path / "a bag"
    environment = {**os.environ, "ROS_DOMAIN_ID": str(place.domain)}
    command = [sys.executable, "-m", "qpolicy_ros.cli.main", "record", "--output", str(bag)]
    command += ["--namespace", place.namespace]
    recorder = subprocess.Popen(command, env=environment)
    try:
        tell_until_recorded(watcher, bag)
        recorder.send_signal(signal.SIGINT)
        assert recorder.wait(PATIENCE) == 0
    finally:
        recorder.kill()
    with AnyReader([bag]) as reader:
        assert f"{place.namespace}/observation" in reader.topics
