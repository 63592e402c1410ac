"""What every reader of contracts needs: the other facts, and errors that name file and field."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.json_files import is_number, shown
from qpolicy_ros.policy.robot_facts import RobotFacts

SEE = "see docs/own-policy.md"
MOST_JOINTS = 1024


@dataclass(frozen=True)
class Context:
    """What is known beside the contract's file.

    Attributes:
        inputs, outputs: how many values the network takes and answers; 0: not known, then the
            contract is not compared with them.
        robot: of ``--robot``; None where it was not given.
        task: name of the policy; empty takes the contract's, else the file's.
        period: of ``--period``, s; 0 where it was not given.
        low, high: limits of the network's outputs, ``(m,)``, where something says them.
        metadata: texts of the ONNX file.
    """

    inputs: int
    outputs: int
    robot: RobotFacts | None = None
    task: str = ""
    period: float = 0.0
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


class Reader:
    """Takes values out of a parsed file; an error names file, field and value.

    Args:
        file: path of the contract.
    """

    def __init__(self, file: object) -> None:
        self.file = file

    def fail(self, where: str, wrong: str, remedy: str = SEE) -> InputError:
        """Return the error."""
        return InputError.at(self.file, where, wrong, remedy)

    def mapping(self, value: object, where: str) -> dict[str, Any]:
        """Require a mapping whose keys are texts."""
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise self.fail(where, f"{shown(value)} is no mapping of names")
        return dict(value)

    def known(self, value: Mapping[str, Any], where: str, names: Sequence[str]) -> None:
        """Refuse a key that is none of ``names``; the nearest one is the remedy."""
        for key in value:
            if key not in names:
                near = difflib.get_close_matches(key, names, n=1)
                remedy = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
                raise self.fail(f"{where}.{key}" if where else key, "is no field here", remedy)

    def sequence(self, value: object, where: str) -> list[Any]:
        """Require a list."""
        if not isinstance(value, list):
            raise self.fail(where, f"{shown(value)} is no list")
        return value

    def text(self, value: object, where: str) -> str:
        """Require a short printable text."""
        good = isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()
        if not good:
            raise self.fail(where, f"{shown(value)} is no name")
        return str(value)

    def number(self, value: object, where: str) -> float:
        """Require a finite number; ``pi``, ``-pi/2`` and the like are numbers too."""
        if isinstance(value, str):
            value = _of_pi(value)
        if not is_number(value):
            raise self.fail(where, f"{shown(value)} is no finite number")
        return float(value)  # type: ignore[arg-type]

    def whole(self, value: object, where: str, least: int, most: int) -> int:
        """Require a whole number from ``least`` to ``most``."""
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.fail(where, f"{shown(value)} is no whole number from {least} to {most}")
        return value

    def numbers(self, value: object, where: str) -> list[float]:
        """Require a list of finite numbers."""
        items = self.sequence(value, where)
        return [self.number(item, f"{where}[{index}]") for index, item in enumerate(items)]

    def names(self, value: object, where: str) -> tuple[str, ...]:
        """Require a list of names, each once."""
        items = self.sequence(value, where)
        if not 0 < len(items) <= MOST_JOINTS:
            raise self.fail(where, f"{len(items)} names, allowed are 1 to {MOST_JOINTS}")
        names = tuple(self.text(item, f"{where}[{index}]") for index, item in enumerate(items))
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise self.fail(where, f"{twice!r} appears twice", "name each joint once")
        return names

    def spread(self, value: object, where: str, count: int, what: str) -> list[float]:
        """One number for all of ``count`` values, or a list of as many."""
        if not isinstance(value, list):
            return [self.number(value, where)] * count
        numbers = self.numbers(value, where)
        if len(numbers) != count:
            wrong = f"{len(numbers)} numbers for {count} {what}"
            raise self.fail(where, wrong, f"give one number, or {count}")
        return numbers

    def per_joint(self, value: object, where: str, joints: Sequence[str]) -> list[float]:
        """One number, a list in the joints' order, or numbers by patterns of names.

        The first pattern that matches a joint counts.
        """
        if not isinstance(value, Mapping):
            return self.spread(value, where, len(joints), "joints")
        found: dict[str, float] = {}
        for pattern, number in self.mapping(value, where).items():
            part = f"{where}.{pattern}"
            try:
                matching = [joint for joint in joints if re.fullmatch(pattern, joint)]
            except re.error as error:
                raise self.fail(part, f"is no pattern: {error}", SEE) from error
            if not matching:
                raise self.fail(part, "matches no joint", nearest(pattern, joints))
            # The first pattern that matches counts, so that `.*` at the end means all others.
            found = {**dict.fromkeys(matching, self.number(number, part)), **found}
        missing = [joint for joint in joints if joint not in found]
        if missing:
            raise self.fail(
                where, f"says nothing of {missing[0]!r}", "give a number for each joint"
            )
        return [found[joint] for joint in joints]

    def pair(self, value: object, where: str) -> tuple[float, float]:
        """Two ascending numbers, as a list or as ``{lower, upper}``."""
        if isinstance(value, Mapping) and {"lower", "upper"} <= set(value):
            value = [value["lower"], value["upper"]]
        items = self.sequence(value, where)
        if len(items) != 2:
            raise self.fail(where, f"{len(items)} numbers, not a lowest and a highest")
        low = -math.inf if items[0] is None else self.number(items[0], where)
        high = math.inf if items[1] is None else self.number(items[1], where)
        if low > high:
            raise self.fail(where, f"{low:g} to {high:g} is not ascending")
        return low, high


def nearest(name: str, known: Sequence[str]) -> str:
    """Return the remedy for a name that is none of ``known``."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or list(known[:6])
    return f"nearest are {', '.join(near)}"


def check_joints(reader: Reader, where: str, joints: Sequence[str], robot: RobotFacts) -> None:
    """Refuse joints that the robot lacks."""
    for joint in joints:
        if joint not in robot.joints:
            wrong = f"{joint!r} is no joint of {robot.file}"
            driven = robot.actuators.get(joint)
            if driven is not None:
                wrong = f"{wrong}, but the actuator of its joint {driven!r}"
                raise reader.fail(where, wrong, f"name the joint: {driven}")
            raise reader.fail(where, wrong, nearest(joint, robot.joints))


def _of_pi(text: str) -> object:
    match = re.fullmatch(r"\s*(-?)\s*(?:(\d+(?:\.\d+)?)\s*\*?\s*)?pi(?:\s*/\s*(\d+))?\s*", text)
    if match is None or match[3] == "0":
        return text
    return (-1 if match[1] else 1) * float(match[2] or 1) * math.pi / int(match[3] or 1)


def task_name(context: Context, file: object) -> str:
    """The policy's name: what was asked for, else the contract's file without its suffix."""
    if context.task:
        return context.task
    stem = Path(str(file)).stem
    name = Path(str(file)).resolve().parent.name if stem in _GENERIC else stem
    return "".join(c if c.isprintable() else "_" for c in name) or "policy"


_GENERIC = {"deploy", "config", "base", "policy", "params", "IO_descriptors", "model"}
