"""Single changes of a contract: each is a fault that people make, and mends its opposite."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from qpolicy_ros.doctor.arrangement import arrangements
from qpolicy_ros.doctor.fit import Change, Fit
from qpolicy_ros.doctor.surroundings import surroundings
from qpolicy_ros.policy import Contract
from qpolicy_ros.policy.sources import PREVIOUS_ACTION, PREVIOUS_OUTPUT, parse_source

_DEGREES = 180.0 / math.pi
_FACTORS = (0.05, 0.1, 0.2, 0.25, 0.5, 2.0, 4.0, 5.0, 10.0, 20.0)
_ACTION_FACTORS = (0.25, 0.5, 2.0, 4.0)

# What is scaled together: its name, and which sources it is.
_GROUPS = {
    "joint positions": ("joint_states.position",),
    "joint velocities": ("joint_states.velocity",),
    "joint efforts": ("joint_states.effort",),
    "angular velocity": ("imu.angular_velocity", "odom.angular_velocity"),
    "gravity": ("imu.projected_gravity",),
    "linear velocity": ("odom.linear_velocity",),
    "command": ("cmd_vel.linear", "cmd_vel.angular", "twist.linear", "twist.angular"),
    "previous action": (PREVIOUS_ACTION, PREVIOUS_OUTPUT),
}
_IN_DEGREES = ("joint positions", "joint velocities", "angular velocity")
_UNSCALED = ("gravity", "joint positions")  # nobody scales these: signs and degrees only
_AXES = ("angular velocity", "gravity", "linear velocity", "command")


def changes(fit: Fit, model: Any) -> list[Change]:
    """Return every change that makes a difference to ``fit``, each outcome once."""
    result, outcomes = [], {fit.key}
    for change in _all(fit, model):
        key = change.apply(fit).key
        if key not in outcomes:
            outcomes.add(key)
            result.append(change)
    return result


def _all(fit: Fit, model: Any) -> Iterator[Change]:
    contract = fit.contract
    yield from arrangements(contract, model)
    present = [group for group in _GROUPS if _places(contract, group)]
    for group in present:
        yield _scaled(group, -1.0)
        for factor in () if group in _UNSCALED else _FACTORS:
            yield _scaled(group, factor)
        if group in _IN_DEGREES:
            yield _scaled(group, _DEGREES)
            yield _scaled(group, 1 / _DEGREES)
        for axis in "xyz" if group in _AXES else "":
            yield _scaled(group, -1.0, axis)
    yield _acting(-1.0)
    for factor in _ACTION_FACTORS:
        yield _acting(factor)
    yield from _offsets(fit)
    yield from surroundings(contract, model)


# Scales and signs --------------------------------------------------------------------------


def _scaled(group: str, factor: float, axis: str = "") -> Change:
    def apply(fit: Fit) -> Fit:
        channels = list(fit.contract.observation)
        for index in _places(fit.contract, group):
            channel = channels[index]
            if axis and not channel.source.endswith(f":{axis}"):
                continue
            scale = channel.scale * factor
            limits = sorted((channel.low * factor, channel.high * factor))
            channels[index] = replace(channel, scale=scale, low=limits[0], high=limits[1])
        return replace(fit, contract=replace(fit.contract, observation=tuple(channels)))

    what = f"{group}, {axis} axis" if axis else group
    if factor == -1:
        wrong, mend = f"sign of the {what}", f"turn the sign of the {what}"
    elif math.isclose(factor, _DEGREES) or math.isclose(factor, 1 / _DEGREES):
        wanted, given = ("degrees", "rad") if factor > 1 else ("rad", "degrees")
        wrong = f"unit of the {what}: {given}, the policy takes {wanted}"
        mend = f"multiply the scale of the {what} by {factor:.4g}"
    else:
        size = f"{1 / factor:g} times too large" if factor < 1 else f"{factor:g} times too small"
        wrong = f"scale of the {what}: {size}"
        mend = f"multiply the scale of the {what} by {factor:g}"
    return Change(wrong, mend, "sign" if factor == -1 else "scale", apply)


def _acting(factor: float) -> Change:
    def apply(fit: Fit) -> Fit:
        actions = []
        for action in fit.contract.action:
            middle = action.offset
            ends = sorted(middle + (end - middle) * factor for end in (action.low, action.high))
            safe = min(max(action.safe, ends[0]), ends[1])
            actions.append(
                replace(action, scale=action.scale * factor, low=ends[0], high=ends[1], safe=safe)
            )
        contract = replace(fit.contract, action=tuple(actions))
        return Fit(contract, fit.scale * np.float32(factor), fit.bias)

    if factor == -1:
        return Change("sign of the actions", "turn the sign of the action's scale", "sign", apply)
    size = f"{1 / factor:g} times too large" if factor < 1 else f"{factor:g} times too small"
    mend = f"multiply the action's scale by {factor:g}"
    return Change(f"scale of the actions: {size}", mend, "scale", apply)


# Offsets -----------------------------------------------------------------------------------


def _offsets(fit: Fit) -> Iterator[Change]:
    default = {a.name: float(d) for a, d in zip(
        fit.contract.action, fit.contract.default, strict=True)}  # fmt: skip

    def positions(wanted: bool) -> Callable[[Fit], Fit]:
        def apply(fit: Fit) -> Fit:
            channels = list(fit.contract.observation)
            for index in _places(fit.contract, "joint positions"):
                joint = parse_source(channels[index].source).key
                offset = default.get(joint, 0.0) if wanted else 0.0
                channels[index] = replace(channels[index], offset=offset)
            return replace(fit, contract=replace(fit.contract, observation=tuple(channels)))

        return apply

    def actions(wanted: bool) -> Callable[[Fit], Fit]:
        def apply(fit: Fit) -> Fit:
            moved, bias = [], np.array(fit.bias, np.float32)
            for index, action in enumerate(fit.contract.action):
                offset = default[action.name] if wanted else 0.0
                by = offset - action.offset
                bias[index] += np.float32(by)
                moved.append(
                    replace(
                        action, offset=offset, low=action.low + by, high=action.high + by,
                        default=default[action.name],
                    )
                )  # fmt: skip
            return Fit(replace(fit.contract, action=tuple(moved)), fit.scale, bias)

        return apply

    pose = "the default pose"
    yield Change(
        f"joint positions are not taken from {pose}",
        f"offset the joint positions by {pose}",
        "offset",
        positions(wanted=True),
    )
    yield Change(
        f"joint positions are taken from {pose}, the policy takes them as they are",
        "leave the joint positions' offset out",
        "offset",
        positions(wanted=False),
    )
    yield Change(
        f"actions are not added to {pose}",
        f"offset the actions by {pose}",
        "offset",
        actions(wanted=True),
    )
    yield Change(
        f"actions are added to {pose}, the policy gives them as they are",
        "leave the actions' offset out",
        "offset",
        actions(wanted=False),
    )


def _places(contract: Contract, group: str) -> list[int]:
    heads = _GROUPS[group]
    return [
        place
        for place, channel in enumerate(contract.observation)
        if channel.source.partition(":")[0] in heads
    ]
