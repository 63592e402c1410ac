"""What a sound recording says: equal at every tick, whatever happened in between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bags import JOINT_STATE, Message, joint_state
from flights import (
    STAGES,
    TYPES,
    Fault,
    Settings,
    feature_flight,
    robot_flight,
    status,
)
from policy_builders import random_artifact
from robot_contracts import robot_contract
from wandering_robot import TYPE_OF, World, as_taken

from qpolicy_ros.nodes.serving.robot_inputs import RobotInputs
from qpolicy_ros.policy import Assembler, Channel, find_policy, load_policy
from qpolicy_ros.policy.model import Gait
from qpolicy_ros.replay import aarch64
from qpolicy_ros.replay.replayed import Settings as Asked
from qpolicy_ros.replay.sensors import read_sensor
from qpolicy_ros.replay.ticks import EPISODES_APART


def turns(tick: int) -> str:
    return "fp32" if 60 <= tick < 120 else "integer"


@pytest.mark.parametrize(
    "settings",
    [
        Settings(ticks=200),
        Settings(ticks=200, rate_limit=4.0),
        Settings(ticks=200, rate_limit=4.0, lockstep=False, backends=turns),
    ],
    ids=["lockstep", "rate_limit", "swaps"],
)
@pytest.mark.parametrize("name", ["hopper", "go2"])
def test_a_sound_recording_is_equal(name, settings, verdict, request):
    artifact = request.getfixturevalue(name)
    fly = robot_flight if artifact.contract.robot else feature_flight
    found = verdict(fly(artifact, settings).messages, artifact)
    assert found.equal, found.first
    assert found.reproduced == found.ticks > 200


def test_every_engine_computes_the_same(hopper, verdict):
    messages = feature_flight(hopper, Settings(ticks=50)).messages
    for engine in ("c", "numpy"):
        assert verdict(messages, hopper, settings=Asked(engine)).equal


@pytest.mark.skipif(not aarch64.installed(), reason="no compiler and emulator for 64-bit ARM")
def test_on_emulated_arm_it_is_the_same(hopper, verdict):
    messages = feature_flight(hopper, Settings(ticks=50)).messages
    assert verdict(messages, hopper, settings=Asked("c-aarch64")).equal


def test_a_policy_changed_in_flight_is_followed(hopper, verdict):
    other = load_policy(find_policy("hopper/selected"))
    first = feature_flight(hopper, Settings(ticks=100)).messages[:-2]
    later = feature_flight(other, Settings(ticks=100, seed=0)).messages
    shift = first[-1].log - later[0].log + 10**6
    moved = [each._replace(log=each.log + shift) for each in later]
    found = verdict([*first, *moved], hopper, other)
    assert {each.kind for each in found.differences} <= {"timing"}  # the stamps begin anew
    assert found.reproduced == found.ticks
    assert not verdict([*first, *moved], hopper).equal


def test_a_restart_begins_from_the_safe_action(hopper, verdict):
    """Rates count anew, and the stamps of a simulation that starts again are other ticks."""
    first = feature_flight(hopper, Settings(ticks=100, rate_limit=3.0)).messages[:-2]
    later = feature_flight(hopper, Settings(ticks=100, rate_limit=3.0, seed=1)).messages
    shift = first[-1].log - later[0].log + 10**9
    found = verdict([*first, *[each._replace(log=each.log + shift) for each in later]], hopper)
    assert found.reproduced == found.ticks
    assert found.replay.begins.sum() == 1
    assert found.equal, found.first


def test_an_observation_sent_again_is_one_tick(hopper, verdict):
    messages = feature_flight(hopper, Settings(ticks=100)).messages
    stamped = [each for each in messages if each.topic in {"/observation", "/action_stamped"}]
    again = [each._replace(log=each.log + 500_000) for each in stamped[40:42]]
    found = verdict(sorted([*messages, *again], key=lambda each: each.log), hopper)
    assert found.equal, found.first
    assert found.replay.ticks.repeated == 1


def test_a_recorder_may_hear_answers_before_observations(hopper, verdict):
    """It finds one topic a moment before the other: what came before is not of the recording."""
    messages = feature_flight(hopper, Settings(ticks=100, rate_limit=3.0)).messages
    unheard = [each for each in messages if each.topic == "/observation"][:3]
    found = verdict([each for each in messages if each not in unheard], hopper)
    assert found.equal, found.first
    assert found.reproduced == found.ticks == verdict(messages, hopper).ticks - 3
    assert "3 observations from before the recording" in " ".join(found.replay.notes)


def test_a_robots_answer_sent_again_is_of_no_tick(go2, verdict):
    """In lock-step, to messages that the simulator sent again: the same command, nothing else."""
    messages = robot_flight(go2, Settings(ticks=100)).messages
    commands = [each for each in messages if each.topic == "/action_stamped"]
    again = [each._replace(log=each.log + 400_000) for each in commands[-20:-18]]
    found = verdict(sorted([*messages, *again], key=lambda each: each.log), go2)
    assert found.equal, found.first
    assert found.replay.ticks.repeated == 2


def test_a_simulated_robots_next_episode_is_no_clock_that_was_set(go2, verdict):
    """Nor where the policy sees what no recording tells: a gait's clock."""
    own = go2.contract
    gait = Channel("gait", "gait.cos:left")
    walker = replace(own, observation=(*own.observation, gait), gaits=(Gait("left", 1.5),))
    period = round(own.period * 1e9)
    for artifact in (go2, random_artifact(3, contract=walker)):
        begins = Fault(at=120, anew=True, stamps=(EPISODES_APART - 1) * period)
        found = verdict(robot_flight(artifact, Settings(ticks=200), begins).messages, artifact)
        assert found.equal, found.first
        clock = Fault(at=120, stamps=(EPISODES_APART + 5) * period)
        found = verdict(robot_flight(artifact, Settings(ticks=200), clock).messages, artifact)
        assert "the stamps' clock was set" in str(found.first)


