"""Actuators for a contract's actions: the model's own, made to follow, or new ones.

An action names a joint, or an actuator. A joint's action is a position, a velocity or an effort in
SI units; the actuator that drives the joint is changed where it takes something else: a motor
becomes the position loop that the robot's driver closes around it (``kp``, ``kd``), its limits
stay. An actuator's action is its control as it is: a site's thrust, a muscle, anything.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qpolicy_ros.policy import ActionChannel, Contract, PolicyError
from qpolicy_ros.policy.model import EFFORT, POSITION, VELOCITY
from qpolicy_ros.sim.description import RobotDescription
from qpolicy_ros.sim.display import mujoco
from qpolicy_ros.sim.names import nearest

SCALAR_JOINTS = (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE)
JOINT_KINDS = (mujoco.mjtTrn.mjTRN_JOINT, mujoco.mjtTrn.mjTRN_JOINTINPARENT)


def drive_joints(spec: Any, description: RobotDescription, contract: Contract) -> bool:
    """Give every action of ``contract`` an actuator of its kind; return whether one is new.

    Raises:
        PolicyError: an action names neither a joint nor an actuator, an actuator a joint that is
            not there, or no gains are known.
    """
    where = description.file or description.name
    joints = [joint.name for joint in spec.joints]
    check_targets(where, spec)
    new = False
    for action in contract.action:
        if action.name in joints:
            if spec.joint(action.name).type not in SCALAR_JOINTS:
                wrong = f"{action.name!r} turns in more than one direction"
                remedy = "an action drives a hinge or a slide; name an actuator of it"
                raise PolicyError.at(where, "joint", wrong, remedy)
            new |= _drive(spec, _own(spec, action), action, description)
        elif spec.actuator(action.name) is None:
            known = [*joints, *(a.name for a in spec.actuators)]
            wrong = f"{action.name!r} is no joint and no actuator of the model"
            raise PolicyError.at(where, "joint", wrong, nearest(action.name, known))
    return new


def check_targets(where: object, spec: Any) -> None:
    """Refuse an actuator that drives a joint which is not there.

    Raises:
        PolicyError: names the actuator, what it drives and the nearest joints.
    """
    joints = [joint.name for joint in spec.joints]
    for actuator in spec.actuators:
        if actuator.trntype in JOINT_KINDS and actuator.target not in joints:
            wrong = f"{actuator.name!r} drives {actuator.target!r}, which is no joint of the model"
            raise PolicyError.at(where, "actuator", wrong, nearest(actuator.target, joints))


def actuator_of(model: Any, action: ActionChannel) -> tuple[int, float]:
    """Return the actuator of an action, and what the action is multiplied by to be its control."""
    joint = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, action.name)
    for index in range(model.nu if joint >= 0 else 0):
        if mujoco.mjtTrn(int(model.actuator_trntype[index])) in JOINT_KINDS:
            if model.actuator_trnid[index, 0] != joint:
                continue
            gear = float(model.actuator_gear[index, 0])
            return index, 1 / gear if action.kind == EFFORT else gear
    return int(model.actuator(action.name).id), 1.0


def _own(spec: Any, action: ActionChannel) -> Any:
    """Return the model's actuator for a joint's action, None where it has none.

    Of several the first of the action's kind stays; the others would pull against it at control 0.
    """
    driving = [a for a in spec.actuators if a.trntype in JOINT_KINDS and a.target == action.name]
    if not driving:
        return None
    kept = next((a for a in driving if _kind(a) == action.kind), driving[0])
    for actuator in driving:
        if actuator is not kept:
            spec.delete(actuator)
    return kept


def _drive(spec: Any, actuator: Any, action: ActionChannel, description: RobotDescription) -> bool:
    """Give one joint an actuator; return whether it is another than the model's."""
    gains = description.position_control
    kp = float(gains["kp"]) if gains else action.kp
    kd = float(gains["kv"]) if gains else action.kd
    if actuator is not None and _kind(actuator) == action.kind:
        damping = float(spec.joint(action.name).damping[0])
        if (kp is None and kd is None) or (not gains and _has_gains(actuator, kp, kd, damping)):
            return False
    if (action.kind == POSITION and kp is None) or (action.kind == VELOCITY and kd is None):
        where = description.file or description.name
        lacks = "has no actuator" if actuator is None else f"is driven by a {_kind(actuator)}"
        gain = "kp" if action.kind == POSITION else "kd"
        wrong = (
            f"{action.name!r} {lacks} actuator"
            if actuator is not None
            else (f"{action.name!r} {lacks}")
        )
        remedy = f"give the gain {gain} in the contract, or position_control in a description"
        raise PolicyError.at(where, "joint", f"{wrong}, and no gains are known", remedy)
    if actuator is None:
        actuator = spec.add_actuator(name=action.name, target=action.name)
        actuator.trntype = mujoco.mjtTrn.mjTRN_JOINT
    elif action.kind != EFFORT:
        _count_at_joint(actuator)
    if np.isfinite(action.effort_limit):
        actuator.forcerange = [-action.effort_limit, action.effort_limit]
        actuator.forcelimited = mujoco.mjtLimited.mjLIMITED_TRUE
    if action.kind == POSITION:
        actuator.set_to_position(kp=kp, kv=kd or 0.0)
    elif action.kind == VELOCITY:
        actuator.set_to_velocity(kv=kd)
    else:
        actuator.set_to_motor()
        actuator.ctrllimited = mujoco.mjtLimited.mjLIMITED_FALSE
    return True


