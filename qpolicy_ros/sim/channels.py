"""Names for the values of an observation and an action, read from the MuJoCo model.

A Gymnasium observation is a bare vector. Its layout is recognised by value: the candidate
layouts of the MuJoCo tasks are compared with the observation of a freshly reset simulation, so a
name is only given where the value is what the name says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from qpolicy_ros.sim.display import mujoco

_FREE_POSITION = ("x", "y", "z", "qw", "qx", "qy", "qz")
_FREE_VELOCITY = ("vx", "vy", "vz", "wx", "wy", "wz")
_INERTIA = ("ixx", "iyy", "izz", "ixy", "ixz", "iyz", "mx", "my", "mz", "mass")
_SPATIAL = ("rx", "ry", "rz", "x", "y", "z")

Section = tuple[list[str], np.ndarray]


def joint_names(model: mujoco.MjModel) -> list[str]:
    """Names of all joints, ``joint_<index>`` where the model gives none."""
    return [model.joint(i).name or f"joint_{i}" for i in range(model.njnt)]


def position_names(model: mujoco.MjModel) -> list[str]:
    """One name for each entry of ``qpos`` (``nq``)."""
    suffixes = {0: _FREE_POSITION, 1: _FREE_POSITION[3:]}
    return list(_joint_entries(model, "position", suffixes))


def velocity_names(model: mujoco.MjModel) -> list[str]:
    """One name for each entry of ``qvel`` (``nv``)."""
    suffixes = {0: _FREE_VELOCITY, 1: _FREE_VELOCITY[3:]}
    return list(_joint_entries(model, "velocity", suffixes))


def observation_names(model: Any, data: Any, observation: np.ndarray) -> list[str]:
    """Name the values of an observation taken right after a reset.

    Args:
        model: MuJoCo model, or None for an environment that is not MuJoCo.
        data: the model's state at the time of ``observation``.
        observation: (n,) as the environment returned it.

    Returns:
        n unique names: ``position:<joint>``, ``velocity:<joint>`` and so on where a layout
        matches, otherwise ``obs[0]``, ``obs[1]``, …
    """
    if model is not None:
        for sections in _layouts(model, data):
            values = np.concatenate([value.ravel() for _, value in sections])
            # Some tasks clip velocities or contact forces; just after a reset nothing is clipped.
            if values.shape == observation.shape and np.array_equal(values, observation):
                return [name for names, _ in sections for name in names]
    return [f"obs[{index}]" for index in range(observation.size)]


def action_names(model: Any, count: int) -> list[str]:
    """Name ``count`` actions: the actuator, else the joint it drives, else ``action[i]``."""
    generic = [f"action[{index}]" for index in range(count)]
    if model is None or model.nu != count:
        return generic
    joints = joint_names(model)
    names = []
    for index in range(count):
        kind, target = model.actuator_trntype[index], int(model.actuator_trnid[index, 0])
        drives_joint = kind == mujoco.mjtTrn.mjTRN_JOINT
        driven = joints[target] if drives_joint else generic[index]
        names.append(model.actuator(index).name or driven)
    return names if len(set(names)) == count else generic


def _joint_entries(
    model: mujoco.MjModel, prefix: str, suffixes: dict[int, tuple[str, ...]]
) -> Iterator[str]:
    """Yield a name for each coordinate; ``suffixes`` by joint type (0 free, 1 ball)."""
    for name, kind in zip(joint_names(model), model.jnt_type, strict=True):
        parts = suffixes.get(int(kind))
        if parts is None:
            yield f"{prefix}:{name}"
        else:
            yield from (f"{prefix}:{name}.{part}" for part in parts)


def _layouts(model: mujoco.MjModel, data: mujoco.MjData) -> Iterator[list[Section]]:
    """Yield the layouts that Gymnasium's MuJoCo tasks use."""
    bodies = [model.body(i).name or f"body_{i}" for i in range(model.nbody)]

    def per_body(prefix: str, parts: tuple[str, ...], first: int) -> list[str]:
        return [f"{prefix}:{body}.{part}" for body in bodies[first:] for part in parts]

    forces = [name.replace("velocity:", "force:", 1) for name in velocity_names(model)]
    extras: list[list[Section]] = [[], [(per_body("contact", _SPATIAL, 1), data.cfrc_ext[1:])]]
    for first, driven in ((0, 0), (1, 6)):  # Humanoid-v4, then -v5 without the constant zeros
        extras.append(
            [
                (per_body("inertia", _INERTIA, first), data.cinert[first:]),
                (per_body("com_velocity", _SPATIAL, first), data.cvel[first:]),
                (forces[driven:], data.qfrc_actuator[driven:]),
                (per_body("contact", _SPATIAL, first), data.cfrc_ext[first:]),
            ]
        )
    for skipped in (1, 2, 0):  # planar roots leave out x, free roots x and y
        state: list[Section] = [
            (position_names(model)[skipped:], data.qpos[skipped:]),
            (velocity_names(model), data.qvel),
        ]
        for extra in extras:
            yield state + extra