def test_old_recordings_are_replayed_as_far_as_they_go(hopper, go2, verdict):
    """Without what newer nodes say of time, messages used and parameters."""
    for artifact, fly in ((hopper, feature_flight), (go2, robot_flight)):
        found = verdict(
            [old(each) for each in fly(artifact, Settings(ticks=150)).messages], artifact
        )
        assert found.equal, found.first


def old(message: Message) -> Message:
    """Return a message as nodes of before sent it."""
    if message.topic == "/timing":
        full = TYPES.deserialize_cdr(message.data, JOINT_STATE)
        count = len(STAGES) - 1
        stamp = full.header.stamp.sec * 10**9 + full.header.stamp.nanosec
        data = joint_state(stamp, full.name[:count], full.position[:count], full.header.frame_id)
        return message._replace(data=data)
    if message.topic == "/diagnostics":
        found = TYPES.deserialize_cdr(message.data, message.kind).status[0].values
        values = {each.key: each.value for each in found}
        kept = {"backend", "mode", "reason", "function_hash"}
        return message._replace(data=status({k: v for k, v in values.items() if k in kept}))
    return message


def test_a_rate_limit_that_is_not_recorded_can_be_given(hopper, verdict):
    flight = feature_flight(hopper, Settings(ticks=150, rate_limit=3.0))
    messages = [old(each) for each in flight.messages]
    found = verdict(messages, hopper)
    assert found.first.kind == "safety"
    assert "rate limit" in found.first.text
    assert verdict(messages, hopper, settings=Asked(rate_limit=3.0)).equal


def test_a_gripper_beside_the_legs_changes_nothing(go2, verdict):
    messages = robot_flight(go2, Settings(ticks=100)).messages
    data = joint_state(10**9, ["finger"], [0.1])
    extra = [
        Message("/joint_states", JOINT_STATE, each.log + 1000, data)
        for each in messages
        if each.topic == "/joint_states"
    ]
    assert verdict(sorted([*messages, *extra], key=lambda each: each.log), go2).equal


def test_messages_are_refused_as_the_node_refuses_them(go2):
    """The same message through the node's inputs and the replay's."""
    rng = np.random.default_rng(3)
    world = World(go2.contract, rng)
    inputs = RobotInputs(go2.contract, Assembler(go2.contract).sources)
    for topic in inputs.topics:
        for number in range(40):
            world.step()
            message = spoilt(world.message(topic, (number + 1) * 10**7), rng)
            taken = inputs.take(topic, as_taken(message))
            data = bytes(TYPES.serialize_cdr(message, TYPE_OF[topic]))
            one = np.zeros(1, np.int64)
            sensor = read_sensor(topic, one, one, [data], go2.contract, pose=True)
            assert bool(sensor.usable[0]) == taken, (topic, sensor.problems, message)
            if taken:
                assert sensor.values[0].tolist() == inputs.topics[topic].values
            else:
                assert (
                    sensor.problems[0].split(":")[0] == inputs.topics[topic].problem.split(":")[0]
                )


def spoilt(message, rng):
    """Break every other message in one of the ways that robots break them."""
    way = int(rng.integers(8))
    if hasattr(message, "effort"):
        if way == 0:
            message.position[2] = np.nan
        elif way == 1:
            message.position = message.position * 57.3 + 20.0
        elif way == 2:
            message.name = message.name[:-1]
        elif way == 3:
            message.velocity = np.empty(0)
    elif hasattr(message, "orientation"):
        if way == 0:
            message.orientation.w = 3.0
        elif way == 1:
            message.orientation_covariance = np.full(9, -1.0)
        elif way == 2:
            message.angular_velocity.y = np.inf
    return message


def test_the_policys_own_observation_can_be_missing(go2, verdict):
    """Then it is put together from the messages."""
    messages = [
        each for each in robot_flight(go2, Settings(ticks=120)).messages
        if each.topic != "/observation"
    ]  # fmt: skip
    found = verdict(messages, go2)
    assert found.reproduced == found.ticks
    assert found.equal, found.first


def test_values_too_old_are_replaced_as_the_contract_says(verdict):
    artifact = random_artifact(11, hidden=(16, 16), contract=robot_contract())
    settings = Settings(ticks=150, ramp_time=0.2)
    flight = robot_flight(artifact, settings, Fault(at=60, frozen=("cmd_vel",)))
    found = verdict(flight.messages, artifact)
    assert found.replay.assembled.missed["cmd_vel"].any()
    assert found.reproduced == found.ticks
    assert found.equal, found.first
