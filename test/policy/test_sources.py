"""The grammar of sources, and gravity from a quaternion."""

from __future__ import annotations

import math

import pytest

from qpolicy_ros.policy.sources import parse_source, projected_gravity


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("feature", ("feature", "", "")),
        ("joint_states.effort:FL_hip", ("joint_states", "effort", "FL_hip")),
        ("joint_states.position:arm.1:a", ("joint_states", "position", "arm.1:a")),
        ("imu.projected_gravity:z", ("imu", "projected_gravity", "z")),
        ("odom.orientation:w", ("odom", "orientation", "w")),
        ("cmd_vel.angular:z", ("cmd_vel", "angular", "z")),
        ("previous_action:FL_hip", ("previous_action", "", "FL_hip")),
        ("history.3:q", ("history", "3", "q")),
    ],
)
def test_a_source_is_taken_apart(text, parts):
    assert parse_source(text) == parts


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("joint_states.position", "has no `:<name>` at its end"),
        ("imu.orientation:", "has no `:<name>` at its end"),
        ("joints.position:hip", "'joints' is not one of joint_states, imu, odom, cmd_vel"),
        ("joint_states.angle:hip", "joint_states has position, velocity, effort, not 'angle'"),
        ("imu.angular_velocity:w", "imu.angular_velocity has x, y, z, not 'w'"),
        ("history.0:q", "'0' is not a number of ticks"),
        ("history.101:q", "'101' is not a number of ticks"),
        ("history:q", "'' is not a number of ticks"),
        ("previous_action.x:q", "previous_action has no fields"),
    ],
)
def test_what_is_wrong_is_named(text, wrong):
    with pytest.raises(ValueError) as caught:
        parse_source(text)
    assert wrong in str(caught.value)


def quaternion(angle, x, y, z):
    return (*(math.sin(angle / 2) * part for part in (x, y, z)), math.cos(angle / 2))


@pytest.mark.parametrize(
    ("orientation", "gravity"),
    [
        ((0, 0, 0, 1), (0, 0, -1)),
        (quaternion(math.pi, 1, 0, 0), (0, 0, 1)),  # on its back
        (quaternion(math.pi / 2, 0, 1, 0), (1, 0, 0)),  # nose down
        (quaternion(math.pi / 2, 1, 0, 0), (0, -1, 0)),  # on its right side
        (quaternion(1.0, 0, 0, 1), (0, 0, -1)),  # turned about the vertical
        ((0, 0, 0, 3), (0, 0, -1)),  # of another length
    ],
)
def test_projected_gravity(orientation, gravity):
    assert projected_gravity(*orientation) == pytest.approx(gravity, abs=1e-12)


def test_a_quaternion_of_zeros_has_no_gravity():
    assert all(math.isnan(part) for part in projected_gravity(0, 0, 0, 0))
