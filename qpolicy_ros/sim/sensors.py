"""What a simulated robot's sensors say: the raw value of every source of a contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.policy.sources import (
    CMD_VEL,
    IMU,
    JOINT_STATES,
    ODOM,
    parse_source,
    projected_gravity,
)

ACCELEROMETER = "qpolicy_accelerometer"
_AXES = "xyzw"


class Sensors:
    """Reads the state of a model with one floating base.

    Args:
        model, data: MuJoCo model, with the accelerometer of ``build_model``, and its state.
        base: name of the body with the free joint.
        where: what an error names first: the description's file.

    Attributes:
        command: commanded velocity (6,): linear x, y, z (m/s), angular x, y, z (rad/s).
        base: where the free joint begins in ``qpos`` and in ``qvel``.

    Raises:
        PolicyError: ``base`` is no body with a free joint.
    """

    def __init__(self, model: Any, data: Any, base: str, where: str) -> None:
        self._model, self._data, self._where = model, data, where
        self.command = np.zeros(6)
        self.base = self._free_joint(base)
        self._acceleration = int(model.sensor(ACCELEROMETER).adr[0])

    def reader(self, text: str) -> Callable[[], float]:
        """Return a function that reads the source ``text``, SI units.

        Raises:
            PolicyError: not a source, none of a sensor, or of a joint that the model lacks.
        """
        try:
            source = parse_source(text)
        except ValueError as error:
            remedy = "see docs/artifact.md for what there is"
            raise PolicyError.at(self._where, "source", str(error), remedy) from error
        if not source.external:
            remedy = "ask the policy's Assembler for it"
            raise PolicyError.at(self._where, "source", f"{text!r} is no sensor's", remedy)
        array, index = self._place(source.topic, source.field, source.key)
        if callable(array):
            return lambda: float(array()[index])
        return lambda: float(array[index])

    def velocity(self) -> np.ndarray:
        """Velocity of the base in its own frame, m/s (3,)."""
        q, v = self.base
        result = np.empty(3)
        inverse = self._data.qpos[q + 3 : q + 7] * (1.0, -1.0, -1.0, -1.0)
        mujoco.mju_rotVecQuat(result, self._data.qvel[v : v + 3], inverse)
        return result

    def gravity(self) -> tuple[float, float, float]:
        """Gravity's unit vector in the base's frame."""
        w, x, y, z = self._data.qpos[self.base[0] + 3 : self.base[0] + 7]
        return projected_gravity(x, y, z, w)

    def joint(self, name: str) -> Any:
        """Return the model's joint ``name``; PolicyError where there is none."""
        try:
            return self._model.joint(name)
        except KeyError as error:
            known = ", ".join(self._model.joint(i).name for i in range(self._model.njnt))
            wrong = f"{name!r} is no joint of the model"
            raise PolicyError.at(self._where, "joint", wrong, f"known: {known}") from error

    def _place(self, topic: str, field: str, key: str) -> tuple[Any, int]:
        """Return the array, or the function that gives one, and the index of a value."""
        data, (q, v) = self._data, self.base
        if topic == JOINT_STATES:
            joint = self.joint(key)
            return {
                "position": (data.qpos, int(joint.qposadr[0])),
                "velocity": (data.qvel, int(joint.dofadr[0])),
                "effort": (data.qfrc_actuator, int(joint.dofadr[0])),
            }[field]
        axis = _AXES.index(key)
        # ROS puts a quaternion's w last, MuJoCo first.
        orientation = (data.qpos, q + 3 + (axis + 1) % 4)
        # MuJoCo gives a free joint's angular velocity in the body's frame.
        angular = (data.qvel, v + 3 + axis)
        places: dict[tuple[str, str], tuple[Any, int]] = {
            (CMD_VEL, "linear"): (self.command, axis),
            (CMD_VEL, "angular"): (self.command, axis + 3),
            (IMU, "orientation"): orientation,
            (IMU, "angular_velocity"): angular,
            (IMU, "linear_acceleration"): (data.sensordata, self._acceleration + axis),
            (IMU, "projected_gravity"): (self.gravity, axis),
            (ODOM, "position"): (data.qpos, q + axis),
            (ODOM, "orientation"): orientation,
            (ODOM, "linear_velocity"): (self.velocity, axis),
            (ODOM, "angular_velocity"): angular,
        }
        if (topic, field) not in places:
            wrong = f"{topic}.{field}:{key} is none of a simulated robot's sensors"
            known = ", ".join(dict.fromkeys([JOINT_STATES, *(name for name, _ in places)]))
            raise PolicyError.at(self._where, "source", wrong, f"simulated are {known}")
        return places[topic, field]

    def _free_joint(self, name: str) -> tuple[int, int]:
        try:
            body = self._model.body(name)
            joint = self._model.joint(int(body.jntadr[0])) if body.jntnum[0] else None
        except KeyError:
            joint = None
        if joint is None or joint.type[0] != mujoco.mjtJoint.mjJNT_FREE:
            wrong = f"{name!r} is no body with a free joint"
            raise PolicyError.at(self._where, "base", wrong, "name the robot's floating body")
        return int(joint.qposadr[0]), int(joint.dofadr[0])
