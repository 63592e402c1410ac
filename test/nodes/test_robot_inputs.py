"""A robot's messages: found by name, checked, refused with a reason, missed. No process."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geometry_msgs.msg import PoseStamped, Twist, TwistStamped, WrenchStamped
from nav_msgs.msg import Odometry
from robot_contracts import robot_contract
from robot_messages import imu, joint_states, odom, stamped
from sensor_msgs.msg import Imu

from qpolicy_ros.nodes.serving.robot_inputs import RobotInputs
from qpolicy_ros.policy import Assembler, Channel, Gait, ObservationError
from qpolicy_ros.policy.sources import TOPICS

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
    command = Twist()
    command.linear.x = 0.3
    inputs.take("cmd_vel", command)
    clock.now += 9 * SECOND // 10
    fill(inputs)
    assert by_source(inputs.read(clock.now, SECOND // 10))["cmd_vel.linear:x"] == 0.3
    clock.now += 2 * SECOND // 10
    fill(inputs, stamp=2)
    assert by_source(inputs.read(clock.now, SECOND // 10))["cmd_vel.linear:x"] == 0.0
    inputs.take("cmd_vel", command)
    assert by_source(inputs.read(clock.now, SECOND // 10))["cmd_vel.linear:x"] == 0.3


def test_a_policy_that_holds_a_command_does_not_wait_for_the_first(clock):
    channels = tuple(dataclasses.replace(c, missed="hold") for c in robot_contract().observation)
    contract = dataclasses.replace(robot_contract(), observation=channels)
    inputs = RobotInputs(contract, Assembler(contract).sources, clock=clock)
    fill(inputs)
    assert by_source(inputs.read(clock.now, SECOND))["cmd_vel.linear:x"] == 0.0


def test_nothing_gets_old_in_lock_step(clock):
    contract = robot_contract()
    inputs = RobotInputs(contract, Assembler(contract).sources, timeless=True, clock=clock)
    fill(inputs)
    command = Twist()
    command.linear.x = 0.3
    inputs.take("cmd_vel", command)
    clock.now += 100 * SECOND
    assert by_source(inputs.read(clock.now))["cmd_vel.linear:x"] == 0.3


def test_a_stamped_command_is_taken_where_it_is_asked_for(clock):
    contract = robot_contract()
    sources = Assembler(contract).sources
    inputs = RobotInputs(contract, sources, stamped_commands=True, clock=clock)
    fill(inputs)
    command = TwistStamped()
    command.twist.linear.x = 0.3
    assert inputs.take("cmd_vel", command)
    assert by_source(inputs.read(clock.now))["cmd_vel.linear:x"] == 0.3


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


ORIENTED = [
    topic for topic in TOPICS if "orientation" in TOPICS[topic] and topic in ("imu", "odom", "pose")
]


def oriented(topic, quaternion):
    message = {"imu": Imu, "odom": Odometry, "pose": PoseStamped}[topic]()
    message.header.stamp.sec = 1
    holder = {
        "imu": lambda: message,
        "odom": lambda: message.pose.pose,
        "pose": lambda: message.pose,
    }
    q = holder[topic]().orientation
    q.x, q.y, q.z, q.w = map(float, quaternion)
    return message


@pytest.mark.parametrize("topic", ORIENTED)
@pytest.mark.parametrize(
    "quaternion", [(0.5, -0.5, 0.5, -0.5), (0, 0, 0.6, 0.8), (-0.6, 0, 0.8, 0), (0, 0, -1, 0)]
)
def test_equal_orientations_give_equal_values(topic, quaternion, clock):
    """A rotation has two quaternions, and one of another length is still the same rotation."""
    channels = [Channel(f"q{axis}", f"{topic}.orientation:{axis}") for axis in "xyzw"]
    contract = dataclasses.replace(robot_contract(), observation=tuple(channels), time_limits=())
    seen = []
    for factor in (1.0, -1.0, 1.02, -0.98):
        inputs = RobotInputs(contract, Assembler(contract).sources, clock=clock)
        assert inputs.take(topic, oriented(topic, [factor * value for value in quaternion]))
        seen.append(list(inputs.read(clock.now)))
    assert seen[0] == seen[1]
    for each in seen[2:]:
        assert each == pytest.approx(seen[0], abs=1e-12)
    assert next(value for value in (seen[0][3], *seen[0][:3]) if value) > 0


def turned_odometry(stamp, *, world):
    """Going along the world's y at 0.5 m/s, facing it."""
    message = odom(stamp)
    half = math.sqrt(0.5)
    message.pose.pose.orientation.z = message.pose.pose.orientation.w = half
    message.pose.pose.position.y = 0.5 * stamp
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    linear.x, linear.y = (0.0, 0.5) if world else (0.5, 0.0)
    angular.z = 0.2
    return message


@pytest.mark.parametrize("world", [False, True])
def test_a_twist_in_the_worlds_frame_is_turned_into_the_robots(clock, world):
    contract = robot_contract()
    inputs = RobotInputs(contract, Assembler(contract).sources, world_twist=world, clock=clock)
    fill(inputs)
    assert inputs.take("odom", turned_odometry(2, world=world))
    assert by_source(inputs.read(clock.now))["odom.linear_velocity:x"] == pytest.approx(0.5)


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("sent", [False, True])
def test_a_twist_in_the_wrong_frame_is_found_within_two_seconds(clock, told, sent):
    contract = robot_contract()
    inputs = RobotInputs(contract, Assembler(contract).sources, world_twist=told, clock=clock)
    for tick in range(200):
        inputs.take("odom", turned_odometry(1 + tick * 0.01, world=sent))
    wanted = "world" if sent else "child"
    if told == sent:
        assert inputs.odometry.problem == ""
    else:
        assert inputs.odometry.problem.endswith(f"set odom_twist_frame to {wanted}")


def stamped_contract():
    """Values of stamped topics, two of one kind, and a gait that listens to the command."""
    sources = ["twist.linear:x", "wrench/left.force:z", "wrench/right.torque:x", "pose.position:z"]
    contract = robot_contract()
    return dataclasses.replace(
        contract,
        observation=tuple(Channel(source, source) for source in [*sources, "gait.cos:walk"]),
        gaits=(Gait("walk", 1.5, stand_below=0.1, stand_phase=math.pi),),
        time_limits=(),
    )


def test_stamped_topics_and_a_gait_s_command_are_taken(clock):
    contract = stamped_contract()
    sources = Assembler(contract).sources
    inputs = RobotInputs(contract, sources, clock=clock)
    assert list(inputs.topics) == ["twist", "wrench/left", "wrench/right", "pose", "cmd_vel"]
    messages = {
        "twist": TwistStamped(),
        "wrench/left": WrenchStamped(),
        "wrench/right": WrenchStamped(),
        "pose": PoseStamped(),
    }
    messages["twist"].twist.linear.x = 1.0
    messages["wrench/left"].wrench.force.z = 2.0
    messages["wrench/right"].wrench.torque.x = 3.0
    messages["pose"].pose.position.z = 4.0
    command = Twist()
    command.angular.z = 0.5
    for name, message in messages.items():
        assert inputs.take(name, stamped(message, 1))
    assert inputs.take("cmd_vel", command)
    raw = dict(zip(sources, inputs.read(clock.now), strict=True))
    assert [raw[source] for source in sources[:4]] == [1.0, 2.0, 3.0, 4.0]
    assert raw["cmd_vel.angular:z"] == 0.5
