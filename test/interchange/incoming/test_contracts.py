"""Contracts of other projects: which value is what, in which order, and what does not fit."""

from __future__ import annotations

import math

import pytest

yaml = pytest.importorskip("yaml")
from contract_files import JOINTS, ORDER, ROBOT, read, written  # noqa: E402

from qpolicy_ros.common.errors import InputError  # noqa: E402
from qpolicy_ros.interchange.incoming.contracts.context import Context  # noqa: E402
from qpolicy_ros.interchange.incoming.contracts.mjlab import read_metadata  # noqa: E402
from qpolicy_ros.policy import Assembler  # noqa: E402
from qpolicy_ros.policy.contract_rules import check_contract  # noqa: E402
from qpolicy_ros.policy.robot_facts import RobotFacts  # noqa: E402


def deploy(**observations):
    """A deploy.yaml of three joints."""
    terms = {
        "base_ang_vel": {"scale": [0.2, 0.2, 0.2], "clip": None, "history_length": 1, "params": {}},
        "joint_pos_rel": {"scale": [1.0, 2.0, 3.0], "history_length": 1},
        "last_action": {"scale": None, "clip": [-4.0, 4.0], "history_length": 0},
    }
    return {
        "joint_ids_map": ORDER,
        "step_dt": 0.02,
        "stiffness": [10.0, 20.0, 30.0],
        "damping": [1.0, 2.0, 3.0],
        "default_joint_pos": [0.1, 0.2, 0.3],
        "commands": {"base_velocity": {"ranges": {"lin_vel_x": [-0.5, 1.0], "heading": None}}},
        "actions": {
            "JointPositionAction": {
                "clip": None, "joint_names": [".*"], "scale": 0.25, "offset": [0.1, 0.2, 0.3],
                "joint_ids": None,
            }
        },
        "observations": {**terms, **observations},
    }  # fmt: skip


# unitree_rl_lab, unitree_rl_mjlab


def test_a_deploy_yaml_has_the_policy_s_order_and_the_robot_s_gains(tmp_path):
    contract = read(written(tmp_path, deploy(), "deploy.yaml"), 9)
    assert [action.name for action in contract.action] == JOINTS
    assert [action.kp for action in contract.action] == [30.0, 10.0, 20.0]
    assert [action.kd for action in contract.action] == [3.0, 1.0, 2.0]
    assert contract.default == pytest.approx([0.1, 0.2, 0.3])
    assert [(a.scale, a.offset) for a in contract.action] == [(0.25, x) for x in (0.1, 0.2, 0.3)]
    assert contract.period == 0.02
    assert contract.commands == (("cmd_vel.linear:x", -0.5, 1.0),)
    q = contract.observation[4]
    assert (q.source, q.offset, q.scale) == ("joint_states.position:hip", 0.2, 2.0)
    last = contract.observation[6]
    assert (last.source, last.low, last.high) == ("previous_output:ankle", -4.0, 4.0)


def test_its_python_tags_make_nothing(tmp_path):
    text = yaml.safe_dump(deploy()).replace(
        "joint_ids: null", "joint_ids: !!python/object/apply:builtins.slice [null, null, null]"
    )
    text += "\nextra: !!python/object/apply:os.mkdir [/tmp/qpolicy_evil_yaml]\n"
    contract = read(written(tmp_path, text, "deploy.yaml"), 9)
    assert len(contract.action) == 3
    from pathlib import Path  # noqa: PLC0415

    assert not Path("/tmp/qpolicy_evil_yaml").exists()


def histories(contract):
    """The sources of the values, shortened."""
    return [
        c.source.replace("imu.angular_velocity:", "w").replace("history.", "h")
        for c in contract.observation
    ]


def test_histories_go_term_by_term_the_oldest_first(tmp_path):
    terms = {"history_length": 2, "scale": 1.0}
    content = deploy()
    content["observations"] = {"base_ang_vel": terms, "projected_gravity": terms}
    sources = histories(read(written(tmp_path, content), 12))
    assert sources[:6] == [
        "h1:base_ang_vel:x", "h1:base_ang_vel:y", "h1:base_ang_vel:z", "wx", "wy", "wz",
    ]  # fmt: skip


