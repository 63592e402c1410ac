"""A simulated robot's sensors speak in the base's frame, of one quaternion a rotation."""

from __future__ import annotations

import numpy as np
import pytest
from robot_files import MJCF, write_robot

from qpolicy_ros.policy.sources import TOPICS
from qpolicy_ros.sim.display import mujoco
from qpolicy_ros.sim.robot import RobotSimulation


def acceleration(robot):
    return [robot.read(f"imu.linear_acceleration:{axis}") for axis in "xyz"]


@pytest.fixture
def with_site(tmp_path):
    """Open the robot with an inertial sensor's site on a body, turned."""

    def opener(euler, body="trunk"):
        geom = "left_foot" if body == "left" else "trunk"
        path = write_robot(tmp_path, imu="imu")
        site = f'<site name="imu" euler="{euler}"/><geom name="{geom}"'
        (tmp_path / "biped.xml").write_text(MJCF.replace(f'<geom name="{geom}"', site, 1))
        robot = RobotSimulation(path)
        robot.reset(0)
        for _ in range(100):
            robot.step(robot.contract.default)
        return robot

    return opener


@pytest.mark.parametrize("euler", ["180 0 0", "0 0 90", "30 40 50"])
def test_a_turned_sensor_measures_in_the_bases_frame(with_site, euler):
    straight = acceleration(with_site("0 0 0"))
    assert acceleration(with_site(euler)) == pytest.approx(straight, abs=1e-9)


def test_a_sensor_on_another_body_measures_in_the_bases_frame(with_site):
    robot = with_site("0 0 90", body="left")
    data, up = robot.data, np.array(acceleration(robot))
    # At rest what it measures is the way up, in the base's frame.
    mujoco.mj_forward(robot.model, data)
    gravity = [robot.read(f"imu.projected_gravity:{axis}") for axis in "xyz"]
    assert up / np.linalg.norm(up) == pytest.approx(-np.array(gravity), abs=0.15)


@pytest.mark.parametrize(
    "field",
    [f"{topic}.{field}" for topic in TOPICS for field in TOPICS[topic] if field == "orientation"],
)
def test_a_rotation_has_one_quaternion(tmp_path, field):
    robot = RobotSimulation(write_robot(tmp_path))
    robot.reset(0)
    try:
        read = [robot.sensors.reader(f"{field}:{axis}") for axis in "xyzw"]
    except ValueError as error:
        pytest.skip(str(error))  # not every source is simulated
    robot.data.qpos[3:7] = (0.8, 0.0, 0.6, 0.0)
    straight = [each() for each in read]
    robot.data.qpos[3:7] *= -1
    assert [each() for each in read] == straight == [0.0, 0.6, 0.0, 0.8]
