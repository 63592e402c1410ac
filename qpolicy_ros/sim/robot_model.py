"""From a robot's description, and perhaps a policy's contract, to a compiled MuJoCo model."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.policy import Contract, PolicyError
from qpolicy_ros.sim.actuators import drive_joints
from qpolicy_ros.sim.description import RobotDescription
from qpolicy_ros.sim.display import mujoco
from qpolicy_ros.sim.menagerie import menagerie_model
from qpolicy_ros.sim.sensors import ACCELEROMETER

_CODES: dict[str, dict[str, int]] = {
    "integrator": {"euler": 0, "rk4": 1, "implicit": 2, "implicitfast": 3},
    "cone": {"pyramidal": 0, "elliptic": 1},
}
_FREE = mujoco.mjtJoint.mjJNT_FREE
_DEFAULT_STEP, _PLAIN_STEP = 0.002, 0.005  # s: MuJoCo's own, and that of a model without actuators


@dataclass(frozen=True)
class BuiltRobot:
    """A compiled model and what was found in its file.

    Attributes:
        model: ``mujoco.MjModel``.
        base: body with the free joint, empty for a fixed base.
        imu, odom: sites of these sensors, empty for the base itself.
        keyframes: name -> ``qpos``.
        starts: where robots of this model begin, ``qpos`` by the pose of their joints; found once.
    """

    model: Any
    base: str
    imu: str
    odom: str
    keyframes: dict[str, np.ndarray]
    starts: dict[tuple[tuple[int, float], ...], np.ndarray] = field(default_factory=dict)


def build_model(description: RobotDescription, contract: Contract, *, visual: bool) -> BuiltRobot:
    """Compile the described model with actuators for the contract's actions.

    Without ``visual`` the geoms that collide with nothing are left out of bodies that give their
    inertia: they move the same without them, and meshes take long to load. Geoms whose mesh file
    is missing are left out, and said so on standard error where they would collide.

    Raises:
        PolicyError: the model is not found or not valid; the text says why.
    """
    where = description.file or description.name
    path = _model_file(description)
    if not Path(path).is_file():
        raise PolicyError.at(where, "model", f"{path} is no file", "give an MJCF file")
    try:
        built = _build(path, description, contract, strip=not visual)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, PolicyError):
            raise
        reason = " ".join(str(error).split())
        remedy = "give a valid MJCF file and names that it has"
        raise PolicyError.at(where, "model", f"{path}: {reason}", remedy) from error
    return built


def _build(
    path: str, description: RobotDescription, contract: Contract, *, strip: bool
) -> BuiltRobot:
    spec: Any = mujoco.MjSpec.from_file(path)
    keyframes = {key.name or str(i): np.array(key.qpos) for i, key in enumerate(spec.keys)}
    _leave_out_missing_files(spec, path)
    base, imu, odom = _apply(spec, description, contract)
    if strip:
        bare = spec.copy()
        # By MuJoCo's own rules: mass that hangs on them stays, and so do those that others name.
        bare.compiler.discardvisual = True
        try:
            return BuiltRobot(bare.compile(), base, imu, odom, keyframes)
        except ValueError:
            pass  # a sensor or a tendon needs what collides with nothing
    return BuiltRobot(spec.compile(), base, imu, odom, keyframes)


def _model_file(description: RobotDescription) -> str:
    model = description.model
    if "menagerie" in model:
        return str(menagerie_model(model["menagerie"], model["entry"]))
    return str(Path(description.file).parent / model["file"])


def _apply(spec: Any, description: RobotDescription, contract: Contract) -> tuple[str, str, str]:
    """Change the model as the description and the contract say; return base, imu and odom."""
    for key in list(spec.keys):  # their controls are for the model's own actuators
        spec.delete(key)
    base = description.base or _base(spec, contract)
    _prepare(spec, description, contract, base)
    for name in (name for group in description.feet.get("groups", ()) for name in group):
        if "condim" in description.feet:
            _named(spec.geom(name), "geom", name).condim = int(description.feet["condim"])
    if base:
        _named(spec.body(base), "base", base)
    imu = description.imu or _sensor_site(spec, base, mujoco.mjtSensor.mjSENS_GYRO)
    odom = description.odom or _sensor_site(spec, base, mujoco.mjtSensor.mjSENS_VELOCIMETER)
    for name in filter(None, (imu, odom)):
        _named(spec.site(name), "site", name)
    site = imu
    # A site that the description names is where the accelerometer sits; what the message says is in
    # the base's frame. A model's own gyro says what it measures itself.
    imu = "" if description.imu else imu
    if not site:
        site = "qpolicy_imu"
        (spec.body(base) if base else spec.worldbody).add_site(name=site)
    spec.add_sensor(
        name=ACCELEROMETER,
        type=mujoco.mjtSensor.mjSENS_ACCELEROMETER,
        objtype=mujoco.mjtObj.mjOBJ_SITE,
        objname=site,
    )
    return base, imu, odom


def _base(spec: Any, contract: Contract) -> str:
    """Return the free body that carries the contract's joints, empty for a fixed base.

    A scene may hold other free bodies, such as a ball, before the robot. One without a name gets
    one.
    """
    actions = {action.name for action in contract.action}
    bodies = [joint.parent for joint in spec.joints if joint.type == _FREE]
    if not bodies:
        return ""

    def carried(body: Any) -> int:
        return len(actions & {joint.name for joint in body.find_all("joint")})

    base = max(bodies, key=carried)  # the first of equals
    base.name = base.name or "qpolicy_base"
    return str(base.name)


def _prepare(spec: Any, description: RobotDescription, contract: Contract, base: str) -> None:
    """Add floor and actuators, and set what the physics goes by."""
    floor = description.floor
    if floor or (floor is None and base and not _has_floor(spec)):
        _add_floor(spec)
    plain = not list(spec.actuators)
    if drive_joints(spec, description, contract):
        # Stiff gains on light joints need an implicit integrator.
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    if plain:  # as exported by a CAD tool
        if spec.option.timestep == _DEFAULT_STEP and _divides(_PLAIN_STEP, contract.period):
            spec.option.timestep = _PLAIN_STEP
        for joint in spec.joints:
            if joint.type != _FREE and joint.armature == 0:
                joint.armature = description.armature
    for name, value in description.option.items():
        setattr(spec.option, name, _CODES.get(name, {}).get(value, value))


def _divides(step: float, period: float) -> bool:
    return bool(np.isclose(round(period / step) * step, period, rtol=1e-6))


def _has_floor(spec: Any) -> bool:
    """Whether the world itself has a plane or a height field."""
    kinds = (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_HFIELD)
    return any(geom.type in kinds for geom in spec.worldbody.geoms)


def _sensor_site(spec: Any, base: str, kind: Any) -> str:
    """Return the site on the base that a sensor of this kind is at, empty where there is none."""
    sites = {sensor.objname for sensor in spec.sensors if sensor.type == kind}
    on_base = [site.name for site in spec.sites if site.parent.name == base and base]
    return next((name for name in on_base if name in sites), "")


def _add_floor(spec: Any) -> None:
    """Add a plane at height 0, chequered so that a film shows motion, and daylight."""
    name = "floor"
    while spec.geom(name) or spec.texture(name) or spec.material(name):
        name = f"qpolicy_{name}"
    colours = {"rgb1": [0.45, 0.5, 0.55], "rgb2": [0.55, 0.6, 0.65]}
    chequer = mujoco.mjtBuiltin.mjBUILTIN_CHECKER
    flat = mujoco.mjtTexture.mjTEXTURE_2D
    spec.add_texture(name=name, type=flat, builtin=chequer, width=256, height=256, **colours)
    material = spec.add_material(name=name, texrepeat=[2, 2], texuniform=True)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    plane = mujoco.mjtGeom.mjGEOM_PLANE
    spec.worldbody.add_geom(name=name, type=plane, size=[0, 0, 0.05], material=name)
    sky, gradient = mujoco.mjtTexture.mjTEXTURE_SKYBOX, mujoco.mjtBuiltin.mjBUILTIN_GRADIENT
    if not any(texture.type == sky for texture in spec.textures):
        colours = {"rgb1": [0.8, 0.85, 0.9], "rgb2": [0.95, 0.95, 0.95]}
        spec.add_texture(
            name=f"{name}_sky", type=sky, builtin=gradient, width=64, height=64, **colours
        )
    sun = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    spec.worldbody.add_light(pos=[0, 0, 5], dir=[0.3, 0.4, -1], type=sun, diffuse=[0.6, 0.6, 0.6])
    spec.visual.headlight.ambient = [0.4, 0.4, 0.4]


def _named(found: Any, kind: str, name: str) -> Any:
    if found is None:
        raise KeyError(f"there is no {kind} {name!r}")
    return found


def _leave_out_missing_files(spec: Any, path: str) -> None:
    """Delete meshes and textures whose files are not there, and the geoms that show them."""
    folder = Path(path).parent
    lost = set()
    for mesh in list(spec.meshes):
        if mesh.file and not _found(folder, spec.meshdir, mesh.file):
            lost.add(mesh.name)
            spec.delete(mesh)
    colliding = 0
    for geom in list(spec.geoms) if lost else ():
        if geom.meshname in lost:
            colliding += bool(geom.contype or geom.conaffinity)
            spec.delete(geom)
    if colliding:
        sys.stderr.write(f"{path}: {colliding} colliding geoms left out: no mesh files\n")
    for texture in list(spec.textures):
        files = [name for name in (texture.file, *texture.cubefiles) if name]
        if all(_found(folder, spec.texturedir, name) for name in files):
            continue
        for material in spec.materials:
            names = list(material.textures)
            if texture.name in names:
                material.textures[names.index(texture.name)] = ""
        spec.delete(texture)


def _found(folder: Path, subfolder: str, name: str) -> bool:
    return any((folder / part / name).is_file() for part in {subfolder, ""})
