"""What a policy saw, put together again from bags."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from balancer import balancer, contract, write_balancer
from robot_bags import TOPICS, TYPES, record_walk

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import Channel, PolicyError
from qpolicy_ros.policy.baseline import baseline_actions
from qpolicy_training.experience.recordings import read_recordings

SENSORS = ("joint_states", "imu", "odom", "cmd_vel")
MEMORY = (
    Channel("last:left", "previous_output:left_wheel"),
    Channel("before", "history.2:tilt"),
)


def remembering():
    """A policy that sees previous outputs and a history too, without using them."""
    policy = balancer()
    own = contract(observation=(*policy.contract.observation, *MEMORY))
    b = policy.baseline
    wider = np.pad(b.weights[0], ((0, 0), (0, 2)))
    return replace(
        policy,
        contract=own,
        baseline=replace(
            b, weights=(wider, b.weights[1]), mean=np.zeros(10, np.float32),
            std=np.ones(10, np.float32),
        ),
    )  # fmt: skip


def read(bags, policy):
    return read_recordings(bags, policy.contract, lambda x: baseline_actions(policy.baseline, x))


def test_observations_are_put_together_as_the_policy_saw_them(tmp_path):
    policy = remembering()
    seen = record_walk(tmp_path / "bag", policy, write_balancer(tmp_path), 4.0)
    recording = read([tmp_path / "bag"], policy)
    assert recording.observations.shape == seen.shape
    assert np.abs(recording.observations - seen).max() < 1e-5
    assert not recording.exact
    assert recording.starts == [0]


def test_without_actions_the_policys_own_answers_stand_in(tmp_path):
    policy = remembering()
    seen = record_walk(tmp_path / "bag", policy, write_balancer(tmp_path), 4.0, SENSORS)
    recording = read([tmp_path / "bag"], policy)
    assert np.abs(recording.observations - seen).max() < 1e-4
    assert any("no actions" in note for note in recording.notes)


def test_what_the_node_says_that_it_saw_is_taken_as_it_is(tmp_path):
    policy = balancer()
    seen = record_walk(tmp_path / "a", policy, write_balancer(tmp_path), 2.0, ("observation",))
    recording = read([tmp_path / "a", tmp_path / "a"], policy)
    assert recording.exact
    assert np.array_equal(recording.observations, np.concatenate([seen, seen]))
    assert recording.starts == [0, len(seen)]


def turned():
    """A policy that sees the orientation's quaternion too, without using it."""
    policy = remembering()
    axes = tuple(Channel(axis, f"imu.orientation:{axis}") for axis in "zw")
    own = replace(policy.contract, observation=(*balancer().contract.observation, *axes))
    return replace(policy, contract=own)


def test_a_rotations_other_quaternion_is_seen_as_the_node_sees_it(tmp_path):
    def opposite(topic, message):
        if topic == "imu":
            q = message.orientation
            q.x, q.y, q.z, q.w = -q.x, -q.y, -q.z, -q.w
        return message

    policy, model = turned(), write_balancer(tmp_path)
    seen = record_walk(tmp_path / "bag", policy, model, 4.0, SENSORS, opposite)
    recording = read([tmp_path / "bag"], policy)
    assert np.abs(recording.observations - seen).max() < 1e-5


def test_an_imu_that_gives_no_orientation_is_not_read_as_one(tmp_path):
    def silent(topic, message):
        if topic == "imu":
            message.orientation_covariance[0] = -1  # sensor_msgs/Imu: not measured
        return message

    policy = turned()
    record_walk(tmp_path / "bag", policy, write_balancer(tmp_path), 4.0, SENSORS, silent)
    with pytest.raises(PolicyError, match="has 0 control periods in which everything was there"):
        read([tmp_path / "bag"], policy)


def test_commands_with_a_stamp_are_read_as_those_without(tmp_path):
    stamped = {**TOPICS, "cmd_vel": "geometry_msgs/msg/TwistStamped"}
    time = TYPES.types["builtin_interfaces/msg/Time"](0, 0)
    header = TYPES.types["std_msgs/msg/Header"](time, "")

    def stamp(topic, message):
        return TYPES.types[stamped[topic]](header, message) if topic == "cmd_vel" else message

    policy, model = balancer(), write_balancer(tmp_path)
    seen = record_walk(tmp_path / "bag", policy, model, 4.0, SENSORS, stamp, stamped)
    recording = read([tmp_path / "bag"], policy)
    assert np.abs(recording.observations - seen).max() < 1e-5


def test_topics_that_are_needed_are_named(tmp_path):
    policy = balancer()
    record_walk(tmp_path / "bag", policy, write_balancer(tmp_path), 2.0, ("odom", "cmd_vel"))
    with pytest.raises(
        PolicyError, match=r"no messages on imu, joint_states.* it has cmd_vel, odom"
    ):
        read([tmp_path / "bag"], policy)


def test_joints_that_are_needed_are_named(tmp_path):
    policy = balancer()
    record_walk(tmp_path / "bag", policy, write_balancer(tmp_path), 2.0)
    first, *rest = policy.contract.observation
    other = replace(first, source="joint_states.position:elbow")
    with pytest.raises(PolicyError, match=r"joint_states: has no 'elbow'; it has .*left_wheel"):
        read_recordings(
            [tmp_path / "bag"], replace(policy.contract, observation=(other, *rest)), lambda x: x
        )


def test_a_bag_of_the_newest_metadata_is_read(tmp_path):
    policy = balancer()
    seen = record_walk(tmp_path / "bag", policy, write_balancer(tmp_path), 2.0)
    facts = tmp_path / "bag" / "metadata.yaml"
    old = facts.read_text()
    facts.write_text(old.replace("version: 9", "version: 10"))
    assert facts.read_text() != old
    assert len(read([tmp_path / "bag"], policy).observations) == len(seen)


def test_what_a_killed_recorder_left_is_read_and_noted(tmp_path):
    policy = balancer()
    seen = record_walk(tmp_path / "bag", policy, write_balancer(tmp_path), 4.0)
    (tmp_path / "bag" / "metadata.yaml").unlink()
    file = next((tmp_path / "bag").glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    recording = read([tmp_path / "bag"], policy)
    assert 50 <= len(recording.observations) < len(seen)
    assert any("the recorder did not finish" in note for note in recording.notes)
    assert any("ends" in note for note in recording.notes)


def test_a_damaged_message_is_named_by_its_topic(tmp_path):
    policy = balancer()
    record_walk(tmp_path / "bag", policy, write_balancer(tmp_path), 2.0, cut=("imu",))
    with pytest.raises(InputError, match=r"/robot/imu: a message is no sensor_msgs/msg/Imu: "):
        read([tmp_path / "bag"], policy)


@pytest.mark.parametrize("content", [None, "no bag"])
def test_what_is_no_bag_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "bag.mcap"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"bag\.mcap: bag: ") as caught:
        read([path], balancer())
    assert "\n" not in str(caught.value)
