"""A robot's description: which MuJoCo model, which joints, what a policy sees (YAML)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import ActionChannel, Channel, Contract, PolicyError, policy_folders
from qpolicy_ros.policy.contract_rules import check_contract
from qpolicy_ros.policy.sources import TOPICS

ROBOTS = "robots"
_SUFFIXES = (".yaml", ".yml")
_MODELS = (".xml", ".mjcf")
_MOST_BYTES = 1 << 20
_REQUIRED = {"model"}
_OPTIONAL = {
    "name", "base", "period", "height", "joints", "observation", "floor", "option", "imu", "odom",
    "feet", "position_control", "start", "armature", "commands",
}  # fmt: skip
_CHANNEL = {"source", "scale", "offset", "low", "high"}


@dataclass(frozen=True)
class Joint:
    """A driven joint: its default position and the reach of an action of ±1, actuator units."""

    default: float
    scale: float


@dataclass(frozen=True)
class RobotDescription:
    """What turns an MJCF file into a robot; what it leaves out, a policy's contract says.

    Attributes:
        name: of the robot; the contract's task where no other is given.
        model: ``{"file": path}``, from the description's folder, or ``{"menagerie": robot,
            "entry": name}``.
        base: body with the free joint; empty takes the first one, and where there is none the
            base is fixed.
        period: control period, s; None takes the contract's.
        height: of the base above the floor at the start, m; None takes the keyframe's, else the
            height at which the robot stands.
        joints: name -> default position and reach, in the order of the actions; empty takes the
            contract's.
        channels: of the observation; empty takes the contract's.
        floor: whether to add a plane at z = 0; None adds one under a floating base where the model
            has none.
        option: of ``mujoco.MjOption``: timestep, integrator, cone, impratio.
        imu, odom: sites that these sensors are at; empty takes the site of the model's gyro and
            velocimeter on the base, else the base.
        feet: ``groups`` of the geoms that touch the floor, those of one swing together; and the
            ``condim`` to give them.
        position_control: ``kp`` and ``kv`` of all joints; left out, the contract's gains hold,
            then those of the model's own actuators.
        start: keyframe to start from; empty takes the one that is nearest the default pose.
        armature: of joints that have none in a model without actuators, kg m².
        commands: ``cmd_vel`` source -> lowest and highest command to draw.
        file: where it was read.
    """

    name: str
    model: Mapping[str, str]
    base: str = ""
    period: float | None = None
    height: float | None = None
    joints: Mapping[str, Joint] = field(default_factory=dict)
    channels: tuple[Channel, ...] = ()
    floor: bool | None = None
    option: Mapping[str, Any] = field(default_factory=dict)
    imu: str = ""
    odom: str = ""
    feet: Mapping[str, Any] = field(default_factory=dict)
    position_control: Mapping[str, float] = field(default_factory=dict)
    start: str = ""
    armature: float = 0.01
    commands: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    file: str = ""

    def contract(self, task: str = "", env_id: str = "") -> Contract:
        """Return the contract of a policy for this robot: the safe action is the default pose.

        Raises:
            PolicyError: the description leaves out what a policy sees or drives.
        """
        given = {"joints": self.joints, "observation": self.channels, "period": self.period}
        for name, value in given.items():
            if not value:
                wrong = "is not described, and no policy is given whose contract says it"
                remedy = "give a policy, or see docs/robots.md"
                raise PolicyError.at(self.file or self.name, name, wrong, remedy)
        assert self.period is not None
        return Contract(
            task=task or self.name,
            env_id=env_id,
            observation=self.channels,
            action=tuple(
                ActionChannel(name, j.default - j.scale, j.default + j.scale, safe=j.default)
                for name, j in self.joints.items()
            ),
            period=self.period,
            commands=tuple((source, *pair) for source, pair in self.commands.items()),
        )


def is_robot(name: str) -> bool:
    """Return whether ``name`` is one of ``config/robots`` or the path of a description."""
    return name.endswith(_SUFFIXES) or name in _described()


def is_model(name: str) -> bool:
    """Return whether ``name`` is the path of an MJCF file."""
    return name.endswith(_MODELS)


def find_robot(name: str) -> RobotDescription:
    """Read a robot's description: a name of ``config/robots`` or the path of a YAML or MJCF file.

    Raises:
        PolicyError: no such robot, or a wrong field in its description; the text names it.
    """
    if name.endswith(_SUFFIXES):
        return read_description(Path(name))
    if is_model(name):
        file = Path(name).absolute()
        return RobotDescription(file.stem, {"file": str(file)}, file=name)
    described = _described()
    if name in described:
        return read_description(described[name])
    remedy = f"known: {', '.join(sorted(described))}; or give a .yaml or MJCF (.xml) file"
    raise PolicyError.at("", "robot", f"{name!r} is not known", remedy)


def read_description(path: Path) -> RobotDescription:
    """Read one YAML file.

    Raises:
        PolicyError: not readable, not of this form, or a value out of range; the text names it.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            wrong = f"is larger than {_MOST_BYTES} bytes"
            raise PolicyError.at(path, "robot", wrong, "give a robot's description")
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise PolicyError.at(path, "robot", reason, "give a readable YAML file") from error
    if not isinstance(data, dict):
        raise PolicyError.at(path, "robot", "is no mapping", "see docs/robots.md")
    for name in sorted(_REQUIRED - data.keys()):
        raise PolicyError.at(path, name, "is missing", "see docs/robots.md")
    for name in sorted(map(str, data.keys() - _REQUIRED - _OPTIONAL)):
        known = ", ".join(sorted(_REQUIRED | _OPTIONAL))
        raise PolicyError.at(path, name, "is not a field of a robot", f"known: {known}")
    try:
        joints = {
            str(name): Joint(_finite(value["default"]), _positive(value["scale"]))
            for name, value in data.get("joints", {}).items()
        }
        channels = [
            channel for entry in data.get("observation", ()) for channel in _expand(entry, joints)
        ]
        commands = {str(source): _range(pair) for source, pair in data.get("commands", {}).items()}
        model = dict(data["model"])
        if set(model) not in ({"file"}, {"menagerie", "entry"}):
            raise ValueError("model: give `file`, or `menagerie` and `entry`")  # noqa: TRY301
        description = RobotDescription(
            name=str(data.get("name", path.stem)),
            model=model,
            base=str(data.get("base", "")),
            period=_positive(data["period"]) if "period" in data else None,
            height=_finite(data["height"]) if "height" in data else None,
            joints=joints,
            channels=tuple(channels),
            floor=bool(data["floor"]) if "floor" in data else None,
            option=dict(data.get("option", {})),
            imu=str(data.get("imu", "")),
            odom=str(data.get("odom", "")),
            feet=dict(data.get("feet", {})),
            position_control=dict(data.get("position_control", {})),
            start=str(data.get("start", "")),
            armature=_positive(data.get("armature", 0.01)),
            commands=commands,
            file=str(path),
        )
    except InputError:
        raise
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise PolicyError.at(path, "robot", reason, "see docs/robots.md") from error
    remedy = "correct the description; docs/robots.md and docs/artifact.md say what there is"
    if description.joints and description.channels and description.period:
        check_contract(description.contract(), path, remedy)
    return description


