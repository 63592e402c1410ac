"""Isaac Lab's IO descriptors: terms with joint names, offsets and scales, in order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from qpolicy_ros.interchange.incoming.contracts import terms
from qpolicy_ros.interchange.incoming.contracts.context import (
    Context,
    Reader,
    check_joints,
    task_name,
)
from qpolicy_ros.interchange.incoming.contracts.terms import Term
from qpolicy_ros.policy import Channel, Contract
from qpolicy_ros.policy.model import EFFORT, POSITION, VELOCITY

KEYS = {"actions", "observations", "articulations"}
_GROUPS = ("policy", "actor", "student")
_KINDS = {"position": POSITION, "velocity": VELOCITY, "effort": EFFORT}


def read_descriptors(content: Mapping[str, Any], file: object, context: Context) -> Contract:
    """Return the contract of exported IO descriptors.

    Raises:
        InputError: a field is missing or wrong, or the sizes disagree with the network.
    """
    return _Descriptors(content, file, context).contract()


class _Descriptors:
    def __init__(self, content: Mapping[str, Any], file: object, context: Context) -> None:
        self._content, self._context, self._reader = content, context, Reader(file)
        robots = self._reader.mapping(content["articulations"], "articulations")
        robot = robots.get("robot", next(iter(robots.values()), None))
        self._robot = self._reader.mapping(robot, "articulations.robot")
        where = "articulations.robot.joint_names"
        self._joints = self._reader.names(self._robot.get("joint_names"), where)
        if context.robot is not None:
            check_joints(self._reader, where, self._joints, context.robot)
        self._default = self._of_robot("default_joint_pos") or dict.fromkeys(self._joints, 0.0)

    def contract(self) -> Contract:
        """Put the contract together."""
        reader, context = self._reader, self._context
        scene = reader.mapping(self._content.get("scene") or {}, "scene")
        if not context.period and "dt" not in scene:
            raise reader.fail("scene.dt", "is missing", "give --period")
        actions = self._actions()
        groups = reader.mapping(self._content["observations"], "observations")
        name = next((group for group in _GROUPS if group in groups), None)
        name = name or next(iter(groups), None)
        if name is None:
            raise reader.fail("observations", "has no group of terms")
        where = f"observations.{name}"
        found = [
            self._term(entry, f"{where}[{index}]", [a.name for a in actions])
            for index, entry in enumerate(reader.sequence(groups[name], where))
        ]
        return Contract(
            task=task_name(context, reader.file),
            env_id="",
            observation=terms.observation(reader, found, context.inputs),
            action=actions,
            period=context.period or reader.number(scene["dt"], "scene.dt"),
        )

    def _of_robot(self, field: str) -> dict[str, float] | None:
        value = self._robot.get(field)
        if value is None:
            return None
        where = f"articulations.robot.{field}"
        numbers = self._reader.spread(value, where, len(self._joints), "joints")
        return dict(zip(self._joints, numbers, strict=True))

    def _gains(self, field: str, joints: list[str]) -> list[float] | None:
        found = self._of_robot(field)
        # Explicit actuators have their gains elsewhere; what stands here is then 0.
        if found is None or not any(found.values()):
            return None
        return [found.get(joint, 0.0) for joint in joints]

    def _actions(self) -> Any:
        reader = self._reader
        joints: list[str] = []
        scale: list[float] = []
        offset: list[float] = []
        limits: list[tuple[float, float]] = []
        kinds: list[str] = []
        for index, entry in enumerate(reader.sequence(self._content["actions"], "actions")):
            where = f"actions[{index}]"
            action = reader.mapping(entry, where)
            path = f"{action.get('full_path', '')} {action.get('name', '')}".lower()
            words = path.replace("_", "")
            kind = next((k for word, k in _KINDS.items() if f"joint{word}" in words), None)
            if kind is None:
                wrong = f"{action.get('name')!r:.60} is no action on joints that is known here"
                raise reader.fail(where, wrong)
            names = reader.names(action.get("joint_names"), f"{where}.joint_names")
            unknown = next((name for name in names if name not in self._joints), None)
            if unknown is not None:
                wrong = f"{unknown!r} is none of the articulation's joints"
                raise reader.fail(f"{where}.joint_names", wrong)
            count = len(names)
            factor, shift = action.get("scale"), action.get("offset")
            scale += reader.spread(
                1.0 if factor is None else factor, f"{where}.scale", count, "joints"
            )
            offset += reader.spread(
                0.0 if shift is None else shift, f"{where}.offset", count, "joints"
            )
            clip = action.get("clip")
            if clip is None:
                limits += [(-math.inf, math.inf)] * count
            else:
                rows = reader.sequence(clip, f"{where}.clip")
                limits += [reader.pair(row, f"{where}.clip[{i}]") for i, row in enumerate(rows)]
            joints += names
            kinds += [kind] * count
        if len(limits) != len(joints):
            raise reader.fail("actions", f"{len(limits)} limits for {len(joints)} joints")
        return terms.actions(
            reader, self._context, joints, scale=scale, offset=offset,
            default=[self._default.get(joint, 0.0) for joint in joints], limits=limits, kinds=kinds,
            kp=self._gains("default_joint_stiffness", joints),
            kd=self._gains("default_joint_damping", joints),
        )  # fmt: skip

    def _term(self, entry: object, where: str, driven: list[str]) -> Term:
        reader = self._reader
        term = reader.mapping(entry, where)
        name = reader.text(term.get("name"), f"{where}.name")
        path = str(term.get("full_path") or name)
        kind = path.rpartition(".")[2]
        overloads = reader.mapping(term.get("overloads") or {}, f"{where}.overloads")
        channels = self._channels(name, kind, term, where, driven)
        shape = term.get("shape")
        if isinstance(shape, list) and shape and shape[-1] != len(channels):
            length = overloads.get("history_length") or 1
            if shape[-1] != len(channels) * length:
                wrong = f"{name!r} has the shape {shape}, but {len(channels)} values are known"
                raise reader.fail(f"{where}.shape", wrong)
        scale = overloads.get("scale")
        factors = reader.spread(
            1.0 if scale is None else scale, f"{where}.scale", len(channels), "values"
        )
        clip = overloads.get("clip")
        low, high = (-math.inf, math.inf) if clip is None else reader.pair(clip, f"{where}.clip")
        channels = terms.scaled(channels, factors, low, high, first=False)
        length = overloads.get("history_length") or 0
        length = reader.whole(length, f"{where}.history_length", 0, 101)
        return Term(name, channels, terms.ticks_of(length))

    def _channels(
        self, name: str, kind: str, term: dict[str, Any], where: str, driven: list[str]
    ) -> tuple[Channel, ...]:
        reader = self._reader
        body = terms.body_term(name, kind)
        if body is not None:
            return body
        joints = term.get("joint_names")
        names = self._joints if joints is None else reader.names(joints, f"{where}.joint_names")
        if kind in terms.JOINT_POSITION:
            given = term.get("joint_pos_offsets")
            offsets: list[float] | None = None
            if given is not None:
                offsets = reader.spread(given, f"{where}.joint_pos_offsets", len(names), "joints")
            elif kind.endswith("_rel"):
                offsets = [self._default.get(joint, 0.0) for joint in names]
            return terms.joint_term(name, "position", names, offsets)
        if kind in terms.JOINT_VELOCITY:
            given = term.get("joint_vel_offsets")
            offsets = None
            if given is not None:
                offsets = reader.spread(given, f"{where}.joint_vel_offsets", len(names), "joints")
            return terms.joint_term(name, "velocity", names, offsets)
        if kind in terms.JOINT_EFFORT:
            return terms.joint_term(name, "effort", names)
        if kind in terms.LAST_ACTION:
            return terms.output_term(name, driven)
        wrong = f"{name!r} ({kind}) is no observation that is known here"
        remedy = "write a contract of ours with its sources: see docs/own-policy.md"
        raise reader.fail(where, wrong, remedy)
