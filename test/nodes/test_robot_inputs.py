"""A robot's messages: found by name, checked, refused with a reason, missed. No process."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import Twist
from robot_contracts import robot_contract
from robot_messages import imu, joint_states, odom

from qpolicy_ros.nodes.serving.robot_inputs import RobotInputs
from qpolicy_ros.policy import Assembler, ObservationError

SECOND = 1_000_000_000


class Clock:
    def __init__(self):
        self.now = SECOND

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def inputs(clock):
    contract = robot_contract()
    return RobotInputs(contract, Assembler(contract).sources, clock=clock)


def fill(inputs, stamp=1):
    assert inputs.take("joint_states", joint_states(stamp))
    assert inputs.take("imu", imu(stamp))
    assert inputs.take("odom", odom(stamp))


def by_source(raw):
    sources = Assembler(robot_contract()).sources
    return dict(zip(sources, raw, strict=True))


def problem(inputs, name, message):
    """The reason of a refused message."""
    assert not inputs.take(name, message)
    return inputs.topics[name].problem


def test_values_are_found_by_name(inputs, clock):
    fill(inputs)
    inputs.take("cmd_vel", Twist())
    raw = by_source(inputs.read(clock.now))
    assert raw["joint_states.position:hip"] == 0.1
    assert raw["joint_states.position:knee"] == 0.2
    assert raw["joint_states.velocity:knee"] == -2.0
    assert raw["imu.projected_gravity:z"] == pytest.approx(-1.0)
    assert raw["imu.angular_velocity:z"] == 0.3
    assert raw["odom.linear_velocity:x"] == 0.4


def test_the_order_of_the_joints_does_not_matter(inputs, clock):
    fill(inputs)
    straight = list(inputs.read(clock.now))
    message = joint_states(2)
    for field in (message.name, message.position, message.velocity):
        field.reverse()
    assert inputs.take("joint_states", message)
    assert list(inputs.read(clock.now)) == straight


def test_joints_of_others_are_let_pass(inputs):
    fill(inputs)
    assert not inputs.take("joint_states", joint_states(2, names=["gripper"]))
    assert inputs.topics["joint_states"].problem == ""


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"names": ["hip", "ankle"]}, "missing: joint_states: 'knee' missing; it has 'hip'"),
        ({"names": ["FL", "FR"]}, "missing: joint_states: 'hip', 'knee' missing; it has"),
        ({"names": ["hip", "knee", "hip"]}, "extra: joint_states: 'hip' is given twice"),
        ({"velocity": []}, "wrong_length: joint_states: 0 values of velocity for 2 names"),
        ({"position": [0.1]}, "wrong_length: joint_states: 1 values of position for 2 names"),
        ({"velocity": [math.nan, 0]}, "non_finite: joint_states: velocity of 'hip' is nan"),
        ({"position": [0.1, -math.inf]}, "non_finite: joint_states: position of 'knee' is -inf"),
        ({"position": [5.7, 11.5]}, "implausible: joint_states: position of 'hip' is 5.7, its co"),
    ],
)  # fmt: skip
def test_a_wrong_joint_message_is_refused_by_name(inputs, changes, reason):
    assert problem(inputs, "joint_states", joint_states(1, **changes)).startswith(reason)
    assert inputs.refused == {reason.partition(":")[0]: 1}


def test_positions_are_not_compared_with_commands_of_another_kind(clock):
    contract = robot_contract()
    sources = Assembler(contract).sources
    inputs = RobotInputs(contract, sources, position_commands=False, clock=clock)
    assert inputs.take("joint_states", joint_states(1, position=[5.7, 11.5]))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"orientation": (0, 0, 0, 0)}, "implausible: imu: orientation has length 0, not 1"),
        ({"orientation": (0, 0, 90, 1)}, "implausible: imu: orientation has length 90, not 1"),
        ({"orientation": (0, 0, math.nan, 1)}, "non_finite: imu: projected_gravity of 'x' is nan"),
        ({"no": "orientation"}, "missing: imu: it gives no orientation (covariance -1)"),
        ({"no": "angular_velocity"}, "missing: imu: it gives no angular_velocity (covariance -1)"),
    ],
)
def test_a_wrong_imu_message_is_refused_by_name(inputs, changes, reason):
    assert problem(inputs, "imu", imu(1, **changes)) == reason


def test_what_the_policy_does_not_use_is_not_checked(inputs):
    assert inputs.take("imu", imu(1, no="linear_acceleration"))


def test_a_refused_message_changes_nothing(inputs, clock):
    fill(inputs)
    before = list(inputs.read(clock.now))
    inputs.take("joint_states", joint_states(2, position=[0.9, math.nan]))
    assert list(inputs.read(clock.now)) == before


def test_before_the_first_message_it_waits_and_says_for_what(inputs, clock):
    inputs.take("joint_states", joint_states(1, names=["hip", "ankle"]))
    with pytest.raises(ObservationError, match=r"'joint_states' yet \(missing: .*'knee'") as caught:
        inputs.read(clock.now)
    assert caught.value.reason == "waiting"


def test_a_value_is_held_until_the_timeout_and_counted_as_missed_after_its_limit(inputs, clock):
    fill(inputs)
    before = list(inputs.read(clock.now, SECOND // 2))
    assert inputs.topics["joint_states"].missed == 0
    now = clock.now + SECOND // 5  # above the contract's 0.1 s for joint_states
    assert list(inputs.read(now, SECOND // 2)) == before
    assert inputs.topics["joint_states"].missed == 1
    assert inputs.topics["imu"].missed == 0
    with pytest.raises(
        ObservationError, match=r"nothing usable on 'joint_states' for 0.5 s"
    ) as found:
        inputs.read(clock.now + SECOND, SECOND // 2)
    assert found.value.reason == "stale"


def test_a_value_with_a_stand_in_is_replaced_and_never_stale(inputs, clock):
    fill(inputs)
    command = Twist()
    command.linear.x = 0.3
    inputs.take("cmd_vel", command)
    assert by_source(inputs.read(clock.now))["cmd_vel.linear:x"] == 0.3
    clock.now += SECOND  # the contract's limit for cmd_vel is 0.5 s
    fill(inputs, stamp=2)
    assert by_source(inputs.read(clock.now, SECOND // 2))["cmd_vel.linear:x"] == 0.0


def test_a_command_is_held_longer_than_a_sensor(clock):
    contract = robot_contract()
    channels = tuple(dataclasses.replace(c, missed="hold") for c in contract.observation)
    contract = dataclasses.replace(contract, observation=channels, time_limits=())
    inputs = RobotInputs(contract, Assembler(contract).sources, clock=clock)
    inputs.take("cmd_vel", Twist())
    clock.now += 9 * SECOND // 10
    fill(inputs)
    inputs.read(clock.now, SECOND // 10)
    clock.now += 2 * SECOND // 10
    fill(inputs, stamp=2)
    with pytest.raises(ObservationError, match=r"nothing usable on 'cmd_vel' for 1 s"):
        inputs.read(clock.now, SECOND // 10)


def test_a_value_with_a_stand_in_is_not_waited_for(inputs, clock):
    fill(inputs)
    assert by_source(inputs.read(clock.now))["cmd_vel.linear:x"] == 0.0


def test_the_same_stamp_again_is_a_frozen_sensor(inputs, clock):
    fill(inputs)
    clock.now += SECOND
    assert inputs.take("joint_states", joint_states(2))
    assert not inputs.take("imu", imu(1))
    assert inputs.topics["imu"].repeated == 1
    with pytest.raises(ObservationError, match="nothing usable on 'imu'"):
        inputs.read(clock.now, SECOND // 2)


def test_a_tick_says_which_messages_it_used(inputs, clock):
    fill(inputs)
    clock.now += SECOND // 100
    inputs.take("imu", imu(1.02))
    used = dict(zip(inputs.used_names, inputs.used(clock.now + 5000), strict=True))
    assert used["age.joint_states"] == 10_005.0
    assert used["age.imu"] == 5.0
    assert math.isnan(used["age.cmd_vel"])
    assert (used["stamp.joint_states"], used["stamp.imu"]) == (0.0, 20_000.0)


def test_a_clock_that_jumps_back_changes_nothing(inputs, clock):
    fill(inputs, stamp=1000)
    clock.now += SECOND // 100
    fill(inputs, stamp=3)
    assert inputs.oldest_ns(clock.now) == clock.now
    inputs.read(clock.now, SECOND // 2)


def test_messages_without_stamps_are_taken(inputs):
    for _ in range(2):
        assert inputs.take("imu", imu(0))


def test_the_pose_is_that_of_the_joints_that_are_actions(inputs):
    inputs.take("joint_states", joint_states(1))
    assert inputs.pose == {"hip": 0.1, "knee": 0.2}


def test_the_assembler_takes_what_is_read(inputs, clock):
    fill(inputs)
    observation = Assembler(robot_contract()).observation(inputs.read(clock.now))
    assert np.isfinite(observation).all()
