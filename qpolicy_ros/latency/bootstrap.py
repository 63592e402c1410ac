"""How sure a figure is: the block bootstrap.

Successive latencies depend on each other (the scheduler, the clock of the processor), so single
answers must not be drawn anew; stretches of successive answers are. Quantiles come from histograms
of the stretches, so that a million answers cost no more than a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

RESAMPLES = 2000
LEVEL = 0.95
QUANTILES = {"p50": 0.5, "p99": 0.99}

_BLOCKS = 100
_LEAST = 10  # answers in a stretch
_BINS = 2000
_TAIL = 500  # further bins for the largest twentieth


@dataclass(frozen=True)
class Resampled:
    """A statistic of one sample, and of :data:`RESAMPLES` drawn like it.

    Attributes:
        value: of the sample itself.
        draws: float64 (RESAMPLES,).
    """

    value: float
    draws: Values

    @property
    def interval(self) -> tuple[float, float]:
        """The bounds of the interval at :data:`LEVEL`."""
        tail = (1.0 - LEVEL) / 2.0
        low, high = np.quantile(self.draws, [tail, 1.0 - tail])
        return float(low), float(high)


@dataclass(frozen=True)
class Comparison:
    """Whether ``faster`` is faster than ``slower``.

    Attributes:
        statistic: ``mean``, ``p50`` or ``p99``.
        faster, slower: names; the first has the smaller value.
        ratio: slower over faster.
        low, high: its interval at :data:`LEVEL`.
        confidence: share of the draws in which it is so.
    """

    statistic: str
    faster: str
    slower: str
    ratio: float
    low: float
    high: float
    confidence: float

    @property
    def shown(self) -> bool:
        """Whether the interval leaves out that both are equal."""
        return self.low > 1.0


def resample(parts: list[Values], seed: int = 0) -> dict[str, Resampled]:
    """Return ``mean``, ``p50`` and ``p99`` with their draws.

    Args:
        parts: samples in the order in which they came, one array an uninterrupted recording.
        seed: of the draws.
    """
    values = np.concatenate(parts)
    blocks = _blocks(parts)
    count = len(blocks)
    edges = _edges(values)
    index = np.clip(np.searchsorted(edges, values, "right") - 1, 0, len(edges) - 2)
    owner = np.repeat(np.arange(count), blocks)
    bins = len(edges) - 1
    histogram = np.bincount(owner * bins + index, minlength=count * bins).reshape(count, bins)
    sums = np.bincount(owner, values, count)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1.0 / count), RESAMPLES)
    drawn = drawn.astype(np.float64)
    sizes = drawn @ blocks
    found = {"mean": Resampled(float(values.mean()), drawn @ sums / sizes)}
    cumulative = np.cumsum(drawn @ histogram.astype(np.float64), axis=1)
    for name, share in QUANTILES.items():
        reached = cumulative >= share * sizes[:, None]
        place = reached.argmax(axis=1)
        found[name] = Resampled(float(np.quantile(values, share)), edges[place])
    return found


def compare(samples: dict[str, dict[str, Resampled]], statistic: str) -> list[Comparison]:
    """Compare each pair of named samples, fastest first."""
    order = sorted(samples, key=lambda name: samples[name][statistic].value)
    found = []
    for index, faster in enumerate(order):
        for slower in order[index + 1 :]:
            first, second = samples[faster][statistic], samples[slower][statistic]
            value = float(_ratio(np.array(second.value), np.array(first.value)))
            ratio = Resampled(value, _ratio(second.draws, first.draws))
            confidence = float((first.draws < second.draws).mean())
            found.append(
                Comparison(statistic, faster, slower, ratio.value, *ratio.interval, confidence)
            )
    return found


def _ratio(above: Values, below: Values) -> Values:
    """Return ``above / below``; two times of zero are equal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Values = np.where((above == 0.0) & (below == 0.0), 1.0, above / below)
    return found


def _blocks(parts: list[Values]) -> npt.NDArray[np.int64]:
    """Return the lengths of the stretches, in order; none spans two recordings."""
    total = sum(len(part) for part in parts)
    length = max(_LEAST, -(-total // _BLOCKS))
    lengths: list[int] = []
    for part in parts:
        count = max(1, round(len(part) / length))
        lengths += [len(each) for each in np.array_split(np.arange(len(part)), count) if len(each)]
    return np.array(lengths, np.int64)


def _edges(values: Values) -> Values:
    """Return increasing bounds of bins with about as many values each, finer in the tail."""
    shares = np.concatenate([np.linspace(0.0, 1.0, _BINS), np.linspace(0.95, 1.0, _TAIL)])
    edges = np.unique(np.quantile(values, np.sort(shares), method="inverted_cdf"))
    return np.append(edges, np.nextafter(edges[-1], np.inf))
