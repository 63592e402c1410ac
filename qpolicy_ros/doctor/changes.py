"""Single changes of a contract: each is a fault that people make, and mends its opposite."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from qpolicy_ros.doctor.fit import Change, Fit, base_of
from qpolicy_ros.doctor.orders import joint_orders
from qpolicy_ros.policy import Channel, Contract
from qpolicy_ros.policy.sources import (
    HISTORY,
    JOINT_STATES,
    PREVIOUS_ACTION,
    PREVIOUS_OUTPUT,
    parse_source,
)

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
    names = [action.name for action in contract.action]
    driven = {model.joint(i).name for i in range(model.njnt)}
    orders = joint_orders(names, model) if set(names) <= driven else {}
    listed = _listed(contract, names)
    if sorted(listed) == sorted(names) and listed != names:
        yield _order("of the actions", names, seen=True, done=False)
        yield _order("of the observation", listed, seen=False, done=True)
    for called, order in orders.items():
        yield _order(called, order, seen=True, done=True)
        yield _order(called, order, seen=True, done=False)
        yield _order(called, order, seen=False, done=True)
        yield _order(called, order, seen=True, done=True, numbers=True)
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
    yield from _histories(contract)
    yield from _quaternions(contract)


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


# Orders ------------------------------------------------------------------------------------


def _order(
    called: str, order: Sequence[str], *, seen: bool, done: bool, numbers: bool = False
) -> Change:
    """The joints in another order; ``numbers``: offsets and scales stay where they are."""

    def apply(fit: Fit) -> Fit:
        names = [action.name for action in fit.contract.action]
        channels = list(fit.contract.observation)
        if seen:
            for places in _joint_runs(fit.contract, names):
                by_joint = {_joint(fit.contract, channels[p]): channels[p] for p in places}
                old = [channels[p] for p in places]
                present = [name for name in order if name in by_joint]
                for place, was, name in zip(places, old, present, strict=True):
                    other = by_joint[name]
                    if not numbers:
                        channels[place] = other
                    elif not was.source.startswith(f"{HISTORY}."):  # which is of its own entry
                        channels[place] = replace(was, source=other.source)
        actions, scale, bias = list(fit.contract.action), fit.scale, fit.bias
        if done:
            take = [names.index(name) for name in order]
            moved = [actions[index] for index in take]
            if numbers:
                pairs = zip(actions, moved, strict=True)
                actions = [
                    replace(
                        other,
                        scale=was.scale,
                        offset=was.offset,
                        low=min(other.low, was.low),
                        high=max(other.high, was.high),
                    )
                    for was, other in pairs
                ]
            else:
                actions, scale, bias = moved, scale[take], bias[take]
        contract = replace(fit.contract, observation=tuple(channels), action=tuple(actions))
        return Fit(contract, scale, bias)

    where = {
        (True, True): "",
        (True, False): " of the observation",
        (False, True): " of the actions",
    }
    scope = where[seen, done]
    stay = ", each entry's numbers stay" if numbers else ""
    return Change(
        f"order of the joints{scope}{stay}",
        f"put the joints{scope} in the order {called}{stay}: {', '.join(order)}",
        "order",
        apply,
    )


def _joint_runs(contract: Contract, names: Sequence[str]) -> list[list[int]]:
    """Return the places of the channels that list the joints: one run a field and a tick."""
    runs: dict[tuple[str, str, int], list[int]] = {}
    for place, channel in enumerate(contract.observation):
        base, ticks = base_of(contract, channel)
        source = parse_source(base.source)
        if source.key in names and source.topic in (JOINT_STATES, PREVIOUS_ACTION, PREVIOUS_OUTPUT):
            runs.setdefault((source.topic, source.field, ticks), []).append(place)
    return list(runs.values())


def _listed(contract: Contract, names: Sequence[str]) -> list[str]:
    """Return the joints in the order of the observation's first term that has them all."""
    for places in _joint_runs(contract, names):
        if len(places) == len(names):
            return [_joint(contract, contract.observation[place]) for place in places]
    return []


def _joint(contract: Contract, channel: Channel) -> str:
    return parse_source(base_of(contract, channel)[0].source).key


# Histories and quaternions -----------------------------------------------------------------


def _histories(contract: Contract) -> Iterator[Change]:
    bases = [base_of(contract, channel) for channel in contract.observation]
    if not any(ticks for _, ticks in bases):
        return
    first = {base.name: place for place, (base, ticks) in enumerate(bases) if not ticks}
    heads = {
        base.name: base.source.partition(":")[0] for base, ticks in bases if not ticks
    }  # what a term is of
    order = sorted(first, key=first.__getitem__)
    rank = {name: index for index, name in enumerate(order)}
    terms: dict[str, int] = {}
    for name in order:
        terms.setdefault(_TERM.get(heads[name], heads[name]), len(terms))

    def arranged(*, by_term: bool, oldest: bool) -> Callable[[Fit], Fit]:
        def key(place: int) -> tuple[int, ...]:
            base, ticks = bases[place]
            age = -ticks if oldest else ticks
            term = terms[_TERM.get(heads[base.name], heads[base.name])]
            return (term, age, rank[base.name]) if by_term else (age, term, rank[base.name])

        def apply(fit: Fit) -> Fit:
            places = sorted(range(len(bases)), key=key)
            channels = tuple(fit.contract.observation[place] for place in places)
            return replace(fit, contract=replace(fit.contract, observation=channels))

        return apply

    for by_term in (True, False):
        for oldest in (True, False):
            way = f"{'term by term' if by_term else 'tick by tick'}, the {'oldest' if oldest else 'newest'} first"  # noqa: E501
            yield Change(
                "order of the history",
                f"order the history {way}",
                "history",
                arranged(by_term=by_term, oldest=oldest),
            )


# Sources that are one term together.
_TERM = {"cmd_vel.angular": "cmd_vel.linear"}


def _quaternions(contract: Contract) -> Iterator[Change]:
    for topic in ("imu", "odom", "pose"):
        runs: dict[int, dict[str, int]] = {}
        for place, channel in enumerate(contract.observation):
            base, ticks = base_of(contract, channel)
            if base.source.startswith(f"{topic}.orientation:"):
                runs.setdefault(ticks, {})[base.source[-1]] = place
        if not runs or any(set(run) != set("xyzw") for run in runs.values()):
            continue
        listed = "".join(sorted(runs[0], key=runs[0].__getitem__))
        for wanted in {"xyzw", "wxyz"} - {listed}:
            yield _quaternion(topic, wanted, list(runs.values()))


def _quaternion(topic: str, wanted: str, runs: list[dict[str, int]]) -> Change:
    def apply(fit: Fit) -> Fit:
        channels = list(fit.contract.observation)
        for run in runs:
            for place, key in zip(sorted(run.values()), wanted, strict=True):
                channels[place] = fit.contract.observation[run[key]]
        return replace(fit, contract=replace(fit.contract, observation=tuple(channels)))

    mend = f"give the quaternion of {topic} as {', '.join(wanted)}"
    return Change(f"order of the quaternion of {topic}", mend, "quaternion", apply)


def _places(contract: Contract, group: str) -> list[int]:
    heads = _GROUPS[group]
    return [
        place
        for place, channel in enumerate(contract.observation)
        if channel.source.partition(":")[0] in heads
    ]
