"""Our own YAML, which can say everything that a policy file holds; docs/own-policy.md has it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from qpolicy_ros.interchange.incoming.contracts import terms
from qpolicy_ros.interchange.incoming.contracts.context import (
    Context,
    Reader,
    check_joints,
    nearest,
    task_name,
)
from qpolicy_ros.interchange.incoming.contracts.terms import Term
from qpolicy_ros.policy import ActionChannel, Channel, Contract, Gait
from qpolicy_ros.policy.model import EFFORT, POSITION, VELOCITY
from qpolicy_ros.policy.sources import (
    GAIT,
    JOINT_STATES,
    PREVIOUS_ACTION,
    PREVIOUS_OUTPUT,
    TOPICS,
    parse_source,
)

KEYS = {"period", "observation"}
_FIELDS = (
    "task", "env_id", "period", "joints", "default_pose", "action", "gaits", "commands",
    "time_limits", "zeroed", "history", "observation",
)  # fmt: skip
_ENTRY = (
    "source", "sources", "name", "keys", "scale", "offset", "clip", "low", "high", "missed",
    "default", "unit", "history",
)  # fmt: skip
_ACTION = (
    "kind", "scale", "offset", "clip", "low", "high", "safe", "rate", "kp", "kd", "effort_limit",
    "unit",
)  # fmt: skip
_COMMANDS = ("lin_vel_x", "lin_vel_y", "ang_vel_z")


def read_own(content: Mapping[str, Any], file: object, context: Context) -> Contract:
    """Return the contract of one of our own YAML files.

    Raises:
        InputError: a field is missing or wrong, or the sizes disagree with the network.
    """
    return _Own(content, file, context).contract()


class _Own:
    def __init__(self, content: Mapping[str, Any], file: object, context: Context) -> None:
        self._reader, self._context = Reader(file), context
        self._content = self._reader.mapping(content, "contract")
        self._reader.known(self._content, "", _FIELDS)
        self._joints = self._names()
        self._default = self._pose(self._content.get("default_pose"))
        self._gaits = self._read_gaits()
        patterns = self._reader.sequence(self._content.get("zeroed") or [], "zeroed")
        self._zeroed = {joint for pattern in patterns for joint in self._matching(pattern)}
        history = self._content.get("history") or 1
        self._history: dict[str, Any] = {
            "order": terms.TERM,
            "first": terms.OLDEST,
            "length": 1,
        }
        self._history |= self._read_history(history, "history", ("order", "first", "length"))

    def contract(self) -> Contract:
        """Put the contract together."""
        reader, content, context = self._reader, self._content, self._context
        action = self._actions()
        entries = reader.sequence(content["observation"], "observation")
        found = [self._term(entry, f"observation[{i}]", action) for i, entry in enumerate(entries)]
        order = self._history["order"]
        observation = terms.observation(reader, found, context.inputs, str(order))
        limits = reader.mapping(content.get("time_limits") or {}, "time_limits")
        return Contract(
            task=context.task
            or reader.text(content.get("task") or task_name(context, reader.file), "task"),
            env_id=str(content.get("env_id") or ""),
            observation=observation,
            action=action,
            period=context.period or reader.number(content["period"], "period"),
            time_limits=tuple(
                (name, reader.number(value, f"time_limits.{name}"))
                for name, value in limits.items()
            ),
            gaits=self._gaits,
            commands=self._commands(),
        )

    # Joints

    def _names(self) -> tuple[str, ...]:
        robot, value = self._context.robot, self._content.get("joints")
        if isinstance(value, list):
            names = self._reader.names(value, "joints")
            if robot is not None:
                check_joints(self._reader, "joints", names, robot)
            return names
        if value is not None:
            raise self._reader.fail("joints", "is no list of names")
        if robot is None:
            wrong = "are not named"
            remedy = "name them, or give the robot's model: --robot MODEL.xml"
            raise self._reader.fail("joints", wrong, remedy)
        return robot.driven

    def _pose(self, value: object) -> list[float]:
        robot, joints = self._context.robot, self._joints
        if isinstance(value, Mapping) and set(value) == {"keyframe"}:
            name = self._reader.text(value["keyframe"], "default_pose.keyframe")
            if robot is None:
                wrong = f"{name!r} is a keyframe of the robot's model, which is not given"
                raise self._reader.fail("default_pose", wrong, "add --robot MODEL.xml")
            if name not in robot.poses:
                wrong = f"{name!r} is no keyframe of {robot.file}"
                raise self._reader.fail("default_pose", wrong, nearest(name, list(robot.poses)))
            return [float(robot.poses[name].get(joint, 0.0)) for joint in joints]
        return self._reader.per_joint(0.0 if value is None else value, "default_pose", joints)

    def _matching(self, value: object) -> list[str]:
        pattern = self._reader.text(value, "zeroed")
        try:
            found = [joint for joint in self._joints if re.fullmatch(pattern, joint)]
        except re.error as error:
            raise self._reader.fail("zeroed", f"{pattern!r} is no pattern: {error}") from error
        if not found:
            remedy = nearest(pattern, self._joints)
            raise self._reader.fail("zeroed", f"{pattern!r} matches no joint", remedy)
        return found

    def _numbers(self, value: object, where: str) -> list[float]:
        """A number a joint; the word ``default`` means the default pose."""
        if value == "default":
            return list(self._default)
        return self._reader.per_joint(value, where, self._joints)

    # Actions

    def _actions(self) -> tuple[ActionChannel, ...]:
        reader, joints, robot = self._reader, self._joints, self._context.robot
        action = reader.mapping(self._content.get("action") or {}, "action")
        reader.known(action, "action", _ACTION)
        kinds = self._kinds(action.get("kind", POSITION))
        scale = self._numbers(action.get("scale", 1.0), "action.scale")
        offset = self._numbers(action.get("offset", 0.0), "action.offset")
        context = self._context
        if action.get("clip") is not None:
            low, high = reader.pair(action["clip"], "action.clip")
            count = len(joints)
            context = replace(context, low=[low] * count, high=[high] * count)
        lows, highs = (
            [infinite] * len(joints)
            if action.get(key) is None
            else self._numbers(action[key], f"action.{key}")
            for key, infinite in (("low", -math.inf), ("high", math.inf))
        )
        gains = {}
        for key, known in (("kp", robot and robot.kp), ("kd", robot and robot.kd)):
            given = action.get(key)
            if given is not None:
                gains[key] = self._numbers(given, f"action.{key}")
            elif known and all(joint in known for joint in joints):
                gains[key] = [float(known[joint]) for joint in joints]
        effort = action.get("effort_limit")
        channels = terms.actions(
            reader, context, joints, scale=scale, offset=offset, default=self._default,
            limits=list(zip(lows, highs, strict=True)), kinds=kinds, kp=gains.get("kp"),
            kd=gains.get("kd"),
            effort=None if effort is None else self._numbers(effort, "action.effort_limit"),
        )  # fmt: skip
        return tuple(self._limited(channels, action))

    def _limited(
        self, channels: Sequence[ActionChannel], action: Mapping[str, Any]
    ) -> list[ActionChannel]:
        """Rate, safe value and unit of each action."""
        count = len(channels)
        rate, safe = action.get("rate"), action.get("safe")
        rates = [math.inf] * count if rate is None else self._numbers(rate, "action.rate")
        safes = [c.safe for c in channels] if safe is None else self._numbers(safe, "action.safe")
        unit = action.get("unit")
        unit = "" if unit is None else self._reader.text(unit, "action.unit")
        return [
            replace(
                channel,
                rate=rates[index],
                safe=safes[index],
                default=None if safes[index] == channel.safe else channel.safe,
                unit=unit,
            )
            for index, channel in enumerate(channels)
        ]

    def _kinds(self, value: object) -> list[str]:
        known = (POSITION, VELOCITY, EFFORT)
        kinds = [str(value)] * len(self._joints)
        if isinstance(value, Mapping):
            numbers = {kind: float(place) for place, kind in enumerate(known)}
            places = {key: numbers.get(str(kind), -1.0) for key, kind in value.items()}
            found = self._reader.per_joint(places, "action.kind", self._joints)
            kinds = [known[int(place)] if place >= 0 else "?" for place in found]
        if not set(kinds) <= set(known):
            wrong = f"{value!r:.60} is not one of {', '.join(known)}"
            raise self._reader.fail("action.kind", wrong)
        return kinds

    # Gaits and commands

    def _read_gaits(self) -> tuple[Gait, ...]:
        reader = self._reader
        gaits = []
        for name, value in reader.mapping(self._content.get("gaits") or {}, "gaits").items():
            where = f"gaits.{name}"
            gait = reader.mapping(value, where)
            reader.known(gait, where, ("frequency", "offset", "standing", "top"))
            top = reader.mapping(gait.get("top") or {}, f"{where}.top")
            reader.known(top, f"{where}.top", ("speed", "frequency"))
            standing = reader.mapping(gait.get("standing") or {}, f"{where}.standing")
            reader.known(standing, f"{where}.standing", ("below", "phase"))
            phase = standing.get("phase")
            gaits.append(
                Gait(
                    name,
                    reader.number(gait.get("frequency"), f"{where}.frequency"),
                    reader.number(gait.get("offset", 0.0), f"{where}.offset"),
                    reader.number(standing.get("below", 0.0), f"{where}.standing.below"),
                    None if phase is None else reader.number(phase, f"{where}.standing.phase"),
                    reader.number(top.get("speed", 0.0), f"{where}.top.speed"),
                    reader.number(top.get("frequency", 0.0), f"{where}.top.frequency"),
                )
            )
        return tuple(gaits)

    def _commands(self) -> tuple[tuple[str, float, float], ...]:
        reader = self._reader
        found: list[tuple[str, float, float]] = []
        for name, value in reader.mapping(self._content.get("commands") or {}, "commands").items():
            low, high = reader.pair(value, f"commands.{name}")
            if name in _COMMANDS:
                found += terms.commands(reader, {name: [low, high]}, "commands")
                continue
            self._parsed(name, f"commands.{name}")
            found.append((name, low, high))
        return tuple(found)

    # Observation

    def _read_history(self, value: object, where: str, fields: Sequence[str]) -> dict[str, Any]:
        reader = self._reader
        if not isinstance(value, Mapping):
            return {"length": reader.whole(value, where, 1, 101)}
        history = reader.mapping(value, where)
        reader.known(history, where, fields)
        choices = {"order": (terms.TERM, terms.STEP), "first": (terms.OLDEST, terms.NEWEST)}
        for key, allowed in choices.items():
            if history.get(key, allowed[0]) not in allowed:
                wrong = f"{history[key]!r:.60} is neither {allowed[0]} nor {allowed[1]}"
                raise reader.fail(f"{where}.{key}", wrong)
        if "length" in history:
            reader.whole(history["length"], f"{where}.length", 1, 101)
        return history

    def _term(self, entry: object, where: str, action: Sequence[ActionChannel]) -> Term:
        reader = self._reader
        fields = reader.mapping(entry, where)
        reader.known(fields, where, _ENTRY)
        sources = fields.get("sources") or [fields.get("source")]
        texts = [
            text
            for source in reader.sequence(sources, f"{where}.sources")
            for text in self._expanded(
                reader.text(source, f"{where}.source"), fields, where, action
            )
        ]
        name = fields.get("name")
        channels = tuple(self._channel(text, fields, where) for text in texts)
        if name is not None:
            name = reader.text(name, f"{where}.name")
            channels = tuple(replace(c, name=_named(name, c, texts)) for c in channels)
        channels = self._scaled(channels, fields, where)
        history = {**self._history}
        if "history" in fields:
            history |= self._read_history(
                fields["history"], f"{where}.history", ("first", "length")
            )
        ticks = terms.ticks_of(int(history["length"]), str(history["first"]))
        return Term(str(name or sources[0]), channels, ticks)

    def _expanded(
        self, source: str, fields: Mapping[str, Any], where: str, action: Sequence[ActionChannel]
    ) -> list[str]:
        """The sources that a ``*`` stands for."""
        head, _, key = source.rpartition(":")
        if key != "*":
            return [source]
        keys: Sequence[str]
        if "keys" in fields:
            keys = self._reader.names(fields["keys"], f"{where}.keys")
        else:
            topic, _, field = head.partition(".")
            kinds: dict[str, Sequence[str]] = {
                PREVIOUS_ACTION: [a.name for a in action],
                PREVIOUS_OUTPUT: [a.name for a in action],
                GAIT: [gait.name for gait in self._gaits],
                JOINT_STATES: self._joints,
            }
            axes = TOPICS.get(topic.partition("/")[0], {}).get(field, ())
            keys = kinds.get(topic, axes)
        if not keys:
            self._parsed(source, f"{where}.source")  # says it better
            wrong = f"{source!r}: the * stands for nothing"
            raise self._reader.fail(f"{where}.source", wrong)
        return [f"{head}:{each}" for each in keys]

    def _parsed(self, text: str, where: str) -> Any:
        try:
            return parse_source(text)
        except ValueError as error:
            raise self._reader.fail(
                where, str(error), "see docs/artifact.md for the sources"
            ) from error

    def _channel(self, text: str, fields: Mapping[str, Any], where: str) -> Channel:
        source = self._parsed(text, f"{where}.source")
        robot = self._context.robot
        if source.topic == JOINT_STATES and robot is not None:
            check_joints(self._reader, f"{where}.source", [source.key], robot)
        if source.topic == JOINT_STATES and source.key in self._zeroed:
            return Channel(text, "constant:0")
        options: dict[str, Any] = {}
        for key in ("missed", "unit"):
            if fields.get(key) is not None:
                options[key] = self._reader.text(fields[key], f"{where}.{key}")
        if fields.get("default") is not None:
            options["default"] = self._reader.number(fields["default"], f"{where}.default")
        return Channel(text, text, **options)

    def _scaled(
        self, channels: tuple[Channel, ...], fields: Mapping[str, Any], where: str
    ) -> tuple[Channel, ...]:
        reader, count = self._reader, len(channels)
        offset = fields.get("offset", 0.0)
        default = dict(zip(self._joints, self._default, strict=True))
        keys = [channel.name.rpartition(":")[2] for channel in channels]
        if offset == "default":
            offsets = [default.get(parse_source(c.source).key, 0.0) for c in channels]
        elif isinstance(offset, Mapping):
            offsets = reader.per_joint(offset, f"{where}.offset", keys)
        else:
            offsets = reader.spread(offset, f"{where}.offset", count, "values")
        scale = fields.get("scale", 1.0)
        if isinstance(scale, Mapping):
            factors = reader.per_joint(scale, f"{where}.scale", keys)
        else:
            factors = reader.spread(scale, f"{where}.scale", count, "values")
        low, high = -math.inf, math.inf
        if fields.get("clip") is not None:
            low, high = reader.pair(fields["clip"], f"{where}.clip")
        low = low if fields.get("low") is None else reader.number(fields["low"], f"{where}.low")
        high = (
            high if fields.get("high") is None else reader.number(fields["high"], f"{where}.high")
        )
        still = [c.source.startswith("constant:0") for c in channels]
        moved = [
            channel if fixed else replace(channel, offset=shift)
            for channel, shift, fixed in zip(channels, offsets, still, strict=True)
        ]
        return terms.scaled(moved, factors, low, high, first=True)


def _named(name: str, channel: Channel, texts: Sequence[str]) -> str:
    return name if len(texts) == 1 else f"{name}:{channel.name.rpartition(':')[2]}"
