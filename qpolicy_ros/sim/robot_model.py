"""From a robot's description to a compiled MuJoCo model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.sim.description import RobotDescription
from qpolicy_ros.sim.display import mujoco
from qpolicy_ros.sim.menagerie import menagerie_model
from qpolicy_ros.sim.sensors import ACCELEROMETER

_CODES: dict[str, dict[str, int]] = {
    "integrator": {"euler": 0, "rk4": 1, "implicit": 2, "implicitfast": 3},
    "cone": {"pyramidal": 0, "elliptic": 1},
}


def build_model(description: RobotDescription, *, visual: bool) -> Any:
    """Compile the described model, a ``mujoco.MjModel``.

    Without ``visual`` the geoms that take no part in the physics are left out, by MuJoCo's own
    rules: mass that hangs on them stays, and so do those that a contact pair or a tendon names.

    Raises:
        PolicyError: the model is not found or not valid; the text says why.
    """
    where = description.file or description.name
    path = _model_file(description)
    if not Path(path).is_file():
        raise PolicyError.at(where, "model", f"{path} is no file", "give an MJCF file")
    try:
        spec: Any = mujoco.MjSpec.from_file(path)
        _apply(spec, description)
        # What collides with nothing is left out, its mass is not; meshes take long to load.
        spec.compiler.discardvisual = not visual
        return spec.compile()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        remedy = "give a valid MJCF file and names that it has"
        raise PolicyError.at(where, "model", f"{path}: {reason}", remedy) from error


def _model_file(description: RobotDescription) -> str:
    model = description.model
    if "menagerie" in model:
        return str(menagerie_model(model["menagerie"], model["entry"]))
    return str(Path(description.file).parent / model["file"])


def _apply(spec: Any, description: RobotDescription) -> None:
    for key in list(spec.keys):  # poses for the model's own actuators; ours is the default pose
        spec.delete(key)
    if description.floor:
        _add_floor(spec)
    for name, value in description.option.items():
        setattr(spec.option, name, _CODES.get(name, {}).get(value, value))
    for name in (name for group in description.feet.get("groups", ()) for name in group):
        if "condim" in description.feet:
            _named(spec.geom(name), "geom", name).condim = int(description.feet["condim"])
    site = description.imu
    if not site:
        site = "qpolicy_imu"
        _named(spec.body(description.base), "base", description.base).add_site(name=site)
    spec.add_sensor(
        name=ACCELEROMETER,
        type=mujoco.mjtSensor.mjSENS_ACCELEROMETER,
        objtype=mujoco.mjtObj.mjOBJ_SITE,
        objname=site,
    )
    gains = description.position_control
    for actuator in spec.actuators if gains else ():
        actuator.forcerange = actuator.ctrlrange
        # A motor's control is a torque, a position actuator's a position: the contract limits it.
        actuator.ctrllimited = mujoco.mjtLimited.mjLIMITED_FALSE
        actuator.set_to_position(kp=float(gains["kp"]), kv=float(gains["kv"]))


def _add_floor(spec: Any) -> None:
    """Add a plane at height 0, chequered so that a film shows motion, and daylight."""
    colours = {"rgb1": [0.45, 0.5, 0.55], "rgb2": [0.55, 0.6, 0.65]}
    chequer = mujoco.mjtBuiltin.mjBUILTIN_CHECKER
    flat = mujoco.mjtTexture.mjTEXTURE_2D
    spec.add_texture(name="floor", type=flat, builtin=chequer, width=256, height=256, **colours)
    material = spec.add_material(name="floor", texrepeat=[2, 2], texuniform=True)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "floor"
    plane = mujoco.mjtGeom.mjGEOM_PLANE
    spec.worldbody.add_geom(name="floor", type=plane, size=[0, 0, 0.05], material="floor")
    sky, gradient = mujoco.mjtTexture.mjTEXTURE_SKYBOX, mujoco.mjtBuiltin.mjBUILTIN_GRADIENT
    colours = {"rgb1": [0.8, 0.85, 0.9], "rgb2": [0.95, 0.95, 0.95]}
    spec.add_texture(name="sky", type=sky, builtin=gradient, width=64, height=64, **colours)
    sun = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    spec.worldbody.add_light(pos=[0, 0, 5], dir=[0.3, 0.4, -1], type=sun, diffuse=[0.6, 0.6, 0.6])
    spec.visual.headlight.ambient = [0.4, 0.4, 0.4]


def _named(found: Any, kind: str, name: str) -> Any:
    if found is None:
        raise KeyError(f"there is no {kind} {name!r}")
    return found
