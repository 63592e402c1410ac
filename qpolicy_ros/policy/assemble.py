"""From a robot's raw values to the observation, in one place for training, simulator and robot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from qpolicy_ros.common.errors import ObservationError, PolicyError
from qpolicy_ros.policy.model import FEATURE
from qpolicy_ros.policy.sources import HISTORY, PREVIOUS_ACTION, parse_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from qpolicy_ros.policy.model import Contract, Float32


class Assembler:
    """Puts observations together and remembers what history and previous actions need.

    One tick is ``observation`` and then, where the policy's action was published, ``acted``.

    - A previous action is the last one given to ``acted``; after ``reset`` the default pose.
    - A history value is the result of the other channel ``k`` ticks ago (its scale and limits
      applied), then this channel's own offset, scale and limits. Ticks before the first one
      after ``reset`` count as equal to the first.

    Args:
        contract: of a robot: no value comes from a feature vector.

    Attributes:
        sources: the raw values to give, in order, each once: ``joint_states…``, ``imu…`` and so on.

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
        self.sources: tuple[str, ...] = tuple(dict.fromkeys(outer))
        self._channels = channels
        self._default = contract.default
        place = {source: index for index, source in enumerate(self.sources)}
        actions = {a.name: len(place) + index for index, a in enumerate(contract.action)}
        names = {channel.name: index for index, channel in enumerate(channels)}
        # Raw values, then the previous actions, then one unused place for histories.
        count = len(place) + len(actions)
        self._raw = np.zeros(count + 1)
        self._take = np.full(len(channels), count)
        self._past: list[tuple[int, int, int]] = []  # channel, its other channel, ticks
        for index, (channel, source) in enumerate(zip(channels, parsed, strict=True)):
            if source.topic == HISTORY:
                self._past.append((index, names[source.key], source.ticks))
            elif source.topic == PREVIOUS_ACTION:
                self._take[index] = actions[source.key]
            else:
                self._take[index] = place[channel.source]
        self._offset = np.array([channel.offset for channel in channels], np.float64)
        self._scale = np.array([channel.scale for channel in channels], np.float64)
        self._low = np.array([channel.low for channel in channels], np.float64)
        self._high = np.array([channel.high for channel in channels], np.float64)
        history = np.array(self._past, np.intp).reshape(-1, 3)
        self._historic, self._other, self._ticks = history.T
        depth = int(self._ticks.max(initial=0))
        self._ring = np.zeros((depth, len(channels)), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget everything: no history, and the default pose as the previous action."""
        self._tick = 0
        self._fresh = True
        self._raw[len(self.sources) : -1] = self._default

    def observation(self, raw: Mapping[str, float] | Sequence[float]) -> Float32:
        """Return the observation of this tick, float32 ``(n,)``, and count the tick.

        Args:
            raw: the raw values by source, or a vector of them in the order of ``sources``.

        Raises:
            ObservationError: ``missing``, ``wrong_length`` or ``non_finite``; nothing is
                remembered then.
        """
        values = self._raw
        self._fill(raw)
        # A product beyond float32's range becomes infinite, which the backend refuses.
        with np.errstate(over="ignore"):
            result = self._scaled(values[self._take], slice(None))
            if self._past:
                self._add_history(result)
        return result

    def acted(self, action: npt.ArrayLike) -> None:
        """Take ``action`` ``(m,)``, actuator units, as the previous one of the next tick."""
        self._raw[len(self.sources) : -1] = action

    def _fill(self, raw: Mapping[str, float] | Sequence[float]) -> None:
        count = len(self.sources)
        if isinstance(raw, Mapping):
            try:
                raw = [raw[source] for source in self.sources]
            except KeyError as error:
                message = f"observation: {error.args[0]!r} missing"
                raise ObservationError("missing", message) from None
        if len(raw) != count:
            message = f"observation: {len(raw)} raw values where {count} are expected"
            raise ObservationError("wrong_length", message)
        values = self._raw[:count]
        values[:] = raw
        finite = np.isfinite(values)
        if not finite.all():  # the channel's limits would hide an infinite value
            index = int(np.argmin(finite))
            source = self.sources[index]
            named = next(i for i, c in enumerate(self._channels) if c.source == source)
            message = f"observation: {source} is {values[index]}, not finite"
            raise ObservationError("non_finite", message, named)

    def _scaled(self, raw: npt.NDArray[np.float64], where: slice | npt.NDArray[np.intp]) -> Float32:
        """Offset, scale and limits of the channels ``where``, rounded once."""
        raw -= self._offset[where]
        raw *= self._scale[where]
        np.maximum(raw, self._low[where], out=raw)
        np.minimum(raw, self._high[where], out=raw)
        return raw.astype(np.float32)

    def _add_history(self, result: Float32) -> None:
        depth = len(self._ring)
        if self._fresh:
            self._ring[:] = result
            self._fresh = False
        rows = (self._tick - self._ticks) % depth
        past = self._ring[rows, self._other].astype(np.float64)
        result[self._historic] = self._scaled(past, self._historic)
        self._ring[self._tick % depth] = result
        self._tick += 1
