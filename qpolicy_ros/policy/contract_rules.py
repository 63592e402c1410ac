"""The rules of a policy's contract, checked when it is made, saved and loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from qpolicy_ros.policy.model import (
    DEFAULT,
    EFFORT,
    FEATURE,
    HOLD,
    POSITION,
    VELOCITY,
    ZERO,
    ActionChannel,
    Channel,
    Contract,
    Gait,
)
from qpolicy_ros.policy.sources import (
    CMD_VEL,
    GAIT,
    HISTORY,
    PREVIOUS_ACTION,
    PREVIOUS_OUTPUT,
    Source,
    parse_source,
)
from qpolicy_ros.policy.validate import MAX_WIDTH, Checker

MAX_GAITS = 16


def check_contract(contract: Contract, file: object = "", remedy: str = "") -> None:
    """Raise PolicyError unless names, sources, limits, defaults and times make sense.

    ``remedy`` is for a ``file`` that is no policy.
    """
    check = Checker(file, remedy)
    check.is_text(contract.task, "task")
    check.is_text(contract.env_id, "env_id", empty=True)
    check.is_number(contract.period, "period")
    check.require(contract.period > 0, "period", f"{contract.period} s is not above 0")
    _check_names(check, "observation", contract.observation)
    _check_names(check, "action", contract.action)
    for index, action in enumerate(contract.action):
        _check_action(check, f"action[{index}]", action)
    sources = [
        _check_channel(check, f"observation[{index}]", channel)
        for index, channel in enumerate(contract.observation)
    ]
    _check_gaits(check, contract.gaits)
    _check_references(check, contract, sources)
    _check_commands(check, contract)
    heard = {source.topic for source in sources if source.external}
    heard |= {CMD_VEL for gait in contract.gaits if gait.listens}
    for topic, limit in contract.time_limits:
        field = f"time_limits.{topic}"
        check.require(topic in heard, field, "no value comes from it")
        check.is_number(limit, field)
        check.require(limit > 0, field, f"{limit} s is not above 0")


def _check_names(check: Checker, field: str, channels: Sequence[Channel | ActionChannel]) -> None:
    size = len(channels)
    check.require(1 <= size <= MAX_WIDTH, field, f"{size} values, allowed 1 to {MAX_WIDTH}")
    seen: set[str] = set()
    for index, channel in enumerate(channels):
        where = f"{field}[{index}].name"
        check.is_text(channel.name, where)
        check.require(channel.name not in seen, where, f"{channel.name!r} appears twice")
        seen.add(channel.name)


def _check_action(check: Checker, field: str, action: ActionChannel) -> None:
    for part in ("low", "high", "safe"):
        check.is_number(getattr(action, part), f"{field}.{part}")
    limits = f"limits {action.low} to {action.high} of {action.name!r}"
    ascending = action.low < action.high and bool(np.float32(action.low) < np.float32(action.high))
    check.require(ascending, field, f"{limits} are not ascending")
    inside = action.low <= action.safe <= action.high
    check.require(inside, f"{field}.safe", f"{action.safe} is outside the {limits}")
    if action.default is not None:
        check.is_number(action.default, f"{field}.default")
        inside = action.low <= action.default <= action.high
        check.require(inside, f"{field}.default", f"{action.default} is outside the {limits}")
    for part in ("rate", "effort_limit"):
        value = getattr(action, part)
        _check_limit(check, value, f"{field}.{part}")
        check.require(value > 0, f"{field}.{part}", f"{value} is not above 0")
    kinds = (POSITION, VELOCITY, EFFORT)
    wrong = f"{action.kind!r} of {action.name!r} is not one of {', '.join(kinds)}"
    check.require(action.kind in kinds, f"{field}.kind", wrong)
    for part in ("scale", "offset"):
        check.is_number(getattr(action, part), f"{field}.{part}")
    check.require(action.scale != 0, f"{field}.scale", f"0 would still {action.name!r}")
    for part in ("kp", "kd"):
        value = getattr(action, part)
        if value is not None:
            check.is_number(value, f"{field}.{part}")
            check.require(value >= 0, f"{field}.{part}", f"{value} is below 0")
    check.is_text(action.unit, f"{field}.unit", empty=True)


def _check_channel(check: Checker, field: str, channel: Channel) -> Source:
    check.is_text(channel.source, f"{field}.source")
    try:
        source = parse_source(channel.source)
    except ValueError as error:
        check.require(False, f"{field}.source", f"{channel.name!r}: {error}")
        raise AssertionError from error
    for part in ("scale", "offset", "default"):
        check.is_number(getattr(channel, part), f"{field}.{part}")
    check.require(channel.scale != 0, f"{field}.scale", f"0 would hide {channel.name!r}")
    for part in ("low", "high"):
        _check_limit(check, getattr(channel, part), f"{field}.{part}")
    wrong = f"limits {channel.low} to {channel.high} of {channel.name!r} are not ascending"
    check.require(channel.low < channel.high, field, wrong)
    ways = (HOLD, ZERO, DEFAULT)
    wrong = f"{channel.missed!r} is not one of {', '.join(ways)}"
    check.require(channel.missed in ways, f"{field}.missed", wrong)
    if source.topic == FEATURE:
        plain = channel == Channel(channel.name)
        wrong = f"{channel.name!r} comes from a feature vector and is changed by nothing"
        check.require(plain, field, wrong, "leave out all but its name")
    check.is_text(channel.unit, f"{field}.unit", empty=True)
    if not source.external:
        wrong = f"{channel.missed!r}: {channel.source!r} is never missed"
        check.require(channel.missed == HOLD, f"{field}.missed", wrong, "leave it out")
    return source


def _check_references(check: Checker, contract: Contract, sources: Sequence[Source]) -> None:
    """Histories and previous actions name what exists; features and topics are not mixed."""
    actions = {action.name for action in contract.action}
    gaits = {gait.name for gait in contract.gaits}
    topics = {
        channel.name: source.topic
        for channel, source in zip(contract.observation, sources, strict=True)
    }
    for index, source in enumerate(sources):
        field = f"observation[{index}].source"
        if source.topic in (PREVIOUS_ACTION, PREVIOUS_OUTPUT):
            check.require(source.key in actions, field, f"{source.key!r} is not an action")
        elif source.topic == GAIT:
            check.require(source.key in gaits, field, f"{source.key!r} is not a gait")
        elif source.topic == HISTORY:
            known = topics.get(source.key)
            check.require(known is not None, field, f"{source.key!r} is not a channel")
            wrong = f"{source.key!r} is a history itself"
            check.require(known != HISTORY, field, wrong, "name the channel that it is of")
        elif source.topic == FEATURE:
            wrong = "comes from a feature vector, others from topics"
            check.require(not contract.robot, field, wrong, "give every value one kind of source")


def _check_gaits(check: Checker, gaits: Sequence[Gait]) -> None:
    check.require(len(gaits) <= MAX_GAITS, "gaits", f"{len(gaits)}, at most {MAX_GAITS}")
    seen: set[str] = set()
    for index, gait in enumerate(gaits):
        field = f"gaits[{index}]"
        check.is_text(gait.name, f"{field}.name")
        check.require(gait.name not in seen, f"{field}.name", f"{gait.name!r} appears twice")
        seen.add(gait.name)
        for part in ("frequency", "offset", "stand_below", "top_speed", "top_frequency"):
            check.is_number(getattr(gait, part), f"{field}.{part}")
        wrong = f"{gait.frequency} Hz is not above 0"
        check.require(gait.frequency > 0, f"{field}.frequency", wrong)
        for part in ("stand_below", "top_speed", "top_frequency"):
            value = getattr(gait, part)
            check.require(value >= 0, f"{field}.{part}", f"{value} is below 0")
        if gait.stand_phase is not None:
            check.is_number(gait.stand_phase, f"{field}.stand_phase")


def _check_commands(check: Checker, contract: Contract) -> None:
    for index, (text, low, high) in enumerate(contract.commands):
        field = f"commands[{index}]"
        check.is_text(text, field)
        try:
            external = parse_source(text).external
        except ValueError as error:
            check.require(False, field, str(error))
            raise AssertionError from error
        check.require(external, field, f"{text!r} is no value of a topic")
        check.is_number(low, f"{field}.low")
        check.is_number(high, f"{field}.high")
        check.require(low <= high, field, f"{low} to {high} is not ascending")


def _check_limit(check: Checker, value: object, field: str) -> None:
    """Require a number that fits float32, or an infinity."""
    if not (isinstance(value, float) and math.isinf(value)):
        check.is_number(value, field)
