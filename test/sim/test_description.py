"""Robots' descriptions: found by name, refused by field."""

from __future__ import annotations

import pytest
from robot_files import write_robot

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.sim.description import find_robot, is_robot
from qpolicy_ros.sim.robot import RobotSimulation


def test_the_shipped_robot_is_found_by_name():
    robot = find_robot("unitree_go2")
    assert is_robot("unitree_go2")
    assert len(robot.joints) == len(robot.contract().action) == 12
    assert len({channel.name for channel in robot.channels}) == len(robot.channels) == 46


def test_default_offset_is_that_of_the_joint(tmp_path):
    channels = {c.name: c for c in find_robot(write_robot(tmp_path)).channels}
    assert channels["joint_states.position:right_hip"].offset == -0.2
    assert channels["joint_states.position:right_hip"].scale == 2
    assert channels["joint_states.velocity:left_hip"].low == -1


def test_an_unknown_robot_lists_the_known_ones():
    with pytest.raises(PolicyError, match="'cat' is not known; known: unitree_go2"):
        find_robot("cat")


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"model": None}, "model: is missing"),
        ({"wheels": 4}, "wheels: is not a field of a robot"),
        ({"period": 0}, "0 is not above 0"),
        ({"period": float("inf")}, "inf is not finite"),
        ({"height": float("nan")}, "nan is not finite"),
        ({"joints": {"left_hip": {"default": float("inf"), "scale": 1}}}, "inf is not finite"),
        ({"height": 10**400}, "OverflowError"),
        ({"model": {"path": "x"}}, "give `file`, or `menagerie` and `entry`"),
        ({"joints": {"left_hip": {"default": 0, "scale": -1}}}, "-1 is not above 0"),
        ({"joints": {"left_hip": {"default": 0}}}, "scale"),
        ({"observation": [{"source": "cmd_vel.linear:x", "gain": 1}]}, "gain"),
        ({"observation": [{"source": "joint_states.position:knee", "offset": "default"}]}, "knee"),
        ({"observation": [{"scale": 1}]}, "source"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, changes, wrong):
    with pytest.raises(PolicyError, match=wrong) as caught:
        find_robot(write_robot(tmp_path, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "[" * 20_000, "#" * (1 << 20) + "#"])
def test_what_is_no_description_is_refused(tmp_path, text):
    path = tmp_path / "robot.yaml"
    path.write_text(text)
    with pytest.raises(PolicyError, match=r"robot\.yaml: robot: "):
        find_robot(str(path))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(PolicyError, match=r"none.yaml: robot: .*No such file"):
        find_robot(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("source", "wrong"),
    [
        ("twist_stamped.linear:x", "'twist_stamped' is not one of joint_states, imu"),
        ("joint_states.torque:*", "joint_states has position, velocity, effort, not 'torque'"),
        ("previous_action:nope", "'nope' is not an action"),
        ("history.1:imu.nothing:x", "'imu.nothing:x' is not a channel"),
        ("cmd_vel.linear", "'cmd_vel.linear' has no `:<name>` at its end"),
        ("feature", "source"),
    ],
)
def test_a_source_that_does_not_exist_is_one_line(tmp_path, source, wrong):
    observation = [{"source": "imu.angular_velocity:*"}, {"source": source}]
    path = write_robot(tmp_path, observation=observation)
    with pytest.raises(PolicyError) as caught:
        find_robot(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: observation[3].")
    assert wrong in text
    assert "\n" not in text
    assert "export" not in text


def test_a_history_of_every_axis(tmp_path):
    sources = ["imu.angular_velocity:*", "history.1:imu.angular_velocity:*"]
    path = write_robot(tmp_path, observation=[{"source": source} for source in sources])
    found = [channel.source for channel in find_robot(path).contract().observation]
    assert found[3:] == [f"history.1:imu.angular_velocity:{axis}" for axis in "xyz"]


def test_limits_that_float32_cannot_tell_apart_are_refused(tmp_path):
    path = write_robot(tmp_path, joints={"left_hip": {"default": 1e9, "scale": 1e-3}})
    with pytest.raises(PolicyError, match=r"of 'left_hip' are not ascending; correct the desc"):
        find_robot(path)


def test_an_unknown_joint_lists_no_empty_name(tmp_path):
    path = write_robot(tmp_path, observation=[{"source": "joint_states.position:lefthip"}])
    known = r"'lefthip' is no joint of the model; nearest: .*; known: left_hip, right_hip$"
    with pytest.raises(PolicyError, match=known):
        RobotSimulation(path)
