"""Contracts in our own YAML, and those that are shipped."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("yaml")
from contract_files import read, written

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import Assembler
from qpolicy_ros.policy.robot_facts import RobotFacts

OURS = """
task: walker
period: 0.02
default_pose: {keyframe: home}
zeroed: [ank.*]
action:
  kind: {ankle: velocity, .*: position}
  scale: {hip: 0.5, knee|ankle: 0.25}
  offset: default
  clip: [-2, 2]
  rate: 10
  kp: 40
gaits:
  left: {frequency: 1.5, offset: pi/2, standing: {below: 0.01, phase: pi}}
observation:
  - source: "imu.angular_velocity:*"
    scale: 0.25
    clip: [-1, 1]
    history: {length: 2, first: newest}
  - {source: "joint_states.position:*", offset: default, missed: default, default: 0.5}
  - {source: "joint_states.velocity:*", keys: [knee], unit: rad/s}
  - {source: "previous_output:*"}
  - {source: "gait.cos:*"}
  - {name: command, sources: ["cmd_vel.linear:x", "cmd_vel.angular:z"], scale: [2, 0.25]}
  - {source: "constant:0.35", name: height}
time_limits: {cmd_vel: 0.5}
commands: {lin_vel_x: [-1, 1], "cmd_vel.linear:z": [0, 1]}
"""


def test_our_own_yaml_says_everything(tmp_path):
    contract = read(written(tmp_path, OURS), 17)
    action = contract.action[0]
    assert (action.name, action.scale, action.offset, action.low, action.high) == (
        "hip", 0.5, 0.5, -0.5, 1.5,
    )  # fmt: skip
    assert (action.rate, action.kp, action.kind) == (10.0, 40.0, "position")
    assert [a.kind for a in contract.action] == ["position", "position", "velocity"]
    assert contract.default == pytest.approx([0.5, -1.0, 0.0])
    names = [channel.name for channel in contract.observation]
    assert names[:4] == [f"imu.angular_velocity:{axis}" for axis in "xyz"] + [
        "imu.angular_velocity:x@1"
    ]
    assert contract.observation[8].source == "constant:0"
    assert names[-3:] == ["command:x", "command:z", "height"]
    assert contract.observation[-2].scale == 0.25
    gait = contract.gaits[0]
    assert (gait.offset, gait.stand_phase) == (pytest.approx(math.pi / 2), pytest.approx(math.pi))
    assert contract.commands[1] == ("cmd_vel.linear:z", 0.0, 1.0)
    assembler = Assembler(contract)
    values = assembler.observation(dict.fromkeys(assembler.sources, 1.0))
    assert values[6:10] == pytest.approx([0.5, 2.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("period: 0.02", "perod: 0.02", "which no known form has|no field here"),
        ("task: walker", "taskk: walker", "taskk: is no field here; did you mean 'task'"),
        ("ank.*", "wheel.*", "zeroed: 'wheel.*' matches no joint; nearest are"),
        (
            "{keyframe: home}",
            "{keyframe: hom}",
            "'hom' is no keyframe of robot.xml; nearest are home",
        ),
        ("scale: {hip: 0.5, knee|ankle: 0.25}", "scale: {hip: 1}", "says nothing of 'knee'"),
        ("scale: {hip: 0.5, knee|ankle: 0.25}", "scale: [1, 2]", "2 numbers for 3 joints"),
        ("scale: {hip: 0.5, knee|ankle: 0.25}", "scale: {'(': 1}", "is no pattern"),
        ("imu.angular_velocity:*", "imu.angle:*", r"observation\[0\].source: .*imu has"),
        ("keys: [knee]", "keys: [toe]", "'toe' is no joint of robot.xml; nearest are"),
        ("gait.cos:*", "gait.cos:right", "'right' is not a gait"),
        ("clip: [-2, 2]", "clip: [2, -2]", "2 to -2 is not ascending"),
        ("frequency: 1.5", "frequency: fast", "'fast' is no finite number"),
        ("constant:0.35", "constant:a", "'a' is not a finite number"),
    ],
)
def test_what_is_wrong_in_it_is_named(old, new, text, tmp_path):
    assert old in OURS
    with pytest.raises(InputError, match=text):
        read(written(tmp_path, OURS.replace(old, new)), 17)


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "a: [", "a: !!python/object/apply:os.system [ls]", "&a [*a]", "x: 1"]
)
def test_what_is_no_contract_is_refused(text, tmp_path):
    with pytest.raises(InputError, match=r"contract: (is no mapping|is no YAML|has the fields)"):
        read(written(tmp_path, text), 9)


def test_the_shipped_contracts_are_found_by_name():
    robot = RobotFacts("r.xml", ("a", "b"), poses={"home": {"a": 0.1, "b": 0.2}})
    contract = read("playground_go1", 3 * 4 + 3 * 2, 2, robot=robot, low=[-1, -1], high=[1, 1])
    assert contract.low == pytest.approx([-0.4, -0.3])
    with pytest.raises(InputError, match=r"known: .*playground_go1"):
        read("playground_go9", 9)
    assert np.isfinite(contract.high).all()
