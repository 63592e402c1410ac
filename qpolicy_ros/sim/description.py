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
_MOST_BYTES = 1 << 20
_REQUIRED = {"name", "model", "base", "period", "height", "joints", "observation"}
_OPTIONAL = {"floor", "option", "imu", "feet", "position_control"}
_CHANNEL = {"source", "scale", "offset", "low", "high"}


@dataclass(frozen=True)
class Joint:
    """A driven joint: its default position and the reach of an action of ±1, actuator units."""

    default: float
    scale: float


@dataclass(frozen=True)
class RobotDescription:
    """Everything that turns an MJCF file into a robot with a contract.

    Attributes:
        name: of the robot; the contract's task where no other is given.
        model: ``{"file": path}``, from the description's folder, or ``{"menagerie": robot,
            "entry": name}``.
        base: body with the free joint.
        period: control period, s.
        height: of the base above the floor at the start, m.
        joints: name -> default position and reach, in the order of the actions.
        channels: of the observation.
        floor: whether to add a plane at z = 0.
        option: of ``mujoco.MjOption``: timestep, integrator, cone, impratio.
        imu: site of the inertial sensor; empty takes the base.
        feet: ``groups`` of the geoms that touch the floor, those of one swing together; and the
            ``condim`` to give them.
        position_control: ``kp`` and ``kv`` that make position actuators of the model's motors.
        file: where it was read.
    """

    name: str
    model: Mapping[str, str]
    base: str
    period: float
    height: float
    joints: Mapping[str, Joint]
    channels: tuple[Channel, ...]
    floor: bool = False
    option: Mapping[str, Any] = field(default_factory=dict)
    imu: str = ""
    feet: Mapping[str, Any] = field(default_factory=dict)
    position_control: Mapping[str, float] = field(default_factory=dict)
    file: str = ""

    def contract(self, task: str = "", env_id: str = "") -> Contract:
        """Return the contract of a policy for this robot: the safe action is the default pose."""
        return Contract(
            task=task or self.name,
            env_id=env_id,
            observation=self.channels,
            action=tuple(
                ActionChannel(name, j.default - j.scale, j.default + j.scale, safe=j.default)
                for name, j in self.joints.items()
            ),
            period=self.period,
        )


def is_robot(name: str) -> bool:
    """Return whether ``name`` is one of ``config/robots`` or the path of a description."""
    return name.endswith(_SUFFIXES) or name in _described()


def find_robot(name: str) -> RobotDescription:
    """Read a robot's description: a name of ``config/robots`` or the path of a YAML file.

    Raises:
        PolicyError: no such robot, or a wrong field in its description; the text names it.
    """
    if name.endswith(_SUFFIXES):
        return read_description(Path(name))
    described = _described()
    if name in described:
        return read_description(described[name])
    remedy = f"known: {', '.join(sorted(described))}; or give a .yaml file"
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
            for name, value in data["joints"].items()
        }
        channels = [channel for entry in data["observation"] for channel in _expand(entry, joints)]
        model = dict(data["model"])
        if set(model) not in ({"file"}, {"menagerie", "entry"}):
            raise ValueError("model: give `file`, or `menagerie` and `entry`")  # noqa: TRY301
        description = RobotDescription(
            name=str(data["name"]),
            model=model,
            base=str(data["base"]),
            period=_positive(data["period"]),
            height=_finite(data["height"]),
            joints=joints,
            channels=tuple(channels),
            floor=bool(data.get("floor", False)),
            option=dict(data.get("option", {})),
            imu=str(data.get("imu", "")),
            feet=dict(data.get("feet", {})),
            position_control=dict(data.get("position_control", {})),
            file=str(path),
        )
    except InputError:
        raise
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise PolicyError.at(path, "robot", reason, "see docs/robots.md") from error
    remedy = "correct the description; docs/robots.md and docs/artifact.md say what there is"
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