def test_or_step_by_step(tmp_path):
    terms = {"history_length": 2, "scale": 1.0}
    content = deploy()
    content["observations"] = {
        "use_gym_history": True, "base_ang_vel": terms, "projected_gravity": terms,
    }  # fmt: skip
    sources = histories(read(written(tmp_path, content), 12))
    assert sources[2:7] == [
        "h1:base_ang_vel:z", "h1:projected_gravity:x", "h1:projected_gravity:y",
        "h1:projected_gravity:z", "wx",
    ]  # fmt: skip


def test_a_clip_is_before_the_scale_unless_the_scale_is_first(tmp_path):
    term = {"scale": [0.5] * 3, "clip": [-10.0, 10.0], "history_length": 1}
    contract = read(written(tmp_path, deploy(base_ang_vel=term)), 9)
    assert contract.observation[0].high == 5.0
    term["scale_first"] = True
    contract = read(written(tmp_path, deploy(base_ang_vel=term)), 9)
    assert contract.observation[0].high == 10.0


def test_a_gait_phase_becomes_a_clock(tmp_path):
    term = {"params": {"period": 0.8}, "scale": [1.0, 1.0], "history_length": 1}
    contract = read(written(tmp_path, deploy(gait_phase=term)), 11)
    assert contract.gaits[0].frequency == pytest.approx(1.25)
    values = Assembler(contract)
    raw = dict.fromkeys(values.sources, 0.0)
    values.observation(raw)
    angle = 2 * math.pi * 1.25 * 0.02
    assert values.observation(raw)[9:] == pytest.approx([math.sin(angle), math.cos(angle)])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"observations": {"base_ang_vel": {}, "joint_pos": {}}},
            r"observation: 6 values \(base_ang_vel 3, joint_pos 3\) where the network takes 9",
        ),
        (
            {"observations": {"base_ang_vel": {"history_length": 4}}},
            r"12 values \(base_ang_vel 3x4\) where",
        ),
        (
            {"observations": {"height_scan": {}}},
            "observations.height_scan: 'height_scan' is no obs",
        ),
        ({"observations": {"a": {"x": {"scale": 1}}, "b": {"y": {"scale": 1}}}}, "2 groups"),
        ({"joint_ids_map": [0, 1]}, "2 joints where the network answers 3 values|3 numbers for 2"),
        ({"joint_ids_map": [0, 1, 1]}, "names a joint twice"),
        ({"joint_ids_map": [0, 1, 3, 9]}, r"joint 9 of a robot with 3 joints \(robot.xml\)"),
        ({"joint_ids_map": "all"}, "joint_ids_map: 'all' is no list"),
        ({"stiffness": [1.0]}, "stiffness: 1 numbers for joints up to 2"),
        ({"default_joint_pos": [0.0, 1.0]}, "default_joint_pos: 2 numbers for 3 joints"),
        ({"actions": {"PelvisAction": {}}}, "actions.PelvisAction: is no action on joints'"),
        ({"step_dt": "fast"}, "step_dt: 'fast' is no finite number"),
        ({"step_dt": math.nan}, "step_dt: nan is no finite number"),
    ],
)
def test_a_deploy_yaml_that_does_not_fit_says_where(change, text, tmp_path):
    with pytest.raises(InputError, match=text) as caught:
        read(written(tmp_path, {**deploy(), **change}), 9)
    assert "\n" not in str(caught.value)


def test_it_needs_the_robot_s_joints(tmp_path):
    with pytest.raises(
        InputError, match="the file names no joints; give the robot's model: --robot"
    ):
        read(written(tmp_path, deploy()), 9, robot=None)


