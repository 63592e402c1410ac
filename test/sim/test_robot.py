"""A described robot: its contract, its sensors, its start."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import mujoco
import numpy as np
import pytest
from robot_files import write_robot

from qpolicy_ros.policy import Assembler, Channel, Contract, PolicyError
from qpolicy_ros.sim import open_simulation
from qpolicy_ros.sim.robot import RobotSimulation


@pytest.fixture
def robot(tmp_path):
    simulation = RobotSimulation(write_robot(tmp_path), max_episode_steps=100)
    simulation.reset(0)
    return simulation


def turned(robot, axis, angle, velocity=(0.0, 0.0, 0.0)):
    """Put the base at `angle` about `axis`, moving at `velocity` in the world."""
    robot.data.qpos[3:7] = (math.cos(angle / 2), *(math.sin(angle / 2) * np.eye(3)[axis]))
    robot.data.qvel[:3] = velocity
    return robot


def test_contract_names_what_the_policy_sees_and_drives(robot):
    contract = robot.contract
    assert [channel.name for channel in contract.observation] == [
        *(f"imu.projected_gravity:{axis}" for axis in "xyz"),
        "joint_states.position:left_hip",
        "joint_states.position:right_hip",
        "joint_states.velocity:left_hip",
        "cmd_vel.linear:x",
        "previous_action:left_hip",
        "previous_action:right_hip",
    ]
    left, right = contract.action
    assert (left.name, left.low, left.high, left.safe) == ("left_hip", -0.4, 0.6, 0.1)
    assert (right.name, right.low, right.high) == ("right_hip", -0.45, pytest.approx(0.05))
    assert (contract.period, contract.env_id, contract.robot) == (0.02, "", True)


def test_observation_is_what_the_assembler_makes_of_the_sensors(robot):
    assembler = Assembler(robot.contract)
    action = np.array([0.3, -0.3], np.float32)
    seen = robot.step(action)[0]
    assembler.acted(action)
    raw = {source: robot.read(source) for source in assembler.sources}
    assert np.array_equal(seen, assembler.observation(raw))


def test_actions_reach_their_joints_whatever_the_order_of_the_actuators(robot):
    robot.model.opt.gravity[:] = 0.0
    for _ in range(50):
        robot.step(np.array([0.5, -0.1], np.float32))
    assert robot.read("joint_states.position:left_hip") == pytest.approx(0.5, abs=0.02)
    assert robot.read("joint_states.position:right_hip") == pytest.approx(-0.1, abs=0.02)


def test_actions_are_clipped_to_their_limits(robot):
    robot.step(np.array([9, -9], np.float32))
    assert robot.data.ctrl.tolist() == pytest.approx([-0.45, 0.6])  # the model has right first


def test_torque_limits_stay_those_of_the_motors(robot):
    assert robot.model.actuator_forcerange.tolist() == [[-5, 5], [-5, 5]]


@pytest.mark.parametrize(("axis", "expected"), [(0, (0, -1, 0)), (1, (1, 0, 0)), (2, (0, 0, -1))])
def test_gravity_turns_with_the_body(robot, axis, expected):
    turned(robot, axis, math.pi / 2)
    read = [robot.read(f"imu.projected_gravity:{key}") for key in "xyz"]
    assert read == pytest.approx(expected, abs=1e-12)


def test_velocity_is_in_the_body_frame(robot):
    turned(robot, 2, math.pi / 2, (0.0, 2.0, 0.5))  # facing +y, moving along +y and up
    read = [robot.read(f"odom.linear_velocity:{key}") for key in "xyz"]
    assert read == pytest.approx((2.0, 0.0, 0.5))


def test_angular_velocity_agrees_with_a_gyroscope(tmp_path):
    path = write_robot(tmp_path)
    model = tmp_path / "biped.xml"
    gyro = '<sensor><gyro name="gyro" site="imu"/></sensor></mujoco>'
    text = model.read_text().replace("<freejoint/>", '<freejoint/><site name="imu"/>')
    model.write_text(text.replace("</mujoco>", gyro))
    robot = turned(RobotSimulation(path), 0, 0.7)
    robot.data.qvel[3:6] = (1.0, -2.0, 3.0)
    mujoco.mj_forward(robot.model, robot.data)
    read = [robot.read(f"imu.angular_velocity:{key}") for key in "xyz"]
    assert read == pytest.approx(robot.data.sensor("gyro").data.tolist())


def test_quaternion_has_w_last(robot):
    turned(robot, 1, 0.4)
    read = [robot.read(f"imu.orientation:{key}") for key in "xyzw"]
    assert read == pytest.approx((0.0, math.sin(0.2), 0.0, math.cos(0.2)))


def test_accelerometer_feels_gravity_at_rest(robot):
    for _ in range(100):
        robot.step(robot.contract.default)
    read = [robot.read(f"imu.linear_acceleration:{key}") for key in "xyz"]
    assert np.linalg.norm(read) == pytest.approx(9.81, abs=0.2)


def test_command_is_read_and_survives_a_reset(robot):
    robot.command = np.array([0.5, 0, 0, 0, 0, -0.25])
    assert robot.reset(1)[6] == np.float32(0.5)
    assert robot.read("cmd_vel.angular:z") == -0.25


def test_start_is_the_described_pose_and_the_seed_varies_it(robot):
    first, again, other = (robot.reset(seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert robot.data.qpos[2] == 0.25  # not the model's own keyframe
    assert np.abs(robot.data.qpos[7:] - (0.1, -0.2)).max() <= 0.05


def test_no_reward_and_no_termination(robot):
    outcomes = [robot.step(robot.contract.safe)[1:] for _ in range(100)]
    assert all(math.isnan(reward) for reward, _, _ in outcomes)
    assert [(over, cut) for _, over, cut in outcomes] == [(False, False)] * 99 + [(False, True)]


def test_what_collides_with_nothing_is_left_out_unless_seen(tmp_path):
    path = write_robot(tmp_path)
    bare, seen = RobotSimulation(path), RobotSimulation(path, render_mode="rgb_array")
    assert seen.model.ngeom == bare.model.ngeom + 1
    runs = []
    for robot in (bare, seen):
        robot.reset(0)
        robot.step(robot.contract.default)
        runs.append(robot.data.qpos.tolist())
    assert runs[0] == runs[1]


RENDER = """
import sys
from qpolicy_ros.sim import open_simulation
simulation = open_simulation(sys.argv[1], render_mode="rgb_array")
simulation.reset(0)
frame = simulation.render()
simulation.close()
print(frame.shape, frame.dtype)
"""


@pytest.mark.parametrize(("suffix", "width"), [(".yaml", 640), (".xml", 480)])
def test_robots_and_bare_models_are_rendered_offscreen(tmp_path, suffix, width):
    path = write_robot(tmp_path).replace(".yaml", suffix)
    # MuJoCo chooses its OpenGL once, when it is imported, and aborts the process without one.
    environment = {**os.environ, "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
    command = [sys.executable, "-c", RENDER, path]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "OpenGL" in child.stderr or "EGL" in child.stderr:
        pytest.skip(f"no OpenGL here: {child.stderr.splitlines()[-1]}")
    assert child.stdout.split("\n")[0] == f"(480, {width}, 3) uint8", child.stderr


def test_a_robot_opens_by_its_description(tmp_path):
    simulation = open_simulation(write_robot(tmp_path), max_episode_steps=7)
    assert isinstance(simulation, RobotSimulation)
    assert simulation.step_limit == 7


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"base": "head"}, "no base 'head'"),
        ({"joints": {"knee": {"default": 0, "scale": 1}}}, "joint: 'knee' is no joint"),
        ({"model": {"file": "none.xml"}}, "none.xml is no file"),
        ({"feet": {"groups": [["toe"]], "condim": 1}}, "no geom 'toe'"),
        ({"base": "left"}, "base: 'left' is no body with a free joint"),
        ({"imu": "chip"}, "chip"),
        ({"period": 0.007}, "period: 0.007 s is no multiple"),
    ],
)
def test_a_description_that_does_not_fit_its_model(tmp_path, changes, wrong):
    with pytest.raises(PolicyError, match=wrong) as caught:
        RobotSimulation(write_robot(tmp_path, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["previous_action:left_hip", "lidar.range:x", "odom.speed:x"])
def test_what_is_no_sensor_is_refused(robot, source):
    with pytest.raises(PolicyError, match="source"):
        robot.read(source)


def test_a_policy_for_another_robot_is_refused_by_joint(tmp_path):
    own = RobotSimulation(write_robot(tmp_path)).contract
    other = Contract(
        "other", "", (Channel("knee", "joint_states.position:knee"),), own.action, own.period
    )
    with pytest.raises(PolicyError, match=r"'knee' is no joint of the model; known: .*left_hip"):
        RobotSimulation(write_robot(tmp_path), contract=other)
