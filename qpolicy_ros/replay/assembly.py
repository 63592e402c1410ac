"""The observation of each tick of a robot, put together again from the messages that it used.

It is what :class:`~qpolicy_ros.policy.Assembler` does, for all ticks at once: each value is
computed by the same operations in the same order. Where the recording has the policy's own
observation and command of the tick before, those are used, so that one tick that differs does not
make all later ones differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy import Contract
from qpolicy_ros.policy.model import DEFAULT, HOLD, Float32
from qpolicy_ros.policy.sources import CMD_VEL, HISTORY, PREVIOUS_ACTION, parse_source
from qpolicy_ros.replay.sensors import Doubles, Nanos, Sensor, sources_of
from qpolicy_ros.replay.ticks import NONE, Flags, Indexes

_AROUND = (0, -1, 1, -2, 2, -3, 3, -4, -5)  # messages to look at where none is named
_SECOND_NS = 1_000_000_000

ABSENT = -2  # the message that a tick used is not in the recording


@dataclass(frozen=True)
class Use:
    """What ticks say about one topic.

    Attributes:
        stamps: stamps of the messages used, ns (k,); None where the recording does not say.
        ages: since their arrival, ns (k,), NaN = unknown.
        limit: how old values may be, ns.
    """

    stamps: Nanos | None
    ages: Doubles
    limit: float


@dataclass
class Assembled:
    """What the policy must have seen; k ticks, n values.

    Attributes:
        values: float32 (k, n).
        known: whether the recording determines the value, (k, n).
        messages: the message used, by topic (k,): an index, ``NONE`` before the first one or
            :data:`ABSENT`.
        missed: whether the values of a topic were too old, by topic (k,).
    """

    values: Float32
    known: Flags
    messages: dict[str, Indexes]
    missed: dict[str, Flags]


class Assembly:
    """Puts observations together.

    Args:
        contract: of a robot.
    """

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        channels = contract.observation
        self.sources = [parse_source(channel.source) for channel in channels]
        self._offset = np.array([c.offset for c in channels], np.float64)
        self._scale = np.array([c.scale for c in channels], np.float64)
        self._low = np.array([c.low for c in channels], np.float64)
        self._high = np.array([c.high for c in channels], np.float64)

    def columns(self, topic: str) -> list[int]:
        """Return the channels of a topic."""
        return [index for index, source in enumerate(self.sources) if source.topic == topic]

    def scaled(self, raw: Doubles, columns: list[int]) -> Float32:
        """Return raw values (k, columns) as the policy takes them: offset, scale, limits."""
        with np.errstate(over="ignore", invalid="ignore"):
            found = (raw - self._offset[columns]) * self._scale[columns]
            found = np.minimum(np.maximum(found, self._low[columns]), self._high[columns])
            return np.asarray(found.astype(np.float32))

    def of_message(self, sensor: Sensor, index: Indexes, missed: Flags) -> Float32:
        """Return a topic's channels of the messages ``index`` (k,), stand-ins where missed."""
        columns = self.columns(sensor.name)
        order = sources_of(self.contract, sensor.name)
        take = [order.index(self.sources[column]) for column in columns]
        if len(sensor.values):
            raw = sensor.values[np.maximum(index, 0)][:, take]
        else:
            raw = np.zeros((len(index), len(columns)))
        raw = np.where((index == NONE)[:, None], 0.0, raw)
        return self.scaled(np.where(missed[:, None], self._stood_in(columns, raw), raw), columns)

    def _stood_in(self, columns: list[int], raw: Doubles) -> Doubles:
        found = raw.copy()
        for place, column in enumerate(columns):
            channel = self.contract.observation[column]
            if channel.missed != HOLD:
                found[:, place] = channel.default if channel.missed == DEFAULT else 0.0
        return found

    def assemble(
        self,
        seen: Float32,
        times: Nanos,
        fresh: Flags,
        certain: Flags,
        before: Float32,
        sensors: dict[str, Sensor],
        uses: dict[str, Use],
    ) -> Assembled:
        """Put the observations of k consecutive ticks together.

        Args:
            seen: what the recording says that the policy saw, float32 (k, n), NaN rows = unknown.
            times: of the ticks, ns (k,).
            fresh: whether nothing is remembered at the tick, (k,).
            certain: whether that is known, (k,); a recording may begin in the middle.
            before: the policy's command of the tick before, (k, m); NaN = unknown.
            sensors: recorded topics.
            uses: what the ticks say about each topic.
        """
        shape = (len(seen), len(self.sources))
        values, known = np.zeros(shape, np.float32), np.zeros(shape, bool)
        found = Assembled(values, known, {}, {})
        for name, sensor in sensors.items():
            columns = self.columns(name)
            index, missed = self._used(sensor, uses[name], seen[:, columns], times)
            found.messages[name], found.missed[name] = index, missed
            values[:, columns] = self.of_message(sensor, index, missed)
            known[:, columns] = (index != ABSENT)[:, None]
        self._previous(found, fresh, certain, before)
        self._history(found, seen, fresh, certain)
        return found

    def _used(self, sensor: Sensor, use: Use, seen: Float32, times: Nanos) -> tuple[Indexes, Flags]:
        """Return which message each tick used, and whether it was too old."""
        usable = np.flatnonzero(sensor.usable)
        missed = np.asarray(use.ages > use.limit)
        if not len(usable):
            return np.full(len(times), NONE), missed
        if use.stamps is not None and sensor.name != CMD_VEL:
            named = np.flatnonzero(~sensor.others)  # a refused one too: the tick says it used it
            index = self._by_stamp(sensor, named, use.stamps, times)
        else:
            arrived = times - np.where(np.isfinite(use.ages), use.ages, 0.0).astype(np.int64)
            index, missed = self._by_value(sensor, usable, seen, arrived, missed, use)
        never = np.isnan(use.ages) & (use.stamps == 0 if use.stamps is not None else False)
        return np.where(never, NONE, index), missed

    def _by_stamp(self, sensor: Sensor, usable: Indexes, stamps: Nanos, times: Nanos) -> Indexes:
        given = sensor.stamps[usable]
        order = np.lexsort((sensor.times[usable], given))
        ordered = given[order]
        low, high = (
            np.searchsorted(ordered, stamps, "left"),
            np.searchsorted(ordered, stamps, "right"),
        )
        found = np.where(high > low, usable[order[np.minimum(low, len(order) - 1)]], ABSENT)
        for tick in np.flatnonzero(high - low > 1):  # a simulation began anew, or a frozen sensor
            several = usable[order[low[tick] : high[tick]]]
            past = several[sensor.times[several] <= times[tick]]
            # A message with the stamp of the one before is no new message.
            nearest = past if len(past) else several[:1]
            again = sensor.times[nearest] - sensor.times[nearest[-1]] > -_SECOND_NS
            found[tick] = nearest[int(np.argmax(again))]
        return found

    def _by_value(
        self,
        sensor: Sensor,
        usable: Indexes,
        seen: Float32,
        arrived: Nanos,
        missed: Flags,
        use: Use,
    ) -> tuple[Indexes, Flags]:
        """Find the message near ``arrived`` that gives what the policy saw, else the nearest."""
        order = usable[np.argsort(sensor.times[usable], kind="stable")]
        place = np.searchsorted(sensor.times[order], arrived, "right") - 1
        found = np.where(place < 0, NONE, order[np.clip(place, 0, len(order) - 1)])
        fits = self._fits(sensor, found, missed, seen)
        for step in _AROUND[1:]:
            open_ = ~fits
            if not open_.any():
                return found, missed
            other = place + step
            inside = (other >= 0) & (other < len(order))
            candidate = np.where(inside, order[np.clip(other, 0, len(order) - 1)], found)
            better = open_ & inside & self._fits(sensor, candidate, missed, seen)
            found, fits = np.where(better, candidate, found), fits | better
        if np.isnan(use.ages).any():  # an older node does not say how old a value was
            turned = np.where(np.isnan(use.ages), True, missed)
            better = ~fits & self._fits(sensor, found, turned, seen)
            missed = np.where(better, turned, missed)
        return found, missed

    def _fits(self, sensor: Sensor, index: Indexes, missed: Flags, seen: Float32) -> Flags:
        return same_rows(self.of_message(sensor, index, missed), seen)

    def _previous(self, found: Assembled, fresh: Flags, certain: Flags, before: Float32) -> None:
        columns = self.columns(PREVIOUS_ACTION)
        if not columns:
            return
        names = [action.name for action in self.contract.action]
        take = [names.index(self.sources[column].key) for column in columns]
        given = np.where(fresh[:, None], self.contract.default, before)[:, take]
        found.values[:, columns] = self.scaled(given.astype(np.float64), columns)
        found.known[:, columns] = np.isfinite(given) & (certain | ~fresh)[:, None]

    def _history(self, found: Assembled, seen: Float32, fresh: Flags, certain: Flags) -> None:
        columns = self.columns(HISTORY)
        if not columns:
            return
        names = {channel.name: index for index, channel in enumerate(self.contract.observation)}
        count = len(seen)
        row = np.arange(count)
        begin = np.maximum.accumulate(np.where(fresh, row, 0))
        first = seen[begin].copy() if count else seen
        # The ring is filled before the first tick's own histories are.
        first[:, columns] = self.scaled(np.zeros((1, len(columns))), columns)
        for column in columns:
            source = self.sources[column]
            other, past = names[source.key], row - source.ticks
            early = past < begin
            given = np.where(early, first[:, other], seen[np.maximum(past, 0), other])
            found.values[:, column] = self.scaled(given[:, None].astype(np.float64), [column])[:, 0]
            found.known[:, column] = np.isfinite(given) & (~early | certain[begin])


def same(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Flags:
    """Whether values are equal, of any shape; NaN never is, and zeros are whatever their sign."""
    return np.asarray(first == second)


def same_rows(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Flags:
    """Whether rows are equal throughout, (k,); see :func:`same`."""
    return np.asarray((first == second).all(axis=1))


def held_ns(contract: Contract, topic: str, timeout_ns: float) -> float:
    """How old a topic's values may be, ns: its time limit, or how long the node holds them."""
    limit = dict(contract.time_limits).get(topic, math.inf) * _SECOND_NS
    if not timeout_ns:
        return limit
    own = limit if math.isfinite(limit) else _SECOND_NS if topic == CMD_VEL else 0
    return min(limit, max(timeout_ns, own))