def test_the_motors_of_a_four_legged_robot_begin_with_the_front_right_leg(tmp_path):
    legs = [f"{leg}_{part}_joint" for leg in ("FL", "FR", "RL", "RR") for part in ("hip", "thigh")]
    content = deploy()
    content |= {"joint_ids_map": [2, 3, 0, 1, 6, 7, 4, 5], "stiffness": list(range(1, 9))}
    content["actions"]["JointPositionAction"]["offset"] = 0.0
    content |= {"damping": None, "default_joint_pos": 0.0, "observations": {"last_action": {}}}
    robot = RobotFacts("go2.xml", tuple(legs))
    contract = read(written(tmp_path, content), 8, 8, robot=robot)
    assert [action.name for action in contract.action] == legs
    assert [action.kp for action in contract.action] == [3, 4, 1, 2, 7, 8, 5, 6]


# Isaac Lab


def descriptors():
    term = {"overloads": {"clip": None, "history_length": 0, "scale": None}}
    lab, seen = "isaaclab.envs.mdp", "isaaclab.envs.mdp.observations"
    return {
        "actions": [
            {
                "full_path": f"{lab}.actions.joint_actions.JointPositionAction", "clip": None,
                "joint_names": JOINTS, "name": "joint_position_action", "offset": [0.1, 0.2, 0.3],
                "scale": 0.5, "shape": [3],
            }
        ],
        "articulations": {
            "robot": {
                "joint_names": JOINTS, "default_joint_pos": [0.1, 0.2, 0.3],
                "default_joint_stiffness": [5.0, 6.0, 7.0],
                "default_joint_damping": [0.0, 0.0, 0.0],
            }
        },
        "observations": {
            "policy": [
                {**term, "name": "v", "full_path": f"{seen}.base_lin_vel", "shape": [3]},
                {
                    **term, "name": "legs", "full_path": f"{seen}.joint_pos_rel",
                    "joint_names": ["knee", "hip"], "joint_pos_offsets": [0.3, 0.2], "shape": [2],
                    "overloads": {"scale": 2.0, "clip": [-1.0, 1.0], "history_length": 2},
                },
                {**term, "name": "a", "full_path": f"{seen}.last_action", "shape": [3]},
            ]
        },
        "scene": {"decimation": 4, "dt": 0.02, "physics_dt": 0.005},
    }  # fmt: skip


def test_io_descriptors_are_read(tmp_path):
    contract = read(written(tmp_path, descriptors()), 10)
    assert [a.kp for a in contract.action] == [5.0, 6.0, 7.0]
    assert [a.kd for a in contract.action] == [None] * 3  # all 0: an actuator model has them
    assert [c.source for c in contract.observation[3:7]] == [
        "history.1:legs:knee", "history.1:legs:hip",
        "joint_states.position:knee", "joint_states.position:hip",
    ]  # fmt: skip
    knee = contract.observation[5]
    assert (knee.offset, knee.scale, knee.low, knee.high) == (0.3, 2.0, -2.0, 2.0)
    assert contract.observation[0].source == "odom.linear_velocity:x"


def test_joints_that_the_robot_lacks_are_named_with_the_nearest(tmp_path):
    robot = RobotFacts("r.xml", ("left_hip", "left_knee", "left_ankle"))
    with pytest.raises(InputError, match=r"'ankle' is no joint of r.xml; nearest are left_ankle"):
        read(written(tmp_path, descriptors()), 10, robot=robot)


# rl_sar


def rl_sar(tmp_path, **changes):
    base = {"dt": 0.005, "decimation": 4, "fixed_kp": [80.0] * 3, "joint_names": list(ROBOT.joints)}
    config = {
        "num_observations": 12, "num_of_dofs": 3,
        "observations": ["ang_vel", "commands", "dof_pos", "actions"],
        "observations_history": [], "clip_obs": 100.0, "action_scale": [0.125, 0.25, 5.0],
        "clip_actions_lower": [-100.0] * 3, "clip_actions_upper": [100.0] * 3,
        "rl_kp": [20.0, 21.0, 0.0], "rl_kd": [0.5, 0.6, 0.7], "torque_limits": [23.0, 23.0, 9.0],
        "ang_vel_scale": 0.25, "dof_pos_scale": 1.0, "commands_scale": [2.0, 2.0, 0.25],
        "default_dof_pos": [0.1, 0.2, 0.3], "wheel_indices": [2], "joint_mapping": ORDER,
    }  # fmt: skip
    written(tmp_path, {"r": base}, "base.yaml")
    (tmp_path / "walk").mkdir()
    return written(tmp_path / "walk", {"r/walk": {**config, **changes}}, "config.yaml").parent