def _described() -> dict[str, Path]:
    """Return the descriptions that lie beside the policies, by name."""
    folders = [folder.parent / ROBOTS for folder in reversed(policy_folders())]
    return {file.stem: file for folder in folders for file in folder.glob("*.yaml")}


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is not finite")
    return number


def _positive(value: Any) -> float:
    if not _finite(value) > 0:
        raise ValueError(f"{value} is not above 0")
    return float(value)


def _range(pair: Any) -> tuple[float, float]:
    low, high = (_finite(value) for value in pair)
    if low > high:
        raise ValueError(f"commands: {low} is above {high}")
    return low, high


def _expand(entry: Mapping[str, Any], joints: Mapping[str, Joint]) -> list[Channel]:
    """Return the channels of one entry of ``observation``."""
    unknown = set(entry) - _CHANNEL
    if unknown:
        raise ValueError(f"observation: {sorted(unknown)} is none of {sorted(_CHANNEL)}")
    head, colon, key = str(entry["source"]).rpartition(":")
    # A history is of another channel, which is named after its source.
    topic, _, member = head.rpartition(":")[2].partition(".")
    axes = TOPICS.get(topic, {}).get(member, ()) or tuple(joints)
    channels = []
    for name in axes if key == "*" else (key,):
        options: dict[str, Any] = {
            k: float(v) if k in ("low", "high") else _finite(v)
            for k, v in entry.items()
            if k not in ("source", "offset")
        }
        offset = entry.get("offset", 0.0)
        if offset == "default" and name not in joints:
            raise ValueError(f"observation: {head}:{name} has no default: it is of no joint")
        options["offset"] = joints[name].default if offset == "default" else _finite(offset)
        source = f"{head}{colon}{name}"
        channels.append(Channel(source, source, **options))
    return channels
