"""The state machine, without ROS."""

from __future__ import annotations

import numpy as np
import pytest
from robot_contracts import robot_contract

from qpolicy_ros.nodes.serving.modes import Mode, Modes, Reason

AT_REST = np.zeros(2, np.float32)


@pytest.fixture
def modes():
    return Modes(robot_contract(), ramp_time=0.2)  # ten periods


def ramped(modes, pose=AT_REST):
    modes.start(pose)
    poses = []
    while modes.mode is Mode.RAMP:
        poses.append(modes.next_pose().tolist())
    return poses


def test_it_begins_in_standby(modes):
    assert (modes.mode, modes.reason) == (Mode.STANDBY, Reason.STANDBY)


def test_the_ramp_goes_straight_to_the_default_pose(modes):
    poses = ramped(modes)
    assert len(poses) == 10
    assert poses[4] == pytest.approx([0.125, 0.25])
    assert poses[-1] == [0.25, 0.5]
    assert modes.mode is Mode.POLICY


def test_a_slow_joint_makes_the_ramp_longer():
    contract = robot_contract()
    # 20 rad/s: 8 rad take 0.4 s, twenty periods.
    poses = ramped(Modes(contract, 0.2), np.array([0.25, 8.5], np.float32))
    assert len(poses) == 20


@pytest.mark.parametrize(("ramp_time", "pose"), [(0.0, AT_REST), (0.2, None)])
def test_without_ramp_or_pose_the_policy_starts_at_once(ramp_time, pose):
    modes = Modes(robot_contract(), ramp_time)
    assert modes.start(pose) == ""
    assert modes.mode is Mode.POLICY


def test_a_fault_is_kept_with_its_first_reason_until_a_reset(modes):
    modes.start(None)
    modes.fault(Reason.STALE, "nothing on 'imu'")
    modes.fault(Reason.BACKEND, "later")
    assert (modes.mode, modes.reason, modes.text) == (Mode.SAFE, Reason.STALE, "nothing on 'imu'")
    assert modes.start(None) == "safe since stale: nothing on 'imu'; call ~/reset first"
    assert modes.reset() == ""
    assert (modes.mode, modes.reason) == (Mode.STANDBY, Reason.STANDBY)
    assert modes.start(None) == ""


def test_a_running_policy_is_stopped_before_it_is_reset(modes):
    modes.start(None)
    assert modes.reset() == "policy; call ~/stop first"
    assert modes.start(None) == "already started: policy"
    modes.stop()
    assert (modes.mode, modes.reason) == (Mode.SAFE, Reason.STOPPED)
