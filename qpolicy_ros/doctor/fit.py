"""How a network is connected to a robot, and a change of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qpolicy_ros.policy import Baseline, Channel, Contract
from qpolicy_ros.policy.sources import HISTORY, parse_source


@dataclass(frozen=True)
class Fit:
    """What a network is connected by.

    Attributes:
        contract: of the policy.
        scale, bias: of its outputs, float32 ``(m,)``: action = output * scale + bias.
    """

    contract: Contract
    scale: Any
    bias: Any

    @classmethod
    def of(cls, contract: Contract, baseline: Baseline) -> Fit:
        """Return what a policy file has."""
        return cls(contract, baseline.scale, baseline.bias)

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for two that connect a network alike."""
        # Names are what a channel is called, its source what it is.
        seen = resolved(self.contract)
        done = [(a.name, float(f"{s:.5g}"), round(float(b), 5)) for a, s, b in zip(
            self.contract.action, self.scale, self.bias, strict=True)]  # fmt: skip
        rounded = [(s, float(f"{k:.5g}"), round(o, 5)) for s, k, o in seen]
        clocks = tuple((gait.name, float(f"{gait.frequency:.5g}")) for gait in self.contract.gaits)
        around = (self.gains, float(f"{self.contract.period:.5g}"), clocks)
        return (tuple(rounded), tuple(done), around)

    @property
    def gains(self) -> tuple[Any, ...]:
        """Gains of the joints' drives, in the names' order: equal for equal models."""
        pairs = sorted((a.name, a.kp, a.kd) for a in self.contract.action)
        return tuple(
            (name, *(None if gain is None else float(f"{gain:.5g}") for gain in both))
            for name, *both in pairs
        )


@dataclass(frozen=True)
class Change:
    """One change.

    Attributes:
        fault: what is wrong where this change mends it.
        mend: what to change in the contract.
        kind: ``order``, ``terms``, ``axes``, ``sign``, ``scale``, ``offset``, ``history``,
            ``quaternion``, ``source``, ``frame``, ``gains``, ``period`` or ``gait``.
        apply: the change.
    """

    fault: str
    mend: str
    kind: str
    apply: Callable[[Fit], Fit]


def base_of(contract: Contract, channel: Channel) -> tuple[Channel, int]:
    """Return the channel that a history is of, and how many ticks ago."""
    source = parse_source(channel.source)
    if source.topic != HISTORY:
        return channel, 0
    base = next(other for other in contract.observation if other.name == source.key)
    return base, source.ticks


def resolved(contract: Contract) -> list[tuple[str, float, float]]:
    """Return source, scale and offset of the channels, histories by the source that they are of."""
    named = {channel.name: channel for channel in contract.observation}
    result = []
    for channel in contract.observation:
        source = parse_source(channel.source)
        if source.topic == HISTORY:
            base = named[source.key]
            what = f"{source.ticks} ago {base.source}"
            result.append((what, base.scale * channel.scale, base.offset))
        else:
            result.append((channel.source, channel.scale, channel.offset))
    return result
