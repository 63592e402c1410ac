"""Raw values of a robot become an observation."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from policy_builders import make_contract
from robot_contracts import robot_contract

from qpolicy_ros.policy import Assembler, Channel, ObservationError, PolicyError

RAW = {
    "joint_states.position:hip": 0.3,
    "joint_states.position:knee": -0.7,
    "joint_states.velocity:hip": 1.5,
    "joint_states.velocity:knee": -4.0,
    "imu.projected_gravity:x": 0.1,
    "imu.projected_gravity:y": -0.2,
    "imu.projected_gravity:z": -0.97,
    "imu.angular_velocity:z": 9.0,
    "odom.linear_velocity:x": 0.4,
    "cmd_vel.linear:x": -2.0,
}
NAMES = [channel.name for channel in robot_contract().observation]


@pytest.fixture
def assembler():
    return Assembler(robot_contract())


def seen(assembler, **changes):
    """The observation by name, after changes to the raw values given by their last part."""
    raw = dict(RAW)
    for name, value in changes.items():
        topic_field, key = name.rsplit("_", 1)
        raw[f"{topic_field}:{key}".replace("__", ".")] = value
    return dict(zip(NAMES, assembler.observation(raw).tolist(), strict=True))


def test_sources_are_listed_once_in_order(assembler):
    assert list(assembler.sources) == list(RAW)


def test_offset_scale_and_limits_are_applied_in_double_precision(assembler):
    result = assembler.observation(RAW)
    expected = []
    for channel in robot_contract().observation[:10]:
        value = (RAW[channel.source] - channel.offset) * channel.scale
        expected.append(np.float32(min(max(value, channel.low), channel.high)))
    assert result.dtype == np.float32
    assert result[:10].tolist() == [float(value) for value in expected]


def test_a_vector_in_the_order_of_sources_does_the_same(assembler):
    other = Assembler(robot_contract())
    vector = [RAW[source] for source in other.sources]
    assert other.observation(vector).tolist() == assembler.observation(RAW).tolist()


def test_the_first_previous_action_is_the_default_pose(assembler):
    values = seen(assembler)
    assert (values["last_hip"], values["last_knee"]) == pytest.approx((0.35, 0.6))


def test_the_previous_action_is_the_last_one_published(assembler):
    seen(assembler)
    assembler.acted(np.array([0.5, -0.5], np.float32))
    values = seen(assembler)
    assert (values["last_hip"], values["last_knee"]) == pytest.approx((0.6, -0.4))


def test_history_is_the_value_some_ticks_ago(assembler):
    speeds = [1.0, 2.0, 3.0, 4.0, 5.0]
    before = [seen(assembler, joint_states__velocity_hip=v)["v_hip_before"] for v in speeds]
    # Before the first tick the robot is taken to have been as it was in it.
    assert before == pytest.approx([0.05, 0.05, 0.05, 0.1, 0.15])


def test_reset_forgets(assembler):
    first = assembler.observation(RAW).tolist()
    assembler.acted([0.9, 0.9])
    seen(assembler, joint_states__velocity_hip=7.0)
    assembler.reset()
    assert assembler.observation(RAW).tolist() == first


def test_history_of_a_previous_action():
    contract = robot_contract()
    observation = (*contract.observation[:12], Channel("older", "history.1:last_hip"))
    assembler = Assembler(dataclasses.replace(contract, observation=observation))
    older = []
    for action in (0.1, 0.2, 0.3):
        older.append(assembler.observation(RAW)[12])
        assembler.acted([action, 0.0])
    assert older == pytest.approx([0.35, 0.35, 0.2])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_by_name_before_limits_hide_it(assembler, value):
    with pytest.raises(ObservationError, match=r"cmd_vel\.linear:x is -?(nan|inf)") as caught:
        seen(assembler, cmd_vel__linear_x=value)
    assert caught.value.reason == "non_finite"
    assert NAMES[caught.value.index] == "wanted"


def test_large_values_whose_sum_overflows_are_finite(assembler):
    values = seen(assembler, cmd_vel__linear_x=1.7e308, imu__angular_velocity_z=1.7e308)
    assert (values["wanted"], values["yaw_rate"]) == (0.5, 1.0)


def test_a_refused_tick_is_not_remembered(assembler):
    seen(assembler, joint_states__velocity_hip=1.0)
    with pytest.raises(ObservationError):
        seen(assembler, joint_states__velocity_hip=math.nan)
    seen(assembler, joint_states__velocity_hip=2.0)
    assert seen(assembler)["v_hip_before"] == pytest.approx(0.05)


def test_a_missing_value_is_named(assembler):
    raw = {source: value for source, value in RAW.items() if "knee" not in source}
    with pytest.raises(ObservationError, match=r"'joint_states\.position:knee' missing") as caught:
        assembler.observation(raw)
    assert caught.value.reason == "missing"


def test_a_vector_of_a_wrong_length_is_refused(assembler):
    with pytest.raises(ObservationError, match="3 raw values where 10 are expected"):
        assembler.observation([1.0, 2.0, 3.0])


def test_a_feature_vector_is_not_put_together():
    with pytest.raises(PolicyError, match="'value_0' comes from a feature vector"):
        Assembler(make_contract())
