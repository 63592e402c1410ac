"""A small described robot: a box on two hinged legs, floating over a floor."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.sim.menagerie import menagerie_model

MJCF = """
<mujoco><option timestep="0.005"/>
  <worldbody><body name="trunk" pos="0 0 0.5"><freejoint/>
    <inertial pos="0 0 0" mass="1" diaginertia="0.01 0.01 0.01"/>
    <geom name="trunk" type="box" size="0.1 0.1 0.05"/>
    <geom name="paint" type="box" size="0.2 0.2 0.2" contype="0" conaffinity="0"/>
    <body name="left" pos="0 0.1 0"><joint name="left_hip" axis="0 1 0" range="-115 115"/>
      <geom name="left_foot" type="sphere" size="0.03" pos="0 0 -0.2" mass="0.1"/></body>
    <body name="right" pos="0 -0.1 0"><joint name="right_hip" axis="0 1 0" range="-115 115"/>
      <geom name="right_foot" type="sphere" size="0.03" pos="0 0 -0.2" mass="0.1"/></body>
    </body></worldbody>
  <actuator><motor name="right" joint="right_hip" ctrlrange="-5 5"/>
    <motor name="left" joint="left_hip" ctrlrange="-5 5"/></actuator>
  <keyframe><key qpos="0 0 9 1 0 0 0 0 0"/></keyframe>
</mujoco>
"""


def description(**changes: object) -> dict[str, object]:
    """Return the description as YAML would give it; a change of None removes the field."""
    fields: dict[str, object] = {
        "name": "biped",
        "model": {"file": "biped.xml"},
        "floor": True,
        "option": {"cone": "elliptic", "integrator": "implicitfast"},
        "base": "trunk",
        "feet": {"groups": [["left_foot"], ["right_foot"]], "condim": 1},
        "position_control": {"kp": 20, "kv": 1},
        "period": 0.02,
        "height": 0.25,
        "joints": {
            "left_hip": {"default": 0.1, "scale": 0.5},
            "right_hip": {"default": -0.2, "scale": 0.25},
        },
        "observation": [
            {"source": "imu.projected_gravity:*"},
            {"source": "joint_states.position:*", "offset": "default", "scale": 2},
            {"source": "joint_states.velocity:left_hip", "low": -1, "high": 1},
            {"source": "cmd_vel.linear:x"},
            {"source": "previous_action:*"},
        ],
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def write_robot(folder: Path, **changes: object) -> str:
    """Write model and description into ``folder``; return the description's path."""
    (folder / "biped.xml").write_text(MJCF)
    path = folder / "biped.yaml"
    path.write_text(yaml.safe_dump(description(**changes)))
    return str(path)


def require_go2() -> None:
    """Skip the test where the Go2's model cannot be had."""
    try:
        menagerie_model("unitree_go2", "go2")
    except InputError as error:
        pytest.skip(str(error))
