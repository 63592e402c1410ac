"""What a claim comes down to: is there an input of a box for which last sums are that large?

A ``Question`` is over integers alone. Its network is the policy's hidden layers, or, where a claim
compares two observations, two copies of them side by side that get ``q`` and ``M q + delta``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy.model import Int64, IntegerNetwork
from qpolicy_ros.prove.codes import CodeBox

_FAR = np.int64(1) << 40  # beyond every code


@dataclass(frozen=True, eq=False)
class Pair:
    """How the second observation's codes hang on the first's: ``q2[i] = sign[i] q[source[i]] + d``.

    Attributes:
        source: which value of the first each value of the second comes from, int64 ``(n,)``.
        sign: 1 or -1, int64 ``(n,)``.
        least, most: the lowest and highest ``d`` for each code of the source, int64 ``(n, codes)``,
            column ``code - qmin``; ``least > most`` where the code has no partner.
        qmin: lowest input code.
    """

    source: Int64
    sign: Int64
    least: Int64
    most: Int64
    qmin: int

    def second(self, first: npt.NDArray[Any], delta: npt.NDArray[Any]) -> Int64:
        """Codes of the second observation, ``(N, n)``."""
        return np.asarray(self.sign * first[:, self.source] + delta, np.int64)


@dataclass(frozen=True, eq=False)
class Question:
    """Is there an input ``z`` in ``[low, high]`` with ``directions @ h(z) >= bounds[c]`` for a c?

    ``h(z)`` are the codes of the last hidden layer (of ``z`` itself where there is none).

    Attributes:
        weights: of each hidden layer, int64 ``(out, in)``.
        thresholds: of each hidden layer, int64 ``(out, levels)``, ascending.
        low, high: the box, int64 ``(N,)``; ``N`` is ``n``, or ``2 n`` with a ``pair``.
        directions: int64 ``(k, last width)``, k is 1 or 2.
        bounds: int64 ``(cases, k)``; one case that holds is a yes.
        pair: how the second half of ``z`` depends on the first, None for one observation.
        allowed: which codes some observation of the box has, bool ``(n, codes)``, column
            ``code - qmin``.
        qmin: lowest input code.
        text: what is asked, for a reader.
    """

    weights: tuple[Int64, ...]
    thresholds: tuple[Int64, ...]
    low: Int64
    high: Int64
    directions: Int64
    bounds: Int64
    pair: Pair | None
    allowed: npt.NDArray[np.bool_]
    qmin: int
    text: str = ""
    _cache: dict[str, Any] = field(default_factory=dict, repr=False)

    def sums(self, inputs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """``directions @ h(z)`` for each row, exact: ``(rows, N)`` to float64 ``(rows, k)``."""
        layers = self._cache.get("layers")
        if layers is None:
            layers = [
                (w.T.astype(np.float64), t.T.astype(np.float64))
                for w, t in zip(self.weights, self.thresholds, strict=True)
            ]
            self._cache["layers"] = layers
        codes = np.asarray(inputs, np.float64)
        for weight, threshold in layers:
            accumulators = codes @ weight
            codes = np.zeros_like(accumulators)
            for level in threshold:
                codes += accumulators >= level
        return np.asarray(codes @ self.directions.T.astype(np.float64))

    def margins(self, inputs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """How far each row is from a yes, 0 or more for one: ``(rows, N)`` to ``(rows,)``."""
        sums = self.sums(inputs)
        short = (sums[:, None, :] - self.bounds[None, :, :]).min(axis=2)
        return np.asarray(short.max(axis=1))

    def possible(self, most: npt.NDArray[Any], together: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Which boxes may hold a yes.

        Args:
            most: upper bounds of each direction, ``(boxes, k)``.
            together: upper bounds of the sum of all directions, ``(boxes,)``.
        """
        each = (most[:, None, :] >= self.bounds[None, :, :]).all(axis=2)
        each &= together[:, None] >= self.bounds.sum(axis=1)[None, :]
        return np.asarray(each.any(axis=1))

    def project(self, inputs: npt.NDArray[Any]) -> tuple[Int64, npt.NDArray[np.bool_]]:
        """The nearest rows that are in the box, and which rows have a partner at all."""
        inputs = np.clip(inputs, self.low, self.high).astype(np.int64)
        if self.pair is None:
            return inputs, self._given(inputs)
        count = len(self.low) // 2
        first = inputs[:, :count]
        at, channel = first[:, self.pair.source] - self.pair.qmin, np.arange(count)
        least, most = self.pair.least[channel, at], self.pair.most[channel, at]
        inputs[:, count:] = np.clip(inputs[:, count:], least, np.maximum(least, most))
        good = np.asarray((least <= most).all(axis=1))
        good &= self._given(first)
        second = self.pair.second(first, inputs[:, count:])
        return inputs, good & self._given(second)

    def _given(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which rows of codes ``(rows, n)`` some observation has."""
        at = codes - self.qmin
        known = (at >= 0) & (at < self.allowed.shape[1])
        at = np.clip(at, 0, self.allowed.shape[1] - 1)
        known &= self.allowed[np.arange(codes.shape[1]), at]
        return np.asarray(known.all(axis=1))

    def tighten(
        self, low: npt.NDArray[Any], high: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Boxes ``(boxes, N)`` without what has no partner, and which of them are not empty."""
        if self.pair is None:
            return low, high, np.ones(len(low), bool)
        pair, count = self.pair, len(self.low) // 2
        low, high = low.copy(), high.copy()
        codes = np.arange(pair.least.shape[1]) + pair.qmin
        for i in range(count):
            source = pair.source[i]
            inside = (codes >= low[:, source, None]) & (codes <= high[:, source, None])
            inside &= (pair.least[i] <= high[:, count + i, None]) & (
                pair.most[i] >= low[:, count + i, None]
            )
            inside &= pair.least[i] <= pair.most[i]
            low[:, count + i] = np.maximum(
                low[:, count + i], np.where(inside, pair.least[i], _FAR).min(axis=1)
            )
            high[:, count + i] = np.minimum(
                high[:, count + i], np.where(inside, pair.most[i], -_FAR).max(axis=1)
            )
            low[:, source] = np.maximum(low[:, source], np.where(inside, codes, _FAR).min(axis=1))
            high[:, source] = np.minimum(
                high[:, source], np.where(inside, codes, -_FAR).max(axis=1)
            )
        return low, high, np.asarray((low <= high).all(axis=1))


def single(
    network: IntegerNetwork, box: CodeBox, rows: Int64, bounds: Int64, text: str
) -> Question:
    """The question for one observation: ``rows @ h >= bounds`` anywhere in the box?

    Args:
        network: the policy's.
        box: of the observation.
        rows: int64 ``(k, last width)``.
        bounds: int64 ``(cases, k)``.
        text: what is asked, for a reader.
    """
    return Question(
        weights=tuple(w.astype(np.int64) for w in network.weights[:-1]),
        thresholds=tuple(t.astype(np.int64) for t in network.thresholds[:-1]),
        low=box.low,
        high=box.high,
        directions=rows,
        bounds=bounds,
        pair=None,
        allowed=box.first <= box.last,
        qmin=box.qmin,
        text=text,
    )


def double(
    network: IntegerNetwork,
    box: CodeBox,
    pair: Pair,
    rows: tuple[Int64, Int64],
    bounds: Int64,
    text: str,
) -> Question:
    """The question for two observations: ``rows[0] @ h(q)`` and ``rows[1] @ h(q2)`` both so large?

    Args:
        network: the policy's.
        box: of both observations.
        pair: what the second is to the first.
        rows: of the last layer's weights, for the first and the second observation.
        bounds: int64 ``(cases, 2)``.
        text: what is asked, for a reader.
    """
    count = len(box.low)
    copy = np.zeros((count, count), np.int64)
    copy[np.arange(count), pair.source] = pair.sign
    weights, thresholds = [], []
    for index, (weight, threshold) in enumerate(
        zip(network.weights[:-1], network.thresholds[:-1], strict=True)
    ):
        wide = weight.astype(np.int64)
        none = np.zeros_like(wide)
        weights.append(np.block([[wide, none], [wide @ copy if index == 0 else none, wide]]))
        thresholds.append(np.concatenate([threshold, threshold]).astype(np.int64))
    none = np.zeros_like(rows[0])
    before = none if weights else rows[1] @ copy
    directions = np.stack([np.concatenate([rows[0], none]), np.concatenate([before, rows[1]])])
    some = pair.least <= pair.most
    least = np.where(some, pair.least, _FAR).min(axis=1)
    most = np.where(some, pair.most, -_FAR).max(axis=1)
    return Question(
        weights=tuple(weights),
        thresholds=tuple(thresholds),
        low=np.concatenate([box.low, least]),
        high=np.concatenate([box.high, most]),
        directions=directions,
        bounds=bounds,
        pair=pair,
        allowed=box.first <= box.last,
        qmin=box.qmin,
        text=text,
    )