def test_rl_sar_s_files_are_read_together(tmp_path):
    contract = read(rl_sar(tmp_path), 12, robot=None)
    assert [action.name for action in contract.action] == JOINTS
    assert [action.kind for action in contract.action] == ["position", "position", "velocity"]
    assert [action.kp for action in contract.action] == [20.0, 21.0, 0.0]
    assert [action.effort_limit for action in contract.action] == [23.0, 23.0, 9.0]
    assert [action.offset for action in contract.action] == [0.1, 0.2, 0.0]
    assert contract.period == pytest.approx(0.02)
    scales = [channel.scale for channel in contract.observation[3:6]]
    assert scales == [2.0, 2.0, 0.25]
    assert contract.observation[8].source == "constant:0"  # a wheel's position counts for nothing
    assert contract.observation[0].high == 100.0


@pytest.mark.parametrize(
    ("priority", "history", "first"),
    [
        ("time", [0, 1], ["ang_vel:x", "ang_vel:y", "ang_vel:z", "commands:linear:x"]),
        ("time", [1, 0], ["ang_vel:x@1", "ang_vel:y@1", "ang_vel:z@1", "commands:linear:x@1"]),
        ("term", [1, 0], ["ang_vel:x@1", "ang_vel:y@1", "ang_vel:z@1", "ang_vel:x"]),
    ],
)
def test_its_history_has_the_order_that_it_says(priority, history, first, tmp_path):
    options = {"observations_history": history, "observations_history_priority": priority}
    contract = read(rl_sar(tmp_path, **options), 24, robot=None)
    assert [channel.name for channel in contract.observation[:4]] == first


def test_what_it_leaves_empty_is_missing(tmp_path):
    with pytest.raises(InputError, match="default_dof_pos: is missing"):
        read(rl_sar(tmp_path, default_dof_pos=None), 12, robot=None)


# mjlab


METADATA = {
    "joint_names": "ankle,hip,knee", "joint_stiffness": "1.0,2.0,3.0",
    "joint_damping": "0.1,0.2,0.3",
    "default_joint_pos": "0.100,0.200,0.300", "command_names": "twist", "action_scale": "0.250",
    "observation_names": "base_ang_vel,projected_gravity,command,joint_pos,joint_vel,actions",
}  # fmt: skip


def test_mjlab_s_metadata_is_a_contract():
    contract = read_metadata(METADATA, "a.onnx", Context(18, 3))
    check_contract(contract)
    assert [(a.name, a.kp, a.scale, a.offset) for a in contract.action] == [
        ("ankle", 1.0, 0.25, 0.1), ("hip", 2.0, 0.25, 0.2), ("knee", 3.0, 0.25, 0.3),
    ]  # fmt: skip
    assert contract.observation[9].offset == 0.1
    assert contract.observation[8].source == "cmd_vel.angular:z"


@pytest.mark.parametrize(
    ("change", "inputs", "text"),
    [
        ({}, 20, r"18 values \(base_ang_vel 3, .*actions 3\) where the network takes 20"),
        ({"observation_names": "camera"}, 18, "'camera' is no observation that is known here"),
        ({"action_scale": "0.1,0.2"}, 18, "action_scale: 2 numbers for 3 joints"),
        ({"default_joint_pos": "a,b,c"}, 18, "default_joint_pos: 'a' is no finite number"),
    ],
)
def test_metadata_that_does_not_fit_says_where(change, inputs, text):
    with pytest.raises(InputError, match=text):
        read_metadata({**METADATA, **change}, "a.onnx", Context(inputs, 3))
