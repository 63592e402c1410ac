"""Physics that blows up ends the episode as failed and names the joint."""

from __future__ import annotations

import numpy as np
import pytest
from robot_files import write_robot

from qpolicy_ros.sim import open_simulation, rollout
from qpolicy_ros.sim.mjcf import MjcfSimulation

# A servo far too stiff for its time step.
UNSTABLE = """
<mujoco><option timestep="0.02" integrator="Euler"/><worldbody>
  <body pos="0 0 1"><joint name="arm" axis="0 1 0"/>
    <geom type="capsule" fromto="0 0 0 0 0 -.3" size=".02"/></body></worldbody>
  <actuator><position name="arm" joint="arm" kp="200000" ctrlrange="-2 2"/></actuator>
  <keyframe><key qpos="0.5" ctrl="0.5"/></keyframe></mujoco>
"""
JOINT = "the physics blew up: the acceleration of joint 'arm' is not finite or too large"


@pytest.fixture
def unstable(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "arm.xml").write_text(UNSTABLE)
    return str(tmp_path / "arm.xml")


def test_the_episode_ends_as_failed_and_names_the_joint(unstable, tmp_path):
    simulation = MjcfSimulation(unstable, max_episode_steps=60)
    episode = rollout(lambda _: np.ones(1, np.float32), simulation, 0)
    assert episode.fault.startswith(JOINT)
    assert episode.terminated
    assert episode.length < 60
    assert [file.name for file in tmp_path.iterdir()] == ["arm.xml"]  # no MUJOCO_LOG.TXT
    simulation.reset(1)
    assert simulation.fault == ""


def test_a_robot_that_blows_up_ends_its_episode(tmp_path):
    wild = {"kp": 1e9, "kv": 0}
    robot = open_simulation(write_robot(tmp_path, position_control=wild, option={}), None, 500)
    model = robot.model
    model.actuator_forcerange[:] = (-1e12, 1e12)
    episode = rollout(lambda _: robot.contract.high, robot, 0)
    assert "the physics blew up" in episode.fault
    assert np.isfinite(robot.step(robot.contract.high)[0]).all()


def test_sound_physics_has_no_fault(tmp_path):
    robot = open_simulation(write_robot(tmp_path), None, 5)
    assert rollout(lambda _: robot.contract.default, robot, 0).fault == ""
