"""From a robot's raw values to the observation, in one place for training, simulator and robot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from qpolicy_ros.common.errors import ObservationError
from qpolicy_ros.policy.model import Contract, Float32, Gait
from qpolicy_ros.policy.places import Places

Raw = Mapping[str, float] | Sequence[float] | npt.NDArray[np.float64]


class Assembler:
    """Puts observations together and remembers what history and previous actions need.

    One tick is ``observation`` and then, where the policy's action was published, ``acted``.

    - A previous action is the last one given to ``acted``; after ``reset`` the default pose. A
      previous output is what the network gave for it, before scale and offset; after ``reset`` 0.
    - A history value is the result of the other channel ``k`` ticks ago (its scale and limits
      applied), then this channel's own offset, scale and limits. Ticks before the first one
      after ``reset`` count as equal to the first.
    - A gait starts at its offset in the first tick after ``reset`` and turns with every tick.

    Args:
        contract: of a robot: no value comes from a feature vector.

    Attributes:
        sources: the raw values to give, in order, each once: ``joint_states…``, ``imu…`` and so on.

    Raises:
        PolicyError: a value comes from a feature vector.
    """

    def __init__(self, contract: Contract) -> None:
        self._places = places = Places(contract)
        self.sources: tuple[str, ...] = places.sources
        self._channels = contract.observation
        self._default = contract.default.astype(np.float64)
        self._output_scale = np.array([a.scale for a in contract.action], np.float64)
        self._output_offset = np.array([a.offset for a in contract.action], np.float64)
        self._gaits, self._period = contract.gaits, contract.period
        self._raw = places.values.copy()
        self._ring = np.zeros((places.depth, len(self._channels)), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget everything: no history, no output, the default pose as the previous action."""
        self._tick = 0
        self._fresh = True
        self._phases = [gait.offset for gait in self._gaits]
        self._raw[self._places.actions] = self._default
        self._raw[self._places.outputs] = 0.0

    def observation(self, raw: Raw) -> Float32:
        """Return the observation of this tick, float32 ``(n,)``, and count the tick.

        Args:
            raw: the raw values by source, or a vector of them in the order of ``sources``.

        Raises:
            ObservationError: ``missing``, ``wrong_length`` or ``non_finite``; nothing is
                remembered then.
        """
        values = self._raw
        self._fill(raw)
        if self._gaits:
            self._turn_gaits()
        # A product beyond float32's range becomes infinite, which the backend refuses.
        with np.errstate(over="ignore"):
            result = self._scaled(values[self._places.take], slice(None))
            if self._places.depth:
                self._add_history(result)
        self._tick += 1
        return result

    def acted(self, action: npt.ArrayLike, computed: npt.ArrayLike | None = None) -> None:
        """Take what the policy did as the previous action and output of the next tick.

        Args:
            action: ``(m,)`` that was published, actuator units.
            computed: ``(m,)`` that the policy answered, before limits of any kind cut it; None
                where nothing did.
        """
        self._raw[self._places.actions] = action
        own = np.asarray(action if computed is None else computed, np.float64)
        self._raw[self._places.outputs] = (own - self._output_offset) / self._output_scale

    def _turn_gaits(self) -> None:
        """Write sine, cosine and fraction of every gait at this tick, and turn it to the next."""
        values, at = self._raw, self._places.gaits
        speed = math.sqrt(sum(values[place] * values[place] for place in self._places.command))
        for index, gait in enumerate(self._gaits):
            phase = self._phases[index]
            values[at : at + 3] = gait_values(gait, phase, speed)
            at += 3
            turned = phase + 2 * math.pi * gait_frequency(gait, speed) * self._period
            self._phases[index] = math.fmod(turned, 2 * math.pi)

    def _fill(self, raw: Raw) -> None:
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
            named = next((i for i, c in enumerate(self._channels) if c.source == source), -1)
            message = f"observation: {source} is {values[index]}, not finite"
            raise ObservationError("non_finite", message, named)

    def _scaled(self, raw: npt.NDArray[np.float64], where: slice | npt.NDArray[np.intp]) -> Float32:
        """Offset, scale and limits of the channels ``where``, rounded once."""
        places = self._places
        raw -= places.offset[where]
        raw *= places.scale[where]
        np.maximum(raw, places.low[where], out=raw)
        np.minimum(raw, places.high[where], out=raw)
        return raw.astype(np.float32)

    def _add_history(self, result: Float32) -> None:
        depth, places = len(self._ring), self._places
        if self._fresh:
            self._ring[:] = result
            self._fresh = False
        rows = (self._tick - places.ticks) % depth
        past = self._ring[rows, places.other].astype(np.float64)
        result[places.historic] = self._scaled(past, places.historic)
        self._ring[self._tick % depth] = result


def gait_frequency(gait: Gait, speed: float) -> float:
    """Return the cycles a second at a commanded speed (norm of vx, vy and wz)."""
    if not gait.top_speed:
        return gait.frequency
    share = min(speed / gait.top_speed, 1.0)
    return gait.frequency + (gait.top_frequency - gait.frequency) * share


def gait_values(gait: Gait, phase: float, speed: float) -> tuple[float, float, float]:
    """Return cosine, sine and fraction of a cycle of ``gait``.

    Args:
        gait: the clock.
        phase: its own, rad.
        speed: norm of the commanded speed (vx in m/s, vy, wz in rad/s).
    """
    if speed < gait.stand_below:
        if gait.stand_phase is None:
            return 0.0, 0.0, 0.0
        phase = gait.stand_phase
    return math.cos(phase), math.sin(phase), phase / (2 * math.pi) % 1.0
