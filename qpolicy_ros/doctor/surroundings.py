"""Changes of what surrounds a network: which value is meant, gains, period, clocks of the gait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from qpolicy_ros.doctor.fit import Change, Fit
from qpolicy_ros.policy import Channel, Contract
from qpolicy_ros.policy.sources import PREVIOUS_ACTION, PREVIOUS_OUTPUT

_GRAVITY, _ACCELERATION, _G = "imu.projected_gravity", "imu.linear_acceleration", 9.81
_GAIN_FACTORS = (0.1, 0.25, 0.5, 2.0, 4.0, 10.0)
_CLOCK_FACTORS = (0.5, 2.0)
_TURNED = {"x": -1.0, "y": -1.0}


def surroundings(contract: Contract, model: Any) -> Iterator[Change]:
    """Yield changes of what a contract says beside orders, scales, signs and offsets."""
    heads = {channel.source.partition(":")[0] for channel in contract.observation}
    for given, meant in ((PREVIOUS_ACTION, PREVIOUS_OUTPUT), (PREVIOUS_OUTPUT, PREVIOUS_ACTION)):
        if given in heads and meant not in heads:
            what = {PREVIOUS_ACTION: "applied action", PREVIOUS_OUTPUT: "network's own output"}
            yield _seen(
                "source",
                f"the previous action is the {what[given]}, the policy takes the {what[meant]}",
                f"take {meant} in the place of {given}",
                _taken(given, meant, 1.0),
            )
    if _GRAVITY in heads and _ACCELERATION not in heads:
        yield _seen(
            "source",
            "gravity is that of the orientation, the policy takes the accelerometer's",
            f"take {_ACCELERATION}, scale {-1 / _G:.4g}, in the place of {_GRAVITY}",
            _taken(_GRAVITY, _ACCELERATION, -1 / _G),
        )
    if _ACCELERATION in heads and _GRAVITY not in heads:
        yield _seen(
            "source",
            "gravity is the accelerometer's, the policy takes that of the orientation",
            f"take {_GRAVITY} in the place of {_ACCELERATION}, scale {-_G:.4g} times",
            _taken(_ACCELERATION, _GRAVITY, -_G),
        )
    if any(head.startswith("imu.") for head in heads):
        yield _seen(
            "frame",
            "the IMU's frame is turned by half a turn about z",
            "turn the signs of x and y of all that the IMU says",
            _imu_turned,
        )
    yield from _gains(contract)
    yield from _periods(contract, float(model.opt.timestep))
    yield from _clocks(contract)


def _seen(kind: str, fault: str, mend: str, change: Callable[[Channel], Channel]) -> Change:
    """Change every channel by itself."""

    def apply(fit: Fit) -> Fit:
        channels = tuple(change(channel) for channel in fit.contract.observation)
        return replace(fit, contract=replace(fit.contract, observation=channels))

    return Change(fault, mend, kind, apply)


def _taken(given: str, meant: str, factor: float) -> Callable[[Channel], Channel]:
    """Return what takes ``meant``, ``factor`` times, where a channel has ``given``."""

    def change(channel: Channel) -> Channel:
        head, _, key = channel.source.partition(":")
        if head != given:
            return channel
        return replace(channel, source=f"{meant}:{key}", scale=channel.scale * factor)

    return change


def _imu_turned(channel: Channel) -> Channel:
    if not channel.source.startswith("imu.") or ".orientation" in channel.source:
        return channel
    factor = _TURNED.get(channel.source[-1], 1.0)
    limits = sorted((channel.low * factor, channel.high * factor))
    return replace(channel, scale=channel.scale * factor, low=limits[0], high=limits[1])


# Gains, period, clocks ---------------------------------------------------------------------


def _gains(contract: Contract) -> Iterator[Change]:
    for gain, called in (("kp", "stiffness kp"), ("kd", "damping kd")):
        if not all(getattr(action, gain) for action in contract.action):
            continue  # the model's own hold
        for factor in _GAIN_FACTORS:
            size = (
                f"{1 / factor:g} times too large" if factor < 1 else f"{factor:g} times too small"
            )

            def apply(fit: Fit, gain: str = gain, factor: float = factor) -> Fit:
                actions = tuple(
                    replace(action, **{gain: getattr(action, gain) * factor})
                    for action in fit.contract.action
                )
                return replace(fit, contract=replace(fit.contract, action=actions))

            yield Change(
                f"{called}: {size}", f"multiply the {called} by {factor:g}", "gains", apply
            )


def _periods(contract: Contract, step: float) -> Iterator[Change]:
    for factor in _CLOCK_FACTORS:
        period = contract.period * factor
        if round(period / step) < 1 or not np.isclose(round(period / step) * step, period):
            continue

        def apply(fit: Fit, factor: float = factor) -> Fit:
            period = fit.contract.period * factor
            return replace(fit, contract=replace(fit.contract, period=period))

        size = "too long" if factor < 1 else "too short"
        yield Change(
            f"control period: {contract.period:g} s is {size}",
            f"give a control period of {period:g} s",
            "period",
            apply,
        )


def _clocks(contract: Contract) -> Iterator[Change]:
    if not contract.gaits:
        return

    def clocks(factor: float) -> Callable[[Fit], Fit]:
        def apply(fit: Fit) -> Fit:
            gaits = tuple(
                replace(gait, frequency=gait.frequency * factor) for gait in fit.contract.gaits
            )
            return replace(fit, contract=replace(fit.contract, gaits=gaits))

        return apply

    for factor in _CLOCK_FACTORS:
        yield Change(
            f"the gait's clock is {1 / factor:g} times too fast"
            if factor < 1
            else f"the gait's clock is {factor:g} times too slow",
            f"multiply the gait's frequency by {factor:g}",
            "gait",
            clocks(factor),
        )

    def exchanged(channel: Channel) -> Channel:
        head, _, key = channel.source.partition(":")
        other = {"gait.cos": "gait.sin", "gait.sin": "gait.cos"}.get(head)
        return replace(channel, source=f"{other}:{key}") if other else channel

    yield _seen(
        "gait",
        "order of sine and cosine of the gait",
        "exchange sine and cosine of the gait",
        exchanged,
    )
