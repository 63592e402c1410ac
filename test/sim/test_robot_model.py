"""The same physics with a film and without one."""

from __future__ import annotations

import numpy as np
import pytest
from robot_files import MJCF, write_robot

from qpolicy_ros.sim.description import find_robot
from qpolicy_ros.sim.display import mujoco
from qpolicy_ros.sim.robot_model import build_model

INERTIAL = '<inertial pos="0 0 0" mass="1" diaginertia="0.01 0.01 0.01"/>'
FEET = (
    '<contact><pair geom1="ground" geom2="{foot}"/><pair geom1="ground" geom2="trunk"/></contact>'
)
MODELS = {
    "mass on a visual geom": MJCF.replace(INERTIAL, ""),
    "all mass on visual geoms": MJCF.replace(INERTIAL, "").replace(
        '<geom name="trunk"', '<geom name="trunk" mass="0"'
    ),
    "contacts by pairs": MJCF.replace(
        "<worldbody>",
        '<default><geom contype="0" conaffinity="0"/></default><worldbody>'
        '<geom name="ground" type="plane" size="0 0 1"/>',
    ).replace("<actuator>", FEET.format(foot="left_foot") + "<actuator>"),
    "a tendon around a visual geom": MJCF.replace(
        "<actuator>",
        '<tendon><spatial stiffness="50" springlength="0.01"><site site="a"/><geom geom="paint"/>'
        '<site site="b"/></spatial></tendon><actuator>',
    )
    .replace('name="paint" type="box" size="0.2 0.2 0.2"', 'name="paint" type="sphere" size="0.2"')
    .replace('<geom name="left_foot"', '<site name="a" pos="0 0.3 0"/><geom name="left_foot"')
    .replace('<geom name="right_foot"', '<site name="b" pos="0 -0.3 0"/><geom name="right_foot"'),
}


@pytest.mark.parametrize("xml", MODELS.values(), ids=MODELS)
def test_a_film_changes_nothing(tmp_path, xml):
    description = write_robot(tmp_path)
    (tmp_path / "biped.xml").write_text(xml)
    ends = []
    for visual in (True, False):
        robot = find_robot(description)
        model = build_model(robot, robot.contract(), visual=visual).model
        data = mujoco.MjData(model)
        mujoco.mj_step(model, data, 200)
        ends.append((model.body_mass, model.body_inertia, data.qpos.copy()))
    for with_film, headless in zip(*ends, strict=True):
        assert np.array_equal(with_film, headless)
