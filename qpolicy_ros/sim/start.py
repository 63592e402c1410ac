"""The state from which a robot's episodes start."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.sim.description import RobotDescription
from qpolicy_ros.sim.display import mujoco
from qpolicy_ros.sim.names import nearest
from qpolicy_ros.sim.robot_model import BuiltRobot

_ALIKE = 0.15  # rad: how far a keyframe's joints may be from the default pose
_REACH = 2.0  # m: how far above or below its model's place a base is looked for
_HALVINGS = 14
_FREE = mujoco.mjtJoint.mjJNT_FREE


def start_pose(
    model: Any, description: RobotDescription, pose: dict[int, float], built: BuiltRobot
) -> npt.NDArray[np.float64]:
    """Return ``qpos`` of the start.

    A described height takes the default pose at it. Else the named keyframe, or the one nearest
    the default pose, is taken as it is; else the default pose, standing on what is below it.

    Args:
        model: compiled.
        description: of the robot.
        pose: index in ``qpos`` -> default position of that joint.
        built: with the keyframes.

    Raises:
        PolicyError: no such keyframe.
    """
    start: npt.NDArray[np.float64] = np.array(model.qpos0)
    places = np.array(list(pose), np.intp)
    values = np.array(list(pose.values()))
    base = int(model.body(built.base).jntadr[0]) if built.base else -1
    height = int(model.jnt_qposadr[base]) + 2 if built.base else -1
    if description.height is not None and built.base:
        start[height - 2 : height + 5] = (0, 0, description.height, 1, 0, 0, 0)
        start[places] = values
        return start
    whole = {
        name: q
        for name, q in built.keyframes.items()
        if q.size == model.nq and np.isfinite(q).all()
    }
    for q in whole.values():
        mujoco.mj_normalizeQuat(model, q)  # as MuJoCo reads it: four zeros are no rotation
    if description.start:
        if description.start not in whole:
            where = description.file or description.name
            wrong = f"{description.start!r} is no keyframe of the model"
            raise PolicyError.at(where, "start", wrong, nearest(description.start, [*whole]))
        return whole[description.start]
    apart = {name: float(np.abs(q[places] - values).max(initial=0)) for name, q in whole.items()}
    best = min(apart, key=apart.__getitem__, default=None)
    if best is not None and (apart[best] <= _ALIKE or not pose):
        return whole[best]
    start[places] = values
    if built.base:
        start[height] = _standing(model, start, height)
    return start


def _standing(model: Any, start: npt.NDArray[np.float64], height: int) -> float:
    """Return the lowest height of the base at which nothing of the robot is inside the world."""
    data = mujoco.MjData(model)

    def inside(z: float) -> bool:
        data.qpos[:] = start
        data.qpos[height] = z
        mujoco.mj_fwdPosition(model, data)
        world = model.geom_bodyid[data.contact.geom] == 0
        return bool((world.any(axis=1) & (data.contact.dist < 0)).any()) if data.ncon else False

    low, high = start[height] - _REACH, start[height] + _REACH
    if inside(high):
        return float(start[height])
    # From above down to the first height at which something touches.
    steps = np.arange(high, low, -0.02)
    touching = next((z for z in steps if inside(z)), None)
    if touching is None:
        return float(start[height])
    low, high = touching, touching + 0.02
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) else (low, middle)
    return float(high)
