"""A robot's contract: its rules, and its way into the file and back."""

from __future__ import annotations

import dataclasses
import json

import pytest
from policy_builders import make_contract, random_artifact
from policy_files import edit_metadata, read_raw
from robot_contracts import robot_contract

from qpolicy_ros.policy import (
    Channel,
    PolicyError,
    find_policy,
    load_policy,
    save_policy,
)


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "robot.safetensors"
    save_policy(random_artifact(contract=robot_contract()), file)
    return file


def metadata(file):
    return json.loads(read_raw(file)[0]["__metadata__"]["qpolicy"])


def with_channel(channel):
    contract = robot_contract()
    return dataclasses.replace(contract, observation=(channel, *contract.observation[1:]))


def with_action(**changes):
    contract = robot_contract()
    action = dataclasses.replace(contract.action[0], **changes)
    return dataclasses.replace(contract, action=(action, contract.action[1]))


def test_the_contract_comes_back(file):
    assert load_policy(file).contract == robot_contract()


def test_only_what_differs_from_the_defaults_is_written(file):
    contract = metadata(file)["contract"]
    assert contract["observation"][4] == ["gravity_x", "imu.projected_gravity:x"]
    assert contract["observation"][9][2] == {"high": 0.5, "low": -0.5, "missed": "zero"}
    assert contract["action"][0] == ["hip", -1.0, 1.0, 0.0, {"default": 0.25, "rate": 20.0}]
    assert contract["time_limits"] == {"cmd_vel": 0.5, "joint_states": 0.1}


def test_a_file_with_the_new_fields_is_of_version_2(file, tmp_path):
    assert metadata(file)["format_version"] == 2
    save_policy(random_artifact(), tmp_path / "plain.safetensors")
    assert metadata(tmp_path / "plain.safetensors")["format_version"] == 1


@pytest.mark.parametrize(
    ("name", "function_hash"),
    [("hopper/paper", "8a52145d0d06"), ("halfcheetah/fp32", "944ebbe91d38")],
)
def test_files_of_version_1_keep_their_hashes(name, function_hash):
    artifact = load_policy(find_policy(name))
    assert artifact.function_hash.startswith(function_hash)


def test_the_function_hash_covers_scales_and_time_limits():
    hashes = {
        random_artifact(contract=contract).function_hash
        for contract in (
            robot_contract(),
            with_channel(Channel("q_hip", "joint_states.position:hip", scale=3.0)),
            dataclasses.replace(robot_contract(), time_limits=()),
            with_action(default=0.5),
        )
    }
    assert len(hashes) == 4


def test_only_a_contract_with_topics_is_a_robots():
    assert robot_contract().robot
    assert not make_contract().robot


def test_the_default_pose_falls_back_to_the_safe_action():
    contract = with_action(default=None, safe=-0.5)
    assert contract.default.tolist() == [-0.5, 0.5]


HIP = "joint_states.position:hip"


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        (Channel("x", "joint_states.angle:hip"), r"observation\[0\].source: 'x': .*not 'angle'"),
        (Channel("x", HIP, scale=0.0), "scale: 0 would hide 'x'"),
        (Channel("x", HIP, scale=float("inf")), "scale: inf is not a finite number"),
        (Channel("x", HIP, offset=float("nan")), "offset: nan is not a finite number"),
        (Channel("x", HIP, low=1.0, high=-1.0), "limits 1.0 to -1.0 of 'x' are not ascending"),
        (Channel("x", HIP, low=float("nan")), "low: nan is not a finite number"),
        (Channel("x", HIP, missed="last"), "missed: 'last' is not one of hold, zero, default"),
        (Channel("x", "previous_action:hip", missed="zero"), "missed: .* is never missed"),
        (Channel("x", "previous_action:hap"), "source: 'hap' is not an action"),
        (Channel("x", "history.1:nothing"), "source: 'nothing' is not a channel"),
        (Channel("x", "history.1:v_hip_before"), "'v_hip_before' is a history itself"),
        (Channel("x"), "comes from a feature vector, others from topics"),
        (Channel("x", scale=2.0), "comes from a feature vector and is changed by nothing"),
    ],
)
def test_a_wrong_channel_is_named(channel, message):
    with pytest.raises(PolicyError, match=message):
        random_artifact(contract=with_channel(channel))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"default": 1.5}, r"action\[0\].default: 1.5 is outside the limits -1.0 to 1.0 of 'hip'"),
        ({"rate": 0.0}, r"action\[0\].rate: 0.0 is not above 0"),
        ({"rate": float("nan")}, r"action\[0\].rate: nan is not a finite number"),
    ],
)
def test_a_wrong_action_is_named(changes, message):
    with pytest.raises(PolicyError, match=message):
        random_artifact(contract=with_action(**changes))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ((("imu", 0.0),), r"time_limits.imu: 0.0 s is not above 0"),
        ((("gps", 1.0),), r"time_limits.gps: no value comes from it"),
        ((("imu", "soon"),), r"time_limits.imu: 'soon' is not a finite number"),
    ],
)
def test_a_wrong_time_limit_is_named(limits, message):
    contract = dataclasses.replace(robot_contract(), time_limits=limits)
    with pytest.raises(PolicyError, match=message):
        random_artifact(contract=contract)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["observation"][0].append({}), r"observation\[0\]: .*not a list of 2"),
        (lambda c: c["observation"][0].__setitem__(2, []), r"observation\[0\]: \[\] is not an obj"),
        (lambda c: c["observation"][0][2].update(gain=1), r"observation\[0\].gain: is not a field"),
        (lambda c: c["action"][0][4].update(name="a"), r"action\[0\].name: is not a field"),
        (lambda c: c.update(time_limits=[]), "contract.time_limits: is not an object"),
        (lambda c: c["observation"][0][2].update(scale=3.0), "function_hash"),
        (lambda c: c["observation"][0][2].update(scale="1"), "scale: '1' is not a finite number"),
    ],
)
def test_a_damaged_file_is_refused(file, edit, message):
    edit_metadata(file, lambda data: edit(data["contract"]))
    with pytest.raises(PolicyError, match=message):
        load_policy(file)


def test_a_row_of_an_action_takes_no_list(file):
    edit_metadata(file, lambda data: data["contract"]["action"][0].__setitem__(3, [0.0]))
    with pytest.raises(PolicyError, match=r"action\[0\].safe"):
        load_policy(file)
