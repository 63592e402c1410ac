"""Between observations and input codes: which codes a box of observations can give, and back.

Step 1 of the numbers contract is monotone in each value, so a box of float32 observations is a box
of codes, exactly, but for codes that no float32 value gives (steps finer than float32 near the
value). Those are known by name here: ``CodeBox.gaps``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy.model import Float32, Int64, IntegerNetwork
from qpolicy_ros.policy.numpy_engine import NumpyEngine

_SIGN = np.int64(1) << 31
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class CodeBox:
    """The input codes of a box of observations, and a way back.

    Attributes:
        low, high: lowest and highest code of each value, int64 ``(n,)``.
        floats: lowest and highest float32 of each value in the box, float32 ``(2, n)``.
        first, last: the lowest and highest float32 in the box that gives each code, float32
            ``(n, codes)``, column ``c - qmin``; ``first > last`` where none does.
    """

    low: Int64
    high: Int64
    floats: Float32
    first: Float32
    last: Float32
    qmin: int

    @property
    def gaps(self) -> npt.NDArray[np.bool_]:
        """Codes within ``[low, high]`` that no float32 value of the box gives: ``(n, codes)``."""
        codes = np.arange(self.first.shape[1]) + self.qmin
        inside = (codes >= self.low[:, None]) & (codes <= self.high[:, None])
        return inside & (self.first > self.last)

    def reachable(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which rows of ``codes`` ``(N, n)`` some observation of the box has: ``(N,)``."""
        good = (codes >= self.low) & (codes <= self.high)
        at = np.clip(codes, self.low, self.high) - self.qmin
        channel = np.arange(codes.shape[1])
        good &= self.first[channel, at] <= self.last[channel, at]
        return np.asarray(good.all(axis=1))

    def observations(self, codes: npt.NDArray[Any], network: IntegerNetwork) -> Float32:
        """An observation in the box for each reachable row of ``codes``: float32 ``(N, n)``.

        The one nearest to the middle of its code's step.
        """
        with np.errstate(over="ignore"):
            ideal = network.mean + codes / network.gain.astype(np.float64)
        at, channel = codes - self.qmin, np.arange(codes.shape[1])
        wanted = np.clip(ideal, self.first[channel, at], self.last[channel, at])
        return np.asarray(wanted, np.float32)


def code_box(network: IntegerNetwork, low: Float32, high: Float32) -> CodeBox:
    """Codes of the float32 observations between ``low`` and ``high`` ``(n,)``, ends included."""
    qmin, qmax = network.input_range
    count = qmax - qmin + 1
    codes = np.arange(qmin, qmax + 1)
    engine = NumpyEngine(network)
    ends = np.stack([low, high]).astype(np.float32)
    end_codes = engine.codes_batch(ends)[0].astype(np.int64)
    # The lowest value in the box with at least this code, by bisection over all float32 values.
    least, most = (np.repeat(_number(end)[:, None], count, axis=1) for end in ends)
    most = most + 1  # "none in the box"
    while bool((least < most).any()):
        middle = (least + most) >> 1
        # Beyond the box there is nothing to ask.
        asked = np.minimum(middle, _number(ends[1])[:, None])
        given = engine.codes_batch(_float(asked).T)[0].T
        reached = (given >= codes) | (middle > asked)
        most, least = np.where(reached, middle, most), np.where(reached, least, middle + 1)
        least = np.minimum(least, most)
    first = least
    beyond = _number(ends[1]) + 1
    last = np.concatenate([first[:, 1:], beyond[:, None]], axis=1) - 1
    none = first > last
    return CodeBox(
        low=end_codes[0],
        high=end_codes[1],
        floats=ends,
        first=np.where(none, np.float32(np.inf), _float(np.where(none, 0, first))),
        last=np.where(none, np.float32(-np.inf), _float(np.where(none, 0, last))),
        qmin=qmin,
    )


def whole_box(network: IntegerNetwork) -> tuple[Float32, Float32]:
    """Every finite observation: float32 lows and highs ``(n,)``."""
    return (
        np.full(network.mean.shape, -LARGEST, np.float32),
        np.full(network.mean.shape, LARGEST, np.float32),
    )


def _number(values: npt.NDArray[np.float32]) -> Int64:
    """float32 as integers in the same order, neighbours differing by 1; both zeros are 0."""
    bits = np.ascontiguousarray(values, np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits + _SIGN), bits)


def _float(numbers: Int64) -> Float32:
    """The inverse of ``_number``."""
    bits = np.where(numbers < 0, -numbers - _SIGN, numbers)
    return np.ascontiguousarray(bits).astype(np.int32).view(np.float32)
