"""One tree: the adders that ``fold`` neurons share, one neuron a phase.

The weights are in the look-up tables: a first-level table sees the phase and a few input bits
and gives the weighted sum of these bits for the neuron of that phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qpolicy_fpga.heap import Heap, tables_of
from qpolicy_fpga.verilog import LUT_DELAY, LUT_INPUTS, Module, invert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpolicy_fpga.arith import Layer
    from qpolicy_fpga.plan import Form


@dataclass
class Tree:
    """A tree under construction.

    Attributes:
        module: its Verilog.
        neurons: the neuron of each phase; a phase without one computes 0.
        heap: where its bits are.
        width: bits of the sum of one step.
        total: bits of ``H``, at least those of an input code.
    """

    module: Module
    neurons: tuple[int | None, ...]
    heap: Heap
    width: int
    total: int
    sum: str = ""


def phase_bits(fold: int) -> int:
    """Bits of the phase counter of ``fold`` neurons."""
    return (fold - 1).bit_length()


def make_tree(
    name: str, layer: Layer, neurons: Sequence[int | None], form: Form, budget: float
) -> Tree:
    """Return the tree up to its sum, in module ``name``; ports are added by the caller."""
    module = Module(name, [])
    planes = form.planes
    choices = layer.planes // planes
    start = 0.0 if choices == 1 else LUT_DELAY if choices <= 4 else 2 * LUT_DELAY
    highest = max(int(layer.high[n]) for n in neurons if n is not None)
    full = (1 << layer.planes) - 1
    step_high = highest // full * ((1 << planes) - 1)
    width = max(1, step_high.bit_length())
    heap = Heap(module, budget, width)
    heap.time += start
    for plane in range(planes):
        if form.ram:
            _stored(heap, layer, neurons, plane)
        elif len(neurons) == 1:
            _plain(heap, layer, neurons[0] or 0, plane)
        else:
            _phased(heap, layer, neurons, plane)
    if len(neurons) > 1:
        heap.time += LUT_DELAY
    tree = Tree(
        module=module,
        neurons=tuple(neurons),
        heap=heap,
        width=width,
        total=max(layer.planes, highest.bit_length()),
    )
    tree.sum = heap.total("sum")
    return tree


def _plain(heap: Heap, layer: Layer, neuron: int, plane: int) -> None:
    """Bits of one neuron with constant weights: a plain or inverted input bit a weight digit."""
    magnitude, negative = layer.magnitude[neuron], layer.negative[neuron]
    if plane == 0 and any(value & (value - 1) for value in magnitude):
        heap.time += LUT_DELAY  # the counters of weights with several digits
    for value in sorted({int(v) for v in magnitude} - {0}):
        chosen = [
            invert(bit) if negative[i] else bit
            for i, bit in enumerate(_input_bits(layer, plane))
            if magnitude[i] == value
        ]
        _weighted(heap, value, plane, chosen)


def _weighted(heap: Heap, value: int, plane: int, bits: list[str]) -> None:
    """Add ``value`` times the number of set ``bits``; several digits share one counter."""
    digits = [place for place in range(value.bit_length()) if value >> place & 1]
    while bits:
        size = 1
        if len(digits) > 1 and len(bits) >= 3:
            size = min(len(bits), LUT_INPUTS)
        group, bits = bits[:size], bits[size:]
        counted = group
        if size > 1:
            values = [(address).bit_count() for address in range(1 << size)]
            counted = [heap.module.lut(group, table) for table in tables_of(values)]
        for digit in digits:
            for place, bit in enumerate(counted):
                heap.add(plane + digit + place, bit)


def _phased(heap: Heap, layer: Layer, neurons: Sequence[int | None], plane: int) -> None:
    """Bits of several neurons in turn: tables of the phase and a few input bits."""
    count = phase_bits(len(neurons))
    phase = [f"phase[{b}]" for b in range(count)]
    size = LUT_INPUTS - count
    rows = [n for n in neurons if n is not None]
    used = np.flatnonzero(layer.magnitude[rows].max(axis=0))
    # Inputs of like magnitude share a table, so that its value needs few bits.
    used = used[np.argsort(layer.magnitude[rows][:, used].max(axis=0), kind="stable")]
    bits = _input_bits(layer, plane)
    # Magnitudes and signs by phase; a phase without a neuron computes 0.
    magnitude = np.zeros((1 << count, len(used)), np.int64)
    negative = np.zeros_like(magnitude)
    for at, neuron in enumerate(neurons):
        if neuron is not None:
            magnitude[at] = layer.magnitude[neuron, used]
            negative[at] = layer.negative[neuron, used]
    for start in range(0, len(used), size):
        group = slice(start, min(start + size, len(used)))
        width = group.stop - start
        taken = (np.arange(1 << width)[:, None] >> np.arange(width)) & 1
        # (phases, values of the group's bits)
        terms = (taken[None] ^ negative[:, None, group]) * magnitude[:, None, group]
        names = [bits[i] for i in used[group]] + phase
        for place, table in enumerate(tables_of(terms.sum(axis=2).ravel().tolist())):
            heap.add(plane + place, heap.module.lut(names, table))


def weight_bits(layer: Layer) -> int:
    """Bits of a weight in block RAM: magnitude below, sign on top."""
    return int(layer.magnitude.max()).bit_length() + 1


def _stored(heap: Heap, layer: Layer, neurons: Sequence[int | None], plane: int) -> None:
    """Bits of one plane times weights ``w`` that come from block RAM."""
    size = weight_bits(layer)
    rows = [n for n in neurons if n is not None]
    for i, bit in enumerate(_input_bits(layer, plane)):
        for digit in range(size - 1):
            if (layer.magnitude[rows, i] >> digit & 1).any():
                names = [f"w[{i * size + digit}]", f"w[{i * size + size - 1}]", bit]
                # magnitude & (sign ^ bit)
                heap.add(plane + digit, heap.module.lut(names, 0b00101000))


def _input_bits(layer: Layer, plane: int) -> list[str]:
    """Names of the input bits of one plane of a step."""
    return [f"c[{plane * layer.inputs + i}]" for i in range(layer.inputs)]
