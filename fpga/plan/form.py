"""How a layer is laid out in space and time."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

from qpolicy_fpga.plan.layer import Layer
from qpolicy_fpga.plan.multiply_shift import find_scale

# Clock period minus what routing takes: TARGETS.md's figure for 100 MHz, scaled by the period.
LOGIC_SHARE = 0.35
MAX_COMPARE_BITS = 4
MAX_TABLE_BITS = 8
# Input bits of a neuron that is a truth table: a look-up table has six.
MAX_LOOKUP_BITS = 8
MAX_ROM_BITS = 13
MAX_ROMS = 24
# A table that takes more than one block RAM gives way to a DSP, which is a cycle slower.
BLOCK_RAM_BITS = 36_864
MAX_SCALES = 24
# From this fold on a search is smaller than a comparator a threshold.
MIN_SEARCH_FOLD = 16


def phase_bits(fold: int) -> int:
    """Bits of the phase counter of ``fold`` neurons."""
    return (fold - 1).bit_length()


@dataclass(frozen=True)
class Form:
    """How one layer is computed.

    A step adds ``planes`` bit planes of every input for one neuron of each tree; ``fold``
    neurons share a tree of adders, in turn.

    Attributes:
        fold: neurons a tree serves, 1 = one tree a neuron (fully unrolled).
        planes: bit planes of the input codes added a step.
        ram: whether weights are read from block RAM; otherwise they are in the look-up tables.
        stream: whether the layer takes its input codes in chunks as they come, a step each: a
            phase of the layer before it, or a beat of the bus. Every neuron has its own tree then
            (``fold`` is 1) and all planes are added at once.
        lookup: whether a neuron is a truth table of its input bits for each bit of its code: no
            sum is taken. ``fold`` is 1 and all planes are there at once.
    """

    fold: int
    planes: int
    ram: bool = False
    stream: bool = False
    lookup: bool = False

    def listed(self) -> tuple[Any, ...]:
        """The form as a manifest lists it: its last flag only where it is set."""
        return astuple(self) if self.lookup else astuple(self)[:-1]

    def steps(self, code_bits: int) -> int:
        """Steps for one frame."""
        return self.fold * self.plane_steps(code_bits)

    def plane_steps(self, code_bits: int) -> int:
        """Steps for one neuron."""
        return -(-code_bits // self.planes)


def logic_budget(clock_mhz: float) -> float:
    """Pre-route time allowed between registers, ns."""
    return LOGIC_SHARE * 1000 / clock_mhz


def tail_kind(layer: Layer, form: Form) -> str:
    """Return how sums become codes.

    ``compare``: all thresholds at once; ``staged``: the same with a register behind the
    comparators; ``table``: look-up tables addressed by the sum; ``rom``: a block RAM addressed by
    the sum (and the phase); ``scale``: multiply, add and shift in a DSP, where that is exact for
    every sum; ``search``: binary search, a bit a cycle. ``lookup``: there are no sums.
    """
    if form.lookup:
        return "lookup"
    fold = form.fold
    phase_bits = (fold - 1).bit_length()
    address_bits = layer.sum_bits + phase_bits
    if layer.out_bits == 2 or (layer.out_bits < MAX_COMPARE_BITS and fold < MIN_SEARCH_FOLD):
        deep = layer.out_bits > 2 and layer.sum_bits > MAX_TABLE_BITS
        return "staged" if deep else "compare"
    if address_bits <= MAX_TABLE_BITS:
        return "table"
    large = layer.out_bits << address_bits > BLOCK_RAM_BITS
    alone = fold == 1 and layer.neurons <= MAX_SCALES
    if large and alone and find_scale(layer.thresholds, layer.high) is not None:
        return "scale"
    if address_bits <= MAX_ROM_BITS and layer.neurons <= fold * MAX_ROMS:
        return "rom"
    return "search"
