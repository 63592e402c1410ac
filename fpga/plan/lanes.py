"""Lanes of the input quantiser: which inputs one multiplier serves, and what it needs for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qpolicy_fpga.plan.fixed_point import HIGHEST, LOWEST, WORD_BITS, Product
from qpolicy_fpga.plan.layer import BUS_BITS

MAX_LANES = BUS_BITS // WORD_BITS
FACTOR_BITS, SUM_BITS = 25, 48  # of a DSP


@dataclass(frozen=True)
class Lane:
    """One multiplier, and what follows it up to a code.

    Attributes:
        served: the product of each beat of words; another one's where there is no input.
        width: bits of the value before it is clipped to a code.
        shifts: the places from which on a value is taken from a sum, ascending.
        zeros: below the last place of any offset nothing is added and nothing is looked at.
    """

    served: tuple[Product, ...]
    width: int
    shifts: tuple[int, ...]
    zeros: int

    @property
    def sum_bits(self) -> int:
        """Bits of the sum of product and offset."""
        return SUM_BITS - self.zeros

    @property
    def select_bits(self) -> int:
        """Bits of the choice of a shift."""
        return max(1, (len(self.shifts) - 1).bit_length())

    @property
    def constants(self) -> dict[str, tuple[int, list[int]]]:
        """Bits, and the values of each beat, of every register that holds a constant."""
        return {
            "factor": (FACTOR_BITS, [p.factor for p in self.served]),
            "offset": (self.sum_bits, [p.offset >> self.zeros for p in self.served]),
            "select_2": (self.select_bits, [self.shifts.index(p.shift) for p in self.served]),
        }

    @property
    def tables(self) -> float:
        """Look-up tables that Yosys makes of it: an estimate, -2 % to +31 % for nine policies.

        A bit of a constant that changes is a table; with two beats it is the phase or its opposite,
        and most of them are shared. Up to three more places of a bit of the value are one table.
        """
        changing = sum(
            any((value ^ values[0]) >> bit & 1 for value in values)
            for size, values in self.constants.values()
            for bit in range(size)
        )
        looked_up = changing if len(self.served) > 2 else changing / 4
        shifted = self.width * -(-(len(self.shifts) - 1) // 3)
        return 1.1 * (2.4 * self.width + looked_up + shifted)


def split(codes: int) -> tuple[int, int]:
    """Return beats of words for a core's beat of ``codes`` codes, and words of such a beat."""
    groups = -(-codes // MAX_LANES)
    return groups, -(-codes // groups)


def lanes_of(products: Sequence[Product], beats: int, codes: int, bits: int) -> list[Lane]:
    """Return the lanes that quantise an observation.

    Args:
        products: one an input.
        beats: of the core, an observation.
        codes: a beat of the core.
        bits: of a code.
    """
    groups, count = split(codes)
    lanes = []
    for lane in range(count):
        served = []
        for beat in range(beats * groups):
            at = beat % groups * count + lane
            index = beat // groups * codes + at
            served.append(products[index] if at < codes and index < len(products) else None)
        real = [product for product in served if product is not None]
        ends = [int(v) for product in real for v in product.values([LOWEST, HIGHEST])]
        lanes.append(
            Lane(
                served=tuple(product or real[0] for product in served),
                width=max(max(abs(end) for end in ends).bit_length() + 1, bits + 1),
                shifts=tuple(sorted({product.shift for product in real})),
                zeros=min(product.zeros for product in real),
            )
        )
    return lanes
