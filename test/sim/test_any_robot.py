"""Any MJCF file as a robot: what it leaves out, the policy's contract says."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest
import yaml
from balancer import MJCF, balancer, contract, write_balancer

from qpolicy_ros.backends import create_backend
from qpolicy_ros.policy import ActionChannel, Channel, Contract, PolicyError
from qpolicy_ros.policy.model import EFFORT, VELOCITY
from qpolicy_ros.sim import open_simulation
from qpolicy_ros.sim.mjcf import MjcfSimulation
from qpolicy_ros.sim.robot import RobotSimulation

LEG = """
<mujoco>{head}
  <worldbody>{floor}<body name="trunk" pos="0 0 0.6"><freejoint/>
    <geom type="box" size="0.1 0.1 0.05" mass="2"/>{trunk}
    <body name="leg"><joint name="hip" axis="0 1 0" {joint}/>
      <geom type="capsule" fromto="0 0 0 0 0 -0.4" size="0.03" mass="0.5"/></body>
  </body></worldbody>{rest}
</mujoco>
"""


def leg(folder, *, head="", floor="", trunk="", joint="", rest=""):
    path = folder / "leg.xml"
    path.write_text(LEG.format(head=head, floor=floor, trunk=trunk, joint=joint, rest=rest))
    return str(path)


def hip(**changes):
    """A contract that sees gravity and drives one joint."""
    action = ActionChannel("hip", -1.0, 1.0, 0.2, **{"kp": 40.0, "kd": 2.0, **changes})
    return Contract("leg", "", (Channel("g", "imu.projected_gravity:z"),), (action,), 0.02)


def test_a_file_without_actuators_and_floor_gets_both(tmp_path):
    model = RobotSimulation(leg(tmp_path), contract=hip()).model
    assert model.actuator_gainprm[0, 0] == 40
    assert model.actuator_biasprm[0, :3].tolist() == [0, -40, -2]
    assert model.opt.integrator == mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    assert model.opt.timestep == 0.005
    assert model.dof_armature[6] == 0.01
    assert mujoco.mjtGeom.mjGEOM_PLANE in model.geom_type


def test_a_floor_that_is_there_is_the_only_one(tmp_path):
    plane = '<geom type="plane" size="1 1 1"/>'
    model = RobotSimulation(leg(tmp_path, floor=plane), contract=hip()).model
    assert (model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE).sum() == 1


def test_a_motor_becomes_the_drivers_position_loop_within_its_torque(tmp_path):
    motor = '<actuator><motor joint="hip" gear="5" ctrlrange="-2 2"/></actuator>'
    robot = RobotSimulation(leg(tmp_path, rest=motor), contract=hip())
    robot.reset(0)
    assert robot.model.actuator_forcerange[0].tolist() == [-10, 10]
    robot.model.opt.gravity[:] = 0
    for _ in range(100):
        robot.step(np.array([0.4], np.float32))
    assert robot.read("joint_states.position:hip") == pytest.approx(0.4, abs=0.02)


def test_the_contracts_gains_hold_over_the_models(tmp_path):
    own = '<actuator><position joint="hip" kp="7"/></actuator>'
    path = leg(tmp_path, rest=own)
    assert RobotSimulation(path, contract=hip()).model.actuator_gainprm[0, 0] == 40
    unknown = hip(kp=None, kd=None)
    assert RobotSimulation(path, contract=unknown).model.actuator_gainprm[0, 0] == 7


def test_damping_that_the_model_has_in_its_joint_is_not_added_again(tmp_path):
    own = '<actuator><position joint="hip" kp="40"/></actuator>'
    path = leg(tmp_path, joint='damping="2"', rest=own)
    assert RobotSimulation(path, contract=hip()).model.actuator_biasprm[0, 2] == 0


@pytest.mark.parametrize(
    ("kind", "value", "source", "reached"),
    [(VELOCITY, 0.5, "velocity", 0.5), (EFFORT, 0.3, "effort", 0.3)],
)
def test_velocities_and_efforts_are_commanded_in_si_units(tmp_path, kind, value, source, reached):
    motor = '<actuator><motor joint="hip" gear="5" ctrlrange="-2 2"/></actuator>'
    robot = RobotSimulation(leg(tmp_path, rest=motor), contract=hip(kind=kind, kd=20.0))
    robot.reset(0)
    robot.model.opt.gravity[:] = 0
    for _ in range(10):
        robot.step(np.array([value], np.float32))
    assert robot.read(f"joint_states.{source}:hip") == pytest.approx(reached, abs=0.02)


def test_an_action_may_name_an_actuator_such_as_a_thrust(tmp_path):
    thrust = (
        '<actuator><general name="lift" site="s" gear="0 0 1 0 0 0" ctrlrange="0 50"/></actuator>'
    )
    path = leg(tmp_path, trunk='<site name="s"/>', rest=thrust)
    lift = replace(hip(), action=(ActionChannel("lift", 0.0, 50.0, 0.0),))
    robot = RobotSimulation(path, contract=lift)
    robot.reset(0)
    height = robot.read("odom.position:z")
    for _ in range(20):
        robot.step(np.array([40.0], np.float32))
    assert robot.read("odom.position:z") > height + 0.2


def test_a_joint_without_actuator_and_gains_is_refused_in_one_line(tmp_path):
    with pytest.raises(PolicyError, match=r"'hip' has no actuator, and no gains .* kp") as caught:
        RobotSimulation(leg(tmp_path), contract=hip(kp=None, kd=None))
    assert "\n" not in str(caught.value)


def test_a_joint_that_the_robot_lacks_is_refused_with_the_known_ones(tmp_path):
    other = replace(hip(), action=(ActionChannel("hips", -1.0, 1.0, 0.0),))
    with pytest.raises(PolicyError, match=r"'hips' is no joint and no actuator .*; known: .*hip"):
        RobotSimulation(leg(tmp_path), contract=other)


def test_a_fixed_base_is_level_and_still(tmp_path):
    path = tmp_path / "arm.xml"
    path.write_text(
        '<mujoco><worldbody><body><joint name="hip" axis="0 1 0"/>'
        '<geom size="0.1" pos="0 0 -0.3"/></body></worldbody></mujoco>'
    )
    robot = RobotSimulation(str(path), contract=hip(), fallen_below=0.6, max_episode_steps=5)
    robot.reset(0)
    outcomes = [robot.step(np.array([0.2], np.float32)) for _ in range(5)]
    assert [seen[0] for seen, *_ in outcomes] == [-1.0] * 5
    assert [fallen for *_, fallen, _ in outcomes] == [False] * 5
    assert robot.read("odom.linear_velocity:x") == 0


def test_meshes_that_are_missing_are_left_out(tmp_path, capsys):
    mesh = '<asset><mesh name="shell" file="shell.stl"/></asset>'
    shown = '<geom type="mesh" mesh="shell" contype="0" conaffinity="0"/>'
    RobotSimulation(leg(tmp_path, head=mesh, trunk=shown), contract=hip())
    assert capsys.readouterr().err == ""
    shown = '<geom type="mesh" mesh="shell"/>'
    RobotSimulation(leg(tmp_path, head=mesh, trunk=shown), contract=hip())
    assert "1 colliding geoms left out: no mesh files" in capsys.readouterr().err


def test_what_gives_a_body_its_inertia_is_kept(tmp_path):
    shown = '<geom size="0.2" mass="3" contype="0" conaffinity="0"/>'
    model = RobotSimulation(leg(tmp_path, trunk=shown), contract=hip()).model
    assert model.body("trunk").mass[0] == 5


KEYS = (
    '<keyframe><key name="up" qpos="0 0 0.9 1 0 0 0 1.2"/>'
    '<key name="bent" qpos="0 0 0.7 1 0 0 0 0.25"/></keyframe>'
)


def test_the_start_is_the_keyframe_nearest_the_default_pose(tmp_path):
    robot = RobotSimulation(leg(tmp_path, rest=KEYS), contract=hip())
    robot.reset(0)
    assert robot.data.qpos[2] == 0.7
    assert abs(robot.data.qpos[7] - 0.25) <= 0.05


def test_a_keyframe_may_be_named_in_a_description(tmp_path):
    leg(tmp_path, rest=KEYS)
    description = tmp_path / "leg.yaml"
    description.write_text(yaml.safe_dump({"model": {"file": "leg.xml"}, "start": "up"}))
    robot = RobotSimulation(str(description), contract=hip())
    robot.reset(0)
    assert robot.data.qpos[2] == 0.9
    description.write_text(yaml.safe_dump({"model": {"file": "leg.xml"}, "start": "upp"}))
    with pytest.raises(PolicyError, match="start: 'upp' is no keyframe of the model; nearest: up"):
        RobotSimulation(str(description), contract=hip())


def test_without_a_keyframe_it_stands_on_the_floor_in_the_default_pose(tmp_path):
    robot = RobotSimulation(leg(tmp_path), contract=hip())
    robot.stand(np.random.default_rng(0), 0.0)
    assert robot.data.qpos[7] == pytest.approx(0.2)
    assert robot.data.qpos[2] == pytest.approx(0.4 * np.cos(0.2) + 0.03, abs=2e-3)
    assert robot.data.contact.dist.min(initial=0) >= -1e-3


def test_sensors_are_at_the_models_own_gyro_and_velocimeter(tmp_path):
    site = '<site name="imu" pos="0.1 0.2 0.05" quat="0.9 0.1 0.3 0.2"/>'
    sensors = (
        '<sensor><gyro name="w" site="imu"/><velocimeter name="v" site="imu"/>'
        '<framezaxis name="up" objtype="site" objname="imu"/></sensor>'
    )
    robot = RobotSimulation(leg(tmp_path, trunk=site, rest=sensors), contract=hip())
    robot.reset(0)
    robot.data.qpos[3:7] = np.array([0.8, 0.2, -0.3, 0.4]) / np.linalg.norm([0.8, 0.2, -0.3, 0.4])
    robot.data.qvel[:6] = (0.4, -0.2, 0.1, 1.0, -2.0, 0.5)
    mujoco.mj_forward(robot.model, robot.data)

    def read(field):
        return [robot.read(f"{field}:{axis}") for axis in "xyz"]

    assert read("imu.angular_velocity") == pytest.approx(robot.data.sensor("w").data.tolist())
    assert read("odom.linear_velocity") == pytest.approx(robot.data.sensor("v").data.tolist())
    frame = robot.data.site("imu").xmat.reshape(3, 3)
    assert read("imu.projected_gravity") == pytest.approx((frame.T @ (0, 0, -1)).tolist())


@pytest.mark.parametrize("text", ["not xml", "<robot name='a'/>", "<mujoco><worldbody/></mujoco>"])
def test_what_is_no_model_of_this_robot_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "robot.xml"
    path.write_text(text)
    with pytest.raises(PolicyError, match=r"robot\.xml: ") as caught:
        RobotSimulation(str(path), contract=hip())
    assert "\n" not in str(caught.value)


def test_a_robot_of_another_kind_keeps_its_balance(tmp_path):
    policy = balancer()
    robot = RobotSimulation(write_balancer(tmp_path), contract=policy.contract, fallen_below=0.6)
    robot.command = np.array([0.3, 0, 0, 0, 0, 0])
    backend = create_backend("fp32", policy)
    seen = robot.reset(0)
    for _ in range(200):
        seen, _, fallen, _ = robot.step(backend.act(seen))
        assert not fallen
    assert robot.mean_velocity[0] == pytest.approx(0.3, abs=0.05)


def test_a_robot_that_tips_over_has_fallen_however_high_its_base(tmp_path):
    robot = RobotSimulation(write_balancer(tmp_path), contract=contract(), fallen_below=0.6)
    robot.reset(0)
    robot.data.qvel[4] = 1.0
    fallen = [robot.step(np.zeros(2, np.float32))[2] for _ in range(150)]
    assert fallen[-1]
    assert not fallen[0]


def test_a_bare_file_still_opens_without_a_policy(tmp_path):
    assert "<motor" in MJCF
    assert isinstance(open_simulation(write_balancer(tmp_path)), MjcfSimulation)
    described = open_simulation(write_balancer(tmp_path), contract=contract())
    assert isinstance(described, RobotSimulation)
    of_features = MjcfSimulation(write_balancer(tmp_path)).contract
    bare = open_simulation(write_balancer(tmp_path), contract=of_features)
    assert isinstance(bare, MjcfSimulation)


BALL = '<body name="ball" pos="2 0 1"><freejoint/><geom size="0.1"/></body>'


def test_the_base_is_the_free_body_that_carries_the_joints(tmp_path):
    robot = RobotSimulation(leg(tmp_path, floor=BALL), contract=hip())
    assert robot.built.base == "trunk"
    robot.reset(0)
    turned = robot.data.qpos[10:14]  # behind the ball's
    turned[:] = (0.5**0.5, 0.5**0.5, 0, 0)
    assert robot.read("imu.projected_gravity:z") == pytest.approx(0, abs=1e-9)


def test_a_base_without_a_name_is_not_fixed(tmp_path):
    path = leg(tmp_path)
    text = (tmp_path / "leg.xml").read_text()
    (tmp_path / "leg.xml").write_text(text.replace(' name="trunk"', ""))
    robot = RobotSimulation(path, contract=hip())
    robot.reset(0)
    robot.data.qpos[3:7] = (0.5**0.5, 0.5**0.5, 0, 0)
    assert robot.read("imu.projected_gravity:z") == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("gear", [-5, 0.5])
def test_gains_hold_at_the_joint_whatever_the_gear(tmp_path, gear):
    own = f'<actuator><position joint="hip" kp="7" gear="{gear}" forcerange="-2 2"/></actuator>'
    model = RobotSimulation(leg(tmp_path, rest=own), contract=hip()).model
    assert model.actuator_gear[0, 0] == 1
    assert model.actuator_gainprm[0, 0] == 40
    assert model.actuator_forcerange[0].tolist() == [-2 * abs(gear), 2 * abs(gear)]


def test_gains_that_the_gear_makes_are_the_contracts(tmp_path):
    own = '<actuator><position joint="hip" kp="10" kv="0.5" gear="-2"/></actuator>'
    robot = RobotSimulation(leg(tmp_path, rest=own), contract=hip())
    assert robot.model.actuator_gainprm[0, 0] == 10  # 10 times 2 squared are the 40 asked for
    robot.reset(0)
    robot.model.opt.gravity[:] = 0
    for _ in range(100):
        robot.step(np.array([0.4], np.float32))
    assert robot.read("joint_states.position:hip") == pytest.approx(0.4, abs=0.02)


def test_of_two_actuators_of_a_joint_the_one_of_the_actions_kind_stays(tmp_path):
    both = '<motor name="m" joint="hip"/><position name="p" joint="hip" kp="40" kv="2"/>'
    robot = RobotSimulation(leg(tmp_path, rest=f"<actuator>{both}</actuator>"), contract=hip())
    assert [robot.model.actuator(i).name for i in range(robot.model.nu)] == ["p"]


def test_a_joint_that_turns_in_three_directions_is_refused(tmp_path):
    path = leg(tmp_path)
    text = (tmp_path / "leg.xml").read_text()
    (tmp_path / "leg.xml").write_text(text.replace('axis="0 1 0"', 'type="ball"'))
    with pytest.raises(PolicyError, match=r"joint: 'hip' turns in more than one direction; an a"):
        RobotSimulation(path, contract=hip())
    neck = '<body><joint name="neck" type="ball"/><geom size="0.1"/></body>'
    ball = text.replace('<body name="leg">', f'{neck}<body name="leg">')
    (tmp_path / "leg.xml").write_text(ball)
    sees = replace(hip(), observation=(Channel("n", "joint_states.position:neck"),))
    with pytest.raises(PolicyError, match="joint: 'neck' has more than one position"):
        RobotSimulation(path, contract=sees)


@pytest.mark.parametrize("q", ["0 0 0.7 0 0 0 0 0.2", "0 0 nan 1 0 0 0 0.2"])
def test_a_keyframe_that_is_no_pose_does_not_lay_the_robot_down(tmp_path, q):
    key = f'<keyframe><key qpos="{q}"/></keyframe>'
    robot = RobotSimulation(leg(tmp_path, rest=key), contract=hip())
    assert robot.reset(0).tolist() == [pytest.approx(-1, abs=0.05)]
    assert np.isfinite(robot.data.qpos).all()
