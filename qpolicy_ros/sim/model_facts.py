"""The joints, poses and gains of an MJCF file, read without its meshes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.policy.robot_facts import RobotFacts
from qpolicy_ros.sim.actuators import JOINT_KINDS, check_targets
from qpolicy_ros.sim.description import RobotDescription, find_robot, is_robot
from qpolicy_ros.sim.display import mujoco

_MOST_BYTES = 64 << 20
# Positions that a joint takes in a keyframe.
_SLOTS = {
    mujoco.mjtJoint.mjJNT_FREE: 7,
    mujoco.mjtJoint.mjJNT_BALL: 4,
    mujoco.mjtJoint.mjJNT_SLIDE: 1,
    mujoco.mjtJoint.mjJNT_HINGE: 1,
}
_SCALAR = {mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE}


def robot_facts(name: str) -> RobotFacts:
    """Read a robot: an MJCF file, or a described robot's name or YAML file.

    Raises:
        PolicyError: there is none of that name, or it is no model.
    """
    if is_robot(name):
        return _described(find_robot(name))
    return read_facts(Path(name))


def read_facts(path: Path) -> RobotFacts:
    """Read an MJCF file; nothing of it is compiled, so meshes and textures may be missing.

    Raises:
        PolicyError: no such file, or no MJCF file.
    """
    remedy = "give the robot's MJCF file or the name of a described robot"
    if not path.is_file():
        raise PolicyError.at(path, "--robot", "is no file and no described robot", remedy)
    if path.stat().st_size > _MOST_BYTES:
        raise PolicyError.at(path, "--robot", f"is larger than {_MOST_BYTES} bytes", remedy)
    try:
        spec = mujoco.MjSpec.from_file(str(path))
    except (ValueError, RuntimeError, mujoco.FatalError) as error:
        reason = " ".join(str(error).split())
        raise PolicyError.at(path, "--robot", f"is no MJCF file: {reason}", remedy) from error
    joints = [joint for joint in spec.joints if joint.type in _SCALAR]
    if not joints:
        raise PolicyError.at(path, "--robot", "has no joints", remedy)
    actuators = [a for a in spec.actuators if a.trntype in JOINT_KINDS]
    check_targets(path, spec)
    return RobotFacts(
        file=str(path),
        joints=tuple(joint.name for joint in joints),
        actuated=tuple(actuator.target for actuator in actuators),
        ranges={j.name: (float(j.range[0]), float(j.range[1])) for j in joints},
        poses={key.name: _pose(spec, key) for key in spec.keys if len(key.qpos)},
        actuators={actuator.name: actuator.target for actuator in actuators if actuator.name},
        kp={a.target: float(a.gainprm[0]) for a in actuators if _is_position(a)},
        kd={
            a.target: -float(a.biasprm[2])
            for a in actuators
            if _is_position(a) and a.biasprm[2] < 0
        },
    )


def _is_position(actuator: Any) -> bool:
    return bool(actuator.gainprm[0] > 0 and actuator.biasprm[1] == -actuator.gainprm[0])


def _pose(spec: Any, key: Any) -> dict[str, float]:
    """Positions of the scalar joints in a keyframe."""
    pose, at = {}, 0
    for joint in spec.joints:
        if joint.type in _SCALAR and at < len(key.qpos):
            pose[joint.name] = float(key.qpos[at])
        at += _SLOTS[joint.type]
    return pose


def _described(description: RobotDescription) -> RobotFacts:
    joints = tuple(description.joints)
    gains = description.position_control
    return RobotFacts(
        file=description.file,
        joints=joints,
        actuated=joints,
        poses={"default": {name: joint.default for name, joint in description.joints.items()}},
        kp=dict.fromkeys(joints, float(gains["kp"])) if "kp" in gains else {},
        kd=dict.fromkeys(joints, float(gains["kv"])) if "kv" in gains else {},
    )