def _count_at_joint(actuator: Any) -> None:
    """Count an actuator's force, and a loop's control, at the joint: the gains are meant there."""
    gear = float(actuator.gear[0])
    if _kind(actuator) == EFFORT:
        # A motor's control is a torque, a position actuator's a position: the contract limits it.
        reach = np.sort(np.array(actuator.ctrlrange) * gear)
        if reach[0] < reach[1] and not np.any(actuator.forcerange):
            actuator.forcerange = reach
            actuator.forcelimited = mujoco.mjtLimited.mjLIMITED_TRUE
        elif gear:
            actuator.forcerange = np.sort(np.array(actuator.forcerange) * gear)
        actuator.ctrllimited = mujoco.mjtLimited.mjLIMITED_FALSE
    elif gear:
        actuator.forcerange = np.sort(np.array(actuator.forcerange) * gear)
        actuator.ctrlrange = np.sort(np.array(actuator.ctrlrange) / gear)
    actuator.gear = [1.0, 0, 0, 0, 0, 0]


def _has_gains(actuator: Any, kp: float | None, kd: float | None, damping: float) -> bool:
    """Whether an actuator has these gains; a model may have the damping in its joint."""
    squared = float(actuator.gear[0]) ** 2  # it multiplies what is measured and what is exerted
    own_kp, own_kd = squared * float(actuator.gainprm[0]), -squared * float(actuator.biasprm[2])
    same_kp = kp is None or np.isclose(kp, own_kp, rtol=1e-3)
    damped = (own_kd, damping, own_kd + damping)
    return bool(same_kp and (kd is None or any(np.isclose(kd, d, rtol=1e-3) for d in damped)))


def _kind(actuator: Any) -> str:
    """Return what an actuator's control is: position, velocity, effort, or ``general``."""
    gain, bias = actuator.gainprm[0], actuator.biasprm
    still = actuator.dyntype == mujoco.mjtDyn.mjDYN_NONE
    if actuator.gaintype != mujoco.mjtGain.mjGAIN_FIXED or not still:
        return "general"
    if actuator.biastype == mujoco.mjtBias.mjBIAS_NONE:
        return EFFORT
    if actuator.biastype == mujoco.mjtBias.mjBIAS_AFFINE and bias[1] == -gain != 0:
        return POSITION
    if actuator.biastype == mujoco.mjtBias.mjBIAS_AFFINE and bias[2] == -gain != 0:
        return VELOCITY
    return "general"
