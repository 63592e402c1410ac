"""Fixed-point sensor and action words: which products and tables give the contract's own bits.

A sensor word is ``WORD_BITS`` wide, two's complement, and stands for ``word 2^-fraction``, which
float32 holds exactly. Step 1 of the numbers contract never falls as its input rises, so it is known
completely by ``2^b - 1`` thresholds on the word, found by asking the engine itself. An input's
product

    ``code = clip((word factor + offset) >> shift)``

does the same with one multiplier where ``factor`` and ``offset`` put every threshold on its word;
that is shown for each of them, hence for every word. Where float32's own rounding leaves no such
pair the word's resolution is halved and asked again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy import IntegerNetwork, PolicyError
from qpolicy_ros.policy.numpy_engine import NumpyEngine

Int64 = npt.NDArray[np.int64]

WORD_BITS = 16
FACTOR_BITS = 24  # of the DSP's 25-bit signed operand
MAX_SHIFT = 36  # with the code's bits above it within the DSP's 48
SHIFT_STEP = 4  # shifts are multiples of this, so that few are different
_FAR = 1 << 45  # beyond every offset
_COARSER = 10  # halvings of the resolution that are tried
_FRACTIONS = (-60, 60)  # float32 holds every such word exactly
LOWEST, HIGHEST = -(1 << (WORD_BITS - 1)), (1 << (WORD_BITS - 1)) - 1


@dataclass(frozen=True)
class Product:
    """How one input's word becomes its code.

    Attributes:
        fraction: the word stands for ``word 2^-fraction``.
        factor, offset, shift: of the product above.
    """

    fraction: int
    factor: int
    offset: int
    shift: int

    @property
    def zeros(self) -> int:
        """Zeros at the low end of the offset, at most as many as are shifted out."""
        return min(self.shift, (self.offset & -self.offset).bit_length() - 1 if self.offset else 64)

    def values(self, words: npt.ArrayLike) -> Int64:
        """Return the value before the clip for each word."""
        wide: Int64 = (np.asarray(words, np.int64) * self.factor + self.offset) >> self.shift
        return wide


def input_products(network: IntegerNetwork) -> tuple[Product, ...]:
    """Return one product an input, each equal to the contract for every word.

    Raises:
        PolicyError: an input has none at any resolution that was tried.
    """
    engine = NumpyEngine(network)
    fractions = _finest(network)
    found: list[Product | None] = [None] * network.mean.size
    for _ in range(_COARSER):
        missing = [i for i, product in enumerate(found) if product is None]
        if not missing:
            break
        thresholds = word_thresholds(engine, network, fractions)
        for i in missing:
            found[i] = _product(network, thresholds[i], i, int(fractions[i]))
            if found[i] is None:
                fractions[i] -= 1
    for i, product in enumerate(found):
        if product is None:
            raise PolicyError(
                f"with-io: input {i}: no product of {FACTOR_BITS} bits gives the contract's codes; "
                "generate without --with-io and quantise in software"
            )
    return tuple(product for product in found if product is not None)


def word_thresholds(engine: NumpyEngine, network: IntegerNetwork, fractions: Int64) -> Int64:
    """Return for each input and code but the lowest the least word that gives at least that code.

    Int64 ``(n, 2^b - 1)``; ``HIGHEST + 1`` where no word does.
    """
    low_code, high_code = network.input_range
    scale = np.ldexp(1.0, -fractions)
    columns = []
    for code in range(low_code + 1, high_code + 1):
        low = np.full(fractions.size, LOWEST, np.int64)
        high = np.full(fractions.size, HIGHEST + 1, np.int64)
        while np.any(low < high):
            middle = (low + high) >> 1
            words = np.minimum(middle, HIGHEST)
            reached = engine.input_codes((words * scale).astype(np.float32)) >= code
            open_ = low < high
            high = np.where(open_ & reached, middle, high)
            low = np.where(open_ & ~reached, middle + 1, low)
        columns.append(low)
    return np.stack(columns, axis=1)


def _finest(network: IntegerNetwork) -> Int64:
    """Fractions with which a word just holds everything between the two clips."""
    low, high = network.input_range
    gain, mean = network.gain.astype(np.float64), network.mean.astype(np.float64)
    far = np.maximum(np.abs(mean + (low - 1) / gain), np.abs(mean + (high + 1) / gain))
    with np.errstate(over="ignore"):
        finest = np.floor(np.log2((HIGHEST - 1) / np.maximum(far, 1e-30)))
    return np.clip(finest, *_FRACTIONS).astype(np.int64)


def _product(
    network: IntegerNetwork, thresholds: Int64, index: int, fraction: int
) -> Product | None:
    """Return a factor and an offset that put every threshold on its word, None if there are none.

    For code k at word t: ``t factor + offset >= k 2^shift > (t - 1) factor + offset``.
    """
    low, high = network.input_range
    codes = np.arange(low + 1, high + 1)
    slope = float(np.ldexp(float(network.gain[index]), -fraction))
    # Steeper than this, every code is passed within one word.
    slope = min(slope, float(1 << (network.input_bits + 1)))
    shift = int(np.floor(np.log2((1 << FACTOR_BITS) / slope) / SHIFT_STEP)) * SHIFT_STEP
    shift = min(shift, MAX_SHIFT)
    middle = round(slope * (1 << shift))
    best: tuple[int, int, int] | None = None
    for factor in range(max(middle - 8, 1), min(middle + 9, 1 << FACTOR_BITS)):
        lines = codes * (1 << shift)
        # A code that every word reaches, or none, bounds one side only.
        least = np.where(thresholds <= HIGHEST, lines - thresholds * factor, -_FAR)
        most = np.where(thresholds > LOWEST, lines - (thresholds - 1) * factor, _FAR)
        room = int(most.min()) - int(least.max())
        if room > 0 and (best is None or room > best[0]):
            best = room, factor, _roundest(int(least.max()), int(most.min()))
    return None if best is None else Product(fraction, best[1], best[2], shift)


def _roundest(least: int, end: int) -> int:
    """Return the multiple of the highest power of two in ``[least, end)``: it is short to add."""
    for place in reversed(range(_FAR.bit_length())):
        multiple = -(-least >> place) << place
        if multiple < end:
            return multiple
    return least


@dataclass(frozen=True, eq=False)
class ActionWords:
    """Action tables in fixed point: ``action ~ word 2^-fraction``, rounded to nearest.

    Attributes:
        fractions: one an action.
        words: int64 ``(m, 2^b_out)``, indexed by ``code - code_min``.
    """

    fractions: tuple[int, ...]
    words: Int64


def action_words(network: IntegerNetwork) -> ActionWords:
    """Return the action table as words, each action with the finest fraction that holds its row."""
    table = network.table.astype(np.float64)
    far = np.maximum(np.abs(table).max(axis=1), 1e-9)
    fractions = np.floor(np.log2(HIGHEST / far)).astype(int)
    words: Any = np.rint(np.ldexp(table, fractions[:, None])).astype(np.int64)
    return ActionWords(tuple(fractions.tolist()), words)
