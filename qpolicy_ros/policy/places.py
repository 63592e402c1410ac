"""Where each value of an observation is taken from: the plan that every assembler follows."""

from __future__ import annotations

import numpy as np

from qpolicy_ros.common.errors import PolicyError
from qpolicy_ros.policy.model import FEATURE, Contract
from qpolicy_ros.policy.sources import (
    COMMAND,
    CONSTANT,
    GAIT,
    GAIT_FIELDS,
    HISTORY,
    PREVIOUS_ACTION,
    PREVIOUS_OUTPUT,
    parse_source,
)


class Places:
    """One vector of raw values, and where each channel looks.

    The vector holds the sources, the previous actions, the previous outputs, cosine, sine and
    fraction of each gait, the constants, and one unused place for histories.

    Args:
        contract: of a robot: no value comes from a feature vector.

    Attributes:
        sources: the raw values to give, in order, each once.
        values: the vector to begin with, float64: constants, else 0.
        actions, outputs: where previous actions and outputs stand in it.
        gaits: where the first gait's cosine stands.
        command: where vx, vy and wz stand; empty where no gait listens to them.
        take: per channel, its place.
        historic, other, ticks: of each history value: its channel, the channel that it is of, and
            how many ticks ago.
        depth: how many ticks are remembered.
        offset, scale, low, high: of each channel, float64 ``(n,)``.

    Raises:
        PolicyError: a value comes from a feature vector.
    """

    def __init__(self, contract: Contract) -> None:
        channels = contract.observation
        parsed = [parse_source(channel.source) for channel in channels]
        for channel in channels:
            if channel.source == FEATURE:
                remedy = "give it a source on a topic of the robot"
                wrong = f"{channel.name!r} comes from a feature vector, not from a robot"
                raise PolicyError.at("", "contract.observation", wrong, remedy)
        outer = [c.source for c, s in zip(channels, parsed, strict=True) if s.external]
        listens = any(gait.listens for gait in contract.gaits)
        outer += COMMAND if listens else ()
        self.sources: tuple[str, ...] = tuple(dict.fromkeys(outer))
        place = {source: index for index, source in enumerate(self.sources)}
        self.command = [place[source] for source in COMMAND] if listens else []
        self.actions = slice(len(place), len(place) + len(contract.action))
        self.outputs = slice(self.actions.stop, self.actions.stop + len(contract.action))
        self.gaits = self.outputs.stop
        inner = [
            *(f"{PREVIOUS_ACTION}:{a.name}" for a in contract.action),
            *(f"{PREVIOUS_OUTPUT}:{a.name}" for a in contract.action),
            *(f"{GAIT}.{field}:{gait.name}" for gait in contract.gaits for field in GAIT_FIELDS),
        ]
        constants = [c.source for c, s in zip(channels, parsed, strict=True) if s.topic == CONSTANT]
        for text in dict.fromkeys([*inner, *constants]):
            place[text] = len(place)
        names = {channel.name: index for index, channel in enumerate(channels)}
        self.values = np.zeros(len(place) + 1)
        for text in constants:
            self.values[place[text]] = float(parse_source(text).key)
        self.take = np.full(len(channels), len(place))
        past: list[tuple[int, int, int]] = []
        for index, (channel, source) in enumerate(zip(channels, parsed, strict=True)):
            if source.topic == HISTORY:
                past.append((index, names[source.key], source.ticks))
            else:
                self.take[index] = place[channel.source]
        history = np.array(past, np.intp).reshape(-1, 3)
        self.historic, self.other, self.ticks = history.T
        self.depth = int(self.ticks.max(initial=0))
        self.offset = np.array([channel.offset for channel in channels], np.float64)
        self.scale = np.array([channel.scale for channel in channels], np.float64)
        self.low = np.array([channel.low for channel in channels], np.float64)
        self.high = np.array([channel.high for channel in channels], np.float64)
