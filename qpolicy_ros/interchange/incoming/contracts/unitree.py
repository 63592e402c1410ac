"""``deploy.yaml`` of unitree_rl_lab and unitree_rl_mjlab.

Entry ``i`` of the policy's vectors is motor ``joint_ids_map[i]`` of the robot; stiffness and
damping are in the motors' order, all else in the policy's. The file names no joints: the robot's
model does. The motors have the model's order, but for Unitree's four-legged robots, whose motors
begin with the front right leg whatever a model begins with.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from qpolicy_ros.interchange.incoming.contracts import terms
from qpolicy_ros.interchange.incoming.contracts.context import Context, Reader, task_name
from qpolicy_ros.interchange.incoming.contracts.terms import Term
from qpolicy_ros.interchange.incoming.contracts.yaml_file import Tagged
from qpolicy_ros.policy import Channel, Contract, Gait
from qpolicy_ros.policy.model import EFFORT, POSITION, VELOCITY

KEYS = {"joint_ids_map", "step_dt", "actions", "observations"}
_KINDS = {"position": POSITION, "velocity": VELOCITY, "effort": EFFORT}
_LEGS, _PARTS = ("FR", "FL", "RR", "RL"), ("hip", "thigh", "calf", "foot", "wheel")
_LEG = re.compile(rf"({'|'.join(_LEGS)})_({'|'.join(_PARTS)})(?![a-z])")
_SWITCHES = ("use_gym_history", "scale_first")


def read_deploy(content: Mapping[str, Any], file: object, context: Context) -> Contract:
    """Return the contract of a ``deploy.yaml``.

    Raises:
        InputError: a field is missing or wrong, or the sizes disagree with the network.
    """
    return _Deploy(content, file, context).contract()


class _Deploy:
    def __init__(self, content: Mapping[str, Any], file: object, context: Context) -> None:
        self._content, self._context = content, context
        self._reader = Reader(file)
        reader = self._reader
        ids = [
            reader.whole(value, f"joint_ids_map[{index}]", 0, 1023)
            for index, value in enumerate(
                reader.sequence(content["joint_ids_map"], "joint_ids_map")
            )
        ]
        self._ids, self._joints = ids, self._names(ids)
        default = content.get("default_joint_pos", 0.0)
        count = len(ids)
        self._default = reader.spread(default, "default_joint_pos", count, "joints")
        self._gaits: list[Gait] = []
        self._period = reader.number(content["step_dt"], "step_dt")

    def contract(self) -> Contract:
        """Put the contract together."""
        context, reader = self._context, self._reader
        terms_, order = self._terms()
        actions = self._actions()
        observation = terms.observation(reader, terms_, context.inputs, order)
        commands = reader.mapping(self._content.get("commands") or {}, "commands")
        ranges = [
            reader.mapping(value, f"commands.{name}").get("ranges") or {}
            for name, value in commands.items()
            if "velocity" in name
        ]
        return Contract(
            task=task_name(context, reader.file),
            env_id="",
            observation=observation,
            action=actions,
            period=context.period or self._period,
            gaits=tuple(self._gaits),
            commands=terms.commands(reader, ranges[0], "commands.ranges") if ranges else (),
        )

    def _names(self, ids: Sequence[int]) -> tuple[str, ...]:
        """The robot's joints in the policy's order."""
        reader, robot = self._reader, self._context.robot
        if len(set(ids)) != len(ids):
            raise reader.fail("joint_ids_map", "names a joint twice")
        if robot is None:
            wrong = "the file names no joints"
            raise reader.fail("joint_ids_map", wrong, "give the robot's model: --robot MODEL.xml")
        joints = motors(robot.joints)
        if max(ids, default=0) < len(joints):
            return tuple(joints[index] for index in ids)
        if len(ids) != len(joints):
            wrong = f"joint {max(ids)} of a robot with {len(joints)} joints ({robot.file})"
            raise reader.fail("joint_ids_map", wrong, "give the model that the policy is for")
        # Motor numbers with gaps, of a robot with fewer joints: their order is what counts.
        places = {motor: place for place, motor in enumerate(sorted(ids))}
        return tuple(joints[places[index]] for index in ids)

    def _gains(self, field: str) -> list[float] | None:
        """Gains in the policy's order; the file has them in the robot's."""
        if self._content.get(field) is None:
            return None
        ids = self._ids
        values = self._reader.numbers(self._content[field], field)
        if max(ids) < len(values):
            return [values[index] for index in ids]
        if len(values) == len(ids):
            places = {motor: place for place, motor in enumerate(sorted(ids))}
            return [values[places[index]] for index in ids]
        wrong = f"{len(values)} numbers for joints up to {max(ids)}"
        raise self._reader.fail(field, wrong, "give one for each joint of the robot")

    # Actions

    def _actions(self) -> Any:
        reader, context = self._reader, self._context
        joints: list[str] = []
        scale: list[float] = []
        offset: list[float] = []
        limits: list[tuple[float, float]] = []
        kinds: list[str] = []
        places: list[int] = []
        for name, value in reader.mapping(self._content["actions"], "actions").items():
            where = f"actions.{name}"
            action = reader.mapping(value, where)
            kind = next((k for word, k in _KINDS.items() if word in name.lower()), None)
            if kind is None:
                wrong = "is no action on joints' position, velocity or effort"
                raise reader.fail(where, wrong)
            chosen = self._chosen(action.get("joint_ids"), f"{where}.joint_ids")
            count = len(chosen)
            default = [self._default[i] for i in chosen] if kind == POSITION else 0.0
            given = action.get("offset")
            places += chosen
            joints += [self._joints[i] for i in chosen]
            factor = 1.0 if action.get("scale") is None else action["scale"]
            scale += reader.spread(factor, f"{where}.scale", count, "joints")
            shift = default if given is None else given
            offset += reader.spread(shift, f"{where}.offset", count, "joints")
            limits += self._limits(action.get("clip"), f"{where}.clip", count)
            kinds += [kind] * count
        gains = [self._gains(field) for field in ("stiffness", "damping")]
        kp, kd = ([g[i] for i in places] if g is not None else None for g in gains)
        return terms.actions(
            reader, context, joints, scale=scale, offset=offset,
            default=[self._default[i] for i in places], limits=limits, kinds=kinds, kp=kp, kd=kd,
        )  # fmt: skip

    def _chosen(self, value: object, where: str) -> list[int]:
        """Places of joints in the policy's order; all where nothing is said."""
        everything = list(range(len(self._joints)))
        if value is None or (isinstance(value, Tagged) and value.everything) or value == [None] * 3:
            return everything
        items = self._reader.sequence(value, where)
        return [self._reader.whole(item, where, 0, len(everything) - 1) for item in items]

    def _limits(self, value: object, where: str, count: int) -> list[tuple[float, float]]:
        if value is None:
            return [(-math.inf, math.inf)] * count
        items = self._reader.sequence(value, where)
        if len(items) == 2 and not any(isinstance(item, list) for item in items):
            return [self._reader.pair(value, where)] * count
        if len(items) != count:
            raise self._reader.fail(where, f"{len(items)} limits for {count} joints")
        return [self._reader.pair(item, f"{where}[{index}]") for index, item in enumerate(items)]

    # Observation

    def _terms(self) -> tuple[list[Term], str]:
        reader = self._reader
        groups = reader.mapping(self._content["observations"], "observations")
        where = "observations"
        inner = {k: v for k, v in groups.items() if k not in _SWITCHES}
        if inner and all(_is_group(value) for value in inner.values()):
            if len(inner) != 1:
                wrong = f"{len(inner)} groups ({', '.join(inner)}): a policy has one observation"
                raise reader.fail(where, wrong, "export the network with one input")
            (name, value), switches = next(iter(inner.items())), groups
            where, groups = f"{where}.{name}", reader.mapping(value, name)
            groups = {**{k: v for k, v in switches.items() if k in _SWITCHES}, **groups}
        first = bool(groups.get("scale_first", False))
        by_step = bool(groups.get("use_gym_history", False))
        found = [
            self._term(name, reader.mapping(value, f"{where}.{name}"), f"{where}.{name}", first)
            for name, value in groups.items()
            if name not in _SWITCHES
        ]
        return found, terms.STEP if by_step else terms.TERM

    def _term(self, name: str, term: dict[str, Any], where: str, first: bool) -> Term:
        reader = self._reader
        params = reader.mapping(term.get("params") or {}, f"{where}.params")
        channels = self._channels(name, params, where)
        count = len(channels)
        scale = term.get("scale")
        factors = reader.spread(1.0 if scale is None else scale, f"{where}.scale", count, "values")
        clip = term.get("clip")
        low, high = (-math.inf, math.inf) if clip is None else reader.pair(clip, f"{where}.clip")
        first = bool(term.get("scale_first", first))
        length = term.get("history_length")
        length = reader.whole(0 if length is None else length, f"{where}.history_length", 0, 101)
        channels = terms.scaled(channels, factors, low, high, first=first)
        return Term(name, channels, terms.ticks_of(length))

    def _channels(self, name: str, params: dict[str, Any], where: str) -> tuple[Channel, ...]:
        body = terms.body_term(name, name)
        if body is not None:
            return body
        asset = params.get("asset_cfg")
        ids = asset.get("joint_ids") if isinstance(asset, Mapping) else None
        chosen = self._chosen(ids, f"{where}.params.asset_cfg.joint_ids")
        joints = [self._joints[i] for i in chosen]
        if name in terms.JOINT_POSITION:
            offsets = [self._default[i] for i in chosen] if name.endswith("_rel") else None
            return terms.joint_term(name, "position", joints, offsets)
        if name in terms.JOINT_VELOCITY:
            return terms.joint_term(name, "velocity", joints)
        if name in terms.JOINT_EFFORT:
            return terms.joint_term(name, "effort", joints)
        if name in terms.LAST_ACTION:
            return terms.output_term(name, [action.name for action in self._actions()])
        if name in {"gait_phase", "phase"}:
            period = self._reader.number(params.get("period"), f"{where}.params.period")
            if not period > 0:
                raise self._reader.fail(f"{where}.params.period", f"{period} s is not above 0")
            self._gaits.append(Gait("gait", 1 / period))
            return (
                Channel(f"{name}:sin", "gait.sin:gait"),
                Channel(f"{name}:cos", "gait.cos:gait"),
            )
        wrong = f"{name!r} is no observation that is known here"
        remedy = "write a contract of ours with its sources: see docs/own-policy.md"
        raise self._reader.fail(where, wrong, remedy)


def motors(joints: Sequence[str]) -> tuple[str, ...]:
    """Return a robot's joints in the order of its motors."""
    found = [_LEG.match(joint) for joint in joints]
    if not all(found):
        return tuple(joints)
    places = []
    for joint, match in zip(joints, found, strict=True):
        assert match is not None
        part = _PARTS.index(match[2])
        wheel = part >= _PARTS.index("foot")  # wheels come after all legs
        places.append((wheel, _LEGS.index(match[1]), part, joint))
    return tuple(joint for *_, joint in sorted(places))


def _is_group(value: object) -> bool:
    """Whether a mapping holds terms, and is none itself."""
    if not isinstance(value, Mapping) or not value:
        return False
    inner = [v for k, v in value.items() if k not in _SWITCHES]
    fields = {"params", "scale", "clip", "history_length"}
    return (
        all(isinstance(v, Mapping) and set(v) & fields for v in inner) and not set(value) & fields
    )
