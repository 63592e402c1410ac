"""The contract that mjlab writes into an ONNX file's metadata.

``joint_names``, ``default_joint_pos``, ``joint_stiffness`` and ``joint_damping`` are in one order,
``observation_names`` lists the terms, ``action_scale`` the actions' scale; lists are separated by
commas. The period is not among them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from qpolicy_ros.interchange.incoming.contracts import terms
from qpolicy_ros.interchange.incoming.contracts.context import (
    Context,
    Reader,
    check_joints,
    task_name,
)
from qpolicy_ros.interchange.incoming.contracts.terms import Term
from qpolicy_ros.policy import Channel, Contract

_NEEDED = ("joint_names", "observation_names", "default_joint_pos")
_MOST = 4096
PERIOD = 0.02
"""s, of mjlab's tasks: four steps of 5 ms."""


def describes(metadata: Mapping[str, str]) -> bool:
    """Whether metadata holds a contract."""
    return all(name in metadata for name in _NEEDED)


def read_metadata(metadata: Mapping[str, str], file: object, context: Context) -> Contract:
    """Return the contract that a file's metadata holds.

    Raises:
        InputError: a field is missing or wrong, or the sizes disagree with the network.
    """
    reader = Reader(file)
    for name in _NEEDED:
        if name not in metadata:
            raise reader.fail(f"metadata.{name}", "is missing", "give --contract FILE")
    joints = reader.names(_list(metadata["joint_names"]), "metadata.joint_names")
    if context.robot is not None:
        check_joints(reader, "metadata.joint_names", joints, context.robot)
    default = _numbers(reader, metadata, "default_joint_pos", joints)
    driven = joints
    if "action_joint_names" in metadata:
        where = "metadata.action_joint_names"
        driven = reader.names(_list(metadata["action_joint_names"]), where)
    if context.outputs and len(driven) != context.outputs:
        wrong = f"{len(driven)} joints where the network answers {context.outputs} values"
        raise reader.fail("metadata.joint_names", wrong, "give --contract FILE")
    pose = dict(zip(joints, default or [], strict=True))
    missing = next((joint for joint in driven if joint not in pose), None)
    if missing is not None:
        wrong = f"{missing!r} is none of joint_names"
        raise reader.fail("metadata.action_joint_names", wrong, "give --contract FILE")
    offset = [pose[joint] for joint in driven]
    given = _numbers(reader, metadata, "action_offset", driven)
    places = [joints.index(joint) for joint in driven]
    kp, kd = (
        _of(_numbers(reader, metadata, key, joints), places)
        for key in ("joint_stiffness", "joint_damping")
    )
    actions = terms.actions(
        reader, context, driven,
        scale=_numbers(reader, metadata, "action_scale", driven) or [1.0] * len(driven),
        offset=offset if given is None else given, default=offset, kp=kp, kd=kd,
    )  # fmt: skip
    names = _list(metadata["observation_names"])
    length = _history(reader, metadata)
    found = [
        Term(name, _channels(reader, name, joints, default or [], driven), terms.ticks_of(length))
        for name in names[:_MOST]
    ]
    return Contract(
        task=context.task or task_name(context, file),
        env_id="",
        observation=terms.observation(reader, found, context.inputs),
        action=actions,
        period=context.period or _period(reader, metadata),
    )


def _list(text: str) -> list[str]:
    return [
        part.strip() for part in text.strip("[]() ").replace("'", "").split(",") if part.strip()
    ]


def _numbers(
    reader: Reader, metadata: Mapping[str, str], key: str, joints: Sequence[str]
) -> list[float] | None:
    """A number a joint; one alone is for all; None where the file does not say it."""
    if key not in metadata:
        return None
    where, numbers = f"metadata.{key}", []
    for part in _list(metadata[key]):
        try:
            number = float(part)
        except ValueError:
            number = math.nan
        numbers.append(reader.number(number if math.isfinite(number) else part, where))
    return reader.spread(numbers[0] if len(numbers) == 1 else numbers, where, len(joints), "joints")


def _of(values: list[float] | None, places: Sequence[int]) -> list[float] | None:
    return None if values is None else [values[place] for place in places]


def _history(reader: Reader, metadata: Mapping[str, str]) -> int:
    lengths = set(_list(metadata.get("history_length", "1")))
    lengths |= set(_list(metadata.get("observation_history_lengths", "")))
    whole = {part.split(".")[0] for part in lengths} - {"0"} or {"1"}
    if len(whole) > 1:
        whole -= {"1"}
    text = whole.pop()
    if whole or not text.isdecimal():
        raise reader.fail(
            "metadata.history_length", f"{text!r} is no length", "give --contract FILE"
        )
    return reader.whole(int(text), "metadata.history_length", 1, 101)


def _period(reader: Reader, metadata: Mapping[str, str]) -> float:
    for key in ("step_dt", "control_dt", "policy_dt"):
        if key in metadata:
            return reader.number(_float(metadata[key]), f"metadata.{key}")
    return PERIOD


def _float(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def _channels(
    reader: Reader,
    name: str,
    joints: Sequence[str],
    default: Sequence[float],
    driven: Sequence[str],
) -> tuple[Channel, ...]:
    body = terms.body_term(name, name)
    if body is not None:
        return body
    if name in terms.JOINT_POSITION:
        # mjlab's joint_pos is relative to the default pose, too.
        return terms.joint_term(name, "position", joints, default)
    if name in terms.JOINT_VELOCITY:
        return terms.joint_term(name, "velocity", joints)
    if name in terms.LAST_ACTION:
        return terms.output_term(name, driven)
    wrong = f"{name!r} is no observation that is known here"
    remedy = "write a contract of ours with its sources: see docs/own-policy.md"
    raise reader.fail("metadata.observation_names", wrong, remedy)
