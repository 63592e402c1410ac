"""Raw values of a robot become an observation."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from policy_builders import make_contract, random_artifact
from robot_contracts import robot_contract

from qpolicy_ros.policy import (
    ActionChannel,
    Assembler,
    Channel,
    Gait,
    ObservationError,
    PolicyError,
    load_policy,
    save_policy,
)
from qpolicy_ros.policy.sources import COMMAND

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


def walker_contract(**changes):
    """A robot that walks to a clock and sees its network's own outputs."""
    gaits = (
        Gait("left", 1.5, 0.0, stand_below=0.01, stand_phase=math.pi),
        Gait("right", 1.5, math.pi, stand_below=0.1),
        Gait("free", 2.0),
    )
    sources = [
        "gait.cos:left", "gait.sin:left", "gait.cos:right", "gait.sin:right", "gait.fraction:free",
        "previous_output:hip", "previous_output:knee", "constant:-0.25", "history.1:5",
        "wrench/left_foot.force:z", "twist.linear:x", "pose.position:z",
    ]  # fmt: skip
    return dataclasses.replace(
        robot_contract(),
        observation=tuple(Channel(str(i), source) for i, source in enumerate(sources)),
        action=(
            ActionChannel("hip", -1.0, 1.0, 0.0, scale=0.5, offset=0.1),
            ActionChannel("knee", -1.0, 1.0, 0.0, scale=0.25, offset=-0.2),
        ),
        time_limits=(("cmd_vel", 0.5), ("wrench/left_foot", 0.1)),
        gaits=gaits,
        **changes,
    )


def walk(assembler, speed=(0.3, 0.0, 0.0), force=1.0):
    """One tick."""
    command = dict(zip(COMMAND, speed, strict=True))
    rest = {"wrench/left_foot.force:z": force, "twist.linear:x": 2.0, "pose.position:z": 3.0}
    return assembler.observation({**command, **rest})


def test_a_standing_rule_s_commands_are_asked_for_though_no_channel_shows_them():
    sources = Assembler(walker_contract()).sources
    assert set(COMMAND) <= set(sources)
    assert len(sources) == 6


def test_a_gait_turns_with_every_tick_from_its_offset():
    assembler = Assembler(walker_contract())
    for tick in range(100):
        phase = 2 * math.pi * 1.5 * 0.02 * tick
        expected = [math.cos(phase), math.sin(phase), -math.cos(phase), -math.sin(phase)]
        values = walk(assembler)
        assert values[:4] == pytest.approx(expected, abs=1e-6)
        assert values[4] == pytest.approx(2.0 * 0.02 * tick % 1.0, abs=1e-6)


def test_a_gait_stands_below_its_speed_and_its_phase_runs_on():
    assembler = Assembler(walker_contract())
    standing = walk(assembler, (0.0, 0.0, 0.009))
    assert standing[:4] == pytest.approx([-1.0, 0.0, 0.0, 0.0], abs=1e-6)
    slow = walk(assembler, (0.0, 0.05, 0.0))  # above the left one's speed, below the right one's
    phase = 2 * math.pi * 1.5 * 0.02
    assert slow[:4] == pytest.approx([math.cos(phase), math.sin(phase), 0, 0], abs=1e-6)


def test_a_gait_may_turn_faster_with_the_command():
    contract = walker_contract()
    gait = Gait("left", 1.0, top_speed=2.0, top_frequency=2.0)
    assembler = Assembler(dataclasses.replace(contract, gaits=(gait, *contract.gaits[1:])))
    phase = 0.0
    for speed, frequency in ((0.0, 1.0), (1.0, 1.5), (2.0, 2.0), (9.0, 2.0), (1.0, 1.5)):
        assert walk(assembler, (speed, 0, 0))[:2] == pytest.approx(
            [math.cos(phase), math.sin(phase)], abs=1e-6
        )
        phase += 2 * math.pi * frequency * 0.02


def test_a_reset_starts_the_gaits_again():
    assembler = Assembler(walker_contract())
    first = walk(assembler).tolist()
    walk(assembler)
    assembler.reset()
    assert walk(assembler).tolist() == first


def test_the_previous_output_is_the_network_s_own():
    assembler = Assembler(walker_contract())
    assert walk(assembler)[5:7].tolist() == [0.0, 0.0]
    assembler.acted([1.0, -1.0], computed=[2.1, -1.7])  # limits have cut what was published
    values = walk(assembler)
    assert values[5:7] == pytest.approx([4.0, -6.0])
    assert values[8] == 0.0
    assert walk(assembler)[8] == pytest.approx(4.0)


def test_constants_and_stamped_topics_are_read():
    values = walk(Assembler(walker_contract()), force=7.0)
    assert values[7] == -0.25
    assert values[9:].tolist() == [7.0, 2.0, 3.0]


def test_a_file_keeps_all_of_it(tmp_path):
    contract = walker_contract(commands=((COMMAND[0], -0.5, 1.0),))
    action = dataclasses.replace(
        contract.action[0], kind="velocity", kp=20.0, kd=0.5, effort_limit=23.7, unit="rad/s"
    )
    channel = dataclasses.replace(contract.observation[9], unit="N")
    contract = dataclasses.replace(
        contract,
        action=(action, contract.action[1]),
        observation=(*contract.observation[:9], channel, *contract.observation[10:]),
    )
    artifact = random_artifact(contract=contract)
    save_policy(artifact, tmp_path / "a.safetensors")
    assert load_policy(tmp_path / "a.safetensors").contract == contract


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"gaits": ()}, r"observation\[0\].source: 'left' is not a gait"),
        ({"gaits": (Gait("left", 0.0),)}, "0.0 Hz is not above 0"),
        ({"gaits": (Gait("left", 1.0), Gait("left", 2.0))}, "'left' appears twice"),
        ({"commands": (("previous_output:hip", 0.0, 1.0),)}, "is no value of a topic"),
        ({"commands": ((COMMAND[0], 1.0, 0.0),)}, "1.0 to 0.0 is not ascending"),
    ],
)
def test_what_a_gait_or_command_cannot_be(changes, text):
    with pytest.raises(PolicyError, match=text):
        random_artifact(contract=dataclasses.replace(walker_contract(), **changes))
