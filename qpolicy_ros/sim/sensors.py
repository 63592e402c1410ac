"""What a simulated robot's sensors say: the raw value of every source of a contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.policy.sources import (
    CMD_VEL,
    IMU,
    JOINT_STATES,
    ODOM,
    TWIST,
    canonical_quaternion,
    parse_source,
    projected_gravity,
)
from qpolicy_ros.sim.display import mujoco
from qpolicy_ros.sim.names import nearest

ACCELEROMETER = "qpolicy_accelerometer"
_AXES = "xyzw"
_STILL = (np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))
_OWN = ("position", "velocity", "effort")  # fields of joint_states
_SCALAR = (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)


class Sensors:
    """Reads the state of a robot, with a floating or with a fixed base.

    ``imu`` is in the frame of a site, ``odom`` too; both are the base's own where none is named.

    Args:
        model, data: MuJoCo model, with the accelerometer of ``build_model``, and its state.
        base: name of the body with the free joint; empty: the base is fixed.
        where: what an error names first: the description's file.
        imu, odom: sites on the base; empty takes the base.

    Attributes:
        command: commanded velocity (6,): linear x, y, z (m/s), angular x, y, z (rad/s).
        base: where the free joint begins in ``qpos`` and in ``qvel``; None where it is fixed.

    Raises:
        PolicyError: ``base`` is no body with a free joint, or a site is not on it.
    """

    def __init__(
        self, model: Any, data: Any, base: str, where: str, imu: str = "", odom: str = ""
    ) -> None:
        self._model, self._data, self._where = model, data, where
        self.command = np.zeros(6)
        self.base = self._free_joint(base) if base else None
        self._imu, self._odom = (self._frame(base, site) for site in (imu, odom))
        accelerometer = model.sensor(ACCELEROMETER)
        self._acceleration = int(accelerometer.adr[0])
        self._site = int(accelerometer.objid[0])
        # Where the accelerometer measures in another frame than the rest of `imu`: its body's id.
        self._turned: int | None = None
        if base and not imu:
            body = model.body(base).id
            straight = np.array_equal(model.site_quat[self._site], (1.0, 0.0, 0.0, 0.0))
            if not straight or model.site_bodyid[self._site] != body:
                self._turned = body
        # What the base's sensors say, computed anew by `look`: see `_SLOTS`.
        self._seen = np.zeros(_SLOTS["size"] + 3)

    def reader(self, text: str) -> Callable[[], float]:
        """Return a function that reads the source ``text``, SI units.

        Raises:
            PolicyError: not a source, none of a sensor, or of a joint that the model lacks.
        """
        read = self.gather((text,))
        return lambda: float(read()[0])

    def gather(self, texts: Sequence[str]) -> Callable[[], npt.NDArray[np.float64]]:
        """Return a function that reads many sources at once, float64 in their order.

        Raises:
            PolicyError: as :meth:`reader`.
        """
        places = [self._place(text) for text in texts]
        data = self._data
        arrays = [data.qpos, data.qvel, data.qfrc_actuator, data.sensordata, self.command]
        taken = [
            ([i for i, p in enumerate(places) if p[0] == a], [p[1] for p in places if p[0] == a])
            for a in range(len(arrays) + 1)
        ]
        parts = [
            (arrays[a], np.array(to), np.array(at)) for a, (to, at) in enumerate(taken[:-1]) if to
        ]
        own_to, own_at = (np.array(list_, np.intp) for list_ in taken[-1])
        result = np.empty(len(places))

        def read() -> npt.NDArray[np.float64]:
            for array, to, at in parts:
                result[to] = array[at]
            if own_to.size:
                self._look()
                result[own_to] = self._seen[own_at]
            return result.copy()

        return read

    def velocity(self) -> np.ndarray:
        """Velocity of the base's origin in its own frame, m/s (3,)."""
        if self.base is None:
            return np.zeros(3)
        q, v = self.base
        result = np.empty(3)
        inverse = self._data.qpos[q + 3 : q + 7] * (1.0, -1.0, -1.0, -1.0)
        mujoco.mju_rotVecQuat(result, self._data.qvel[v : v + 3], inverse)
        return result

    def turning(self) -> float:
        """Return the base's angular velocity about its own z axis, rad/s."""
        return 0.0 if self.base is None else float(self._data.qvel[self.base[1] + 5])

    def gravity(self) -> tuple[float, float, float]:
        """Gravity's unit vector in the base's frame."""
        if self.base is None:
            return (0.0, 0.0, -1.0)
        w, x, y, z = self._data.qpos[self.base[0] + 3 : self.base[0] + 7]
        return projected_gravity(x, y, z, w)

    def joint(self, name: str) -> Any:
        """Return the hinge or slide ``name``; PolicyError where there is none."""
        try:
            joint = self._model.joint(name)
        except KeyError as error:
            known = [self._model.joint(i).name for i in range(self._model.njnt)]
            wrong = f"{name!r} is no joint of the model"
            raise PolicyError.at(self._where, "joint", wrong, nearest(name, known)) from error
        if mujoco.mjtJoint(int(joint.type[0])) not in _SCALAR:
            wrong = f"{name!r} has more than one position, which joint_states cannot hold"
            raise PolicyError.at(self._where, "joint", wrong, "read a hinge or a slide")
        return joint

    def _place(self, text: str) -> tuple[int, int]:
        """Return which array of ``gather`` holds a source, and where in it."""
        try:
            source = parse_source(text)
        except ValueError as error:
            remedy = "see docs/artifact.md for what there is"
            raise PolicyError.at(self._where, "source", str(error), remedy) from error
        if not source.external:
            remedy = "ask the policy's Assembler for it"
            raise PolicyError.at(self._where, "source", f"{text!r} is no sensor's", remedy)
        topic, field, key = source
        if topic == JOINT_STATES:
            joint = self.joint(key)
            address = joint.qposadr if field == "position" else joint.dofadr
            return _OWN.index(field), int(address[0])
        axis = _AXES.index(key)
        if (topic, field) == (IMU, "linear_acceleration"):
            if self._turned is not None:
                return 5, _SLOTS["size"] + axis
            return 3, self._acceleration + axis
        if topic in (CMD_VEL, TWIST):
            return 4, axis + (3 if field == "angular" else 0)
        start = _SLOTS.get(f"{topic}.{field}")
        if start is None:
            wrong = f"{text!r} is of a topic that the simulated robot does not have"
            raise PolicyError.at(self._where, "source", wrong, "use imu, odom or joint_states")
        return 5, start + axis

    def _look(self) -> None:
        """Compute what the base's sensors say now."""
        seen = self._seen
        if self.base is None:
            position, turn, linear, angular = (*_STILL, _STILL[0], _STILL[0])
        else:
            q, v = self.base
            position, turn = self._data.qpos[q : q + 3], self._data.qpos[q + 3 : q + 7]
            linear = self.velocity()
            # MuJoCo gives a free joint's angular velocity in the body's frame.
            angular = self._data.qvel[v + 3 : v + 6]
        if self._turned is not None:
            site = self._data.site_xmat[self._site].reshape(3, 3)
            body = self._data.xmat[self._turned].reshape(3, 3)
            measured = self._data.sensordata[self._acceleration : self._acceleration + 3]
            seen[_SLOTS["size"] :] = body.T @ (site @ measured)
        for topic, (offset, frame) in ((IMU, self._imu), (ODOM, self._odom)):
            first = _SLOTS[topic]
            whole, spin = turn, angular
            there = linear
            if offset is not None:
                there = np.empty(3)
                mujoco.mju_cross(there, angular, offset)
                there += linear
            if frame is not None:
                back = frame * (1.0, -1.0, -1.0, -1.0)
                whole, spin, there = np.empty(4), np.empty(3), there.copy()
                mujoco.mju_mulQuat(whole, turn, frame)
                mujoco.mju_rotVecQuat(spin, angular, back)
                mujoco.mju_rotVecQuat(there, there.copy(), back)
            w, x, y, z = whole
            # ROS puts a quaternion's w last, MuJoCo first.
            seen[first : first + 4] = canonical_quaternion(x, y, z, w)
            seen[first + 4 : first + 7] = spin
            if topic == IMU:
                seen[first + 7 : first + 10] = projected_gravity(x, y, z, w)
            else:
                seen[first + 7 : first + 10] = there
                seen[first + 10 : first + 13] = position
                if offset is not None:
                    moved = np.empty(3)
                    mujoco.mju_rotVecQuat(moved, offset, turn)
                    seen[first + 10 : first + 13] += moved

    def _frame(self, base: str, site: str) -> tuple[Any, Any]:
        """Return a site's offset and orientation in the base's frame, None where there is none."""
        if not site or not base:
            return None, None
        found = self._model.site(site)
        if found.bodyid[0] != self._model.body(base).id:
            wrong = f"site {site!r} is not on the base {base!r}"
            raise PolicyError.at(self._where, "imu", wrong, "name a site of the base")
        offset, frame = np.array(found.pos), np.array(found.quat)
        turned = not np.allclose(np.abs(frame[0]), 1.0, atol=1e-9)
        return (offset if offset.any() else None), (frame if turned else None)

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


# Where `Sensors._seen` holds what.
_SLOTS = {
    IMU: 0,
    f"{IMU}.orientation": 0,
    f"{IMU}.angular_velocity": 4,
    f"{IMU}.projected_gravity": 7,
    ODOM: 10,
    f"{ODOM}.orientation": 10,
    f"{ODOM}.angular_velocity": 14,
    f"{ODOM}.linear_velocity": 17,
    f"{ODOM}.position": 20,
    "size": 23,
}
