"""One tree: the adders that ``fold`` neurons share, one neuron a phase.

The weights are in the look-up tables: a first-level table sees the phase and a few input bits
and gives the weighted sum of these bits for the neuron of that phase. Where input codes come in
chunks the tree has one neuron, and a phase is a chunk of its weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qpolicy_fpga.emit.bit_heap import Heap, tables_of
from qpolicy_fpga.emit.fanout import MAX_LOADS, copies
from qpolicy_fpga.emit.tail import delays_after
from qpolicy_fpga.emit.verilog import LUT_DELAY, LUT_INPUTS, Module, invert, table_bit
from qpolicy_fpga.plan.form import Form, phase_bits
from qpolicy_fpga.plan.layer import Layer
from qpolicy_ros.policy.model import Int64

# From this many bits of the phase on a table of phase and inputs holds too few inputs.
MAX_PHASE_BITS = 5


@dataclass
class Tree:
    """A tree under construction.

    Attributes:
        module: its Verilog.
        neurons: the neuron of each phase; a phase without one computes 0. One where input codes
            come in chunks.
        heap: where its bits are.
        width: bits of the sum of one step.
        total: bits of ``H``, at least those of an input code.
        phases: registers of the phase, each for so many tables.
    """

    module: Module
    neurons: tuple[int | None, ...]
    heap: Heap
    width: int
    total: int
    phases: int
    sum: str = ""


def make_tree(
    name: str, layer: Layer, neurons: Sequence[int | None], form: Form, budget: float
) -> Tree:
    """Return the tree up to its sum, in module ``name``; ports are added by the caller."""
    module = Module(name, [])
    planes = form.planes
    choices = layer.planes // planes
    start = 0.0 if choices == 1 else LUT_DELAY if choices <= 4 else 2 * LUT_DELAY
    if copies(layer, form):
        start = 0.0  # planes are chosen in front of a register
    highest = max(int(layer.high[n]) for n in neurons if n is not None)
    rows = weight_rows(layer, neurons)
    step_high = int(rows[0].sum(axis=1).max()) * ((1 << planes) - 1)
    width = max(1, step_high.bit_length())
    heap = Heap(module, budget, width)
    heap.time += start
    phases = len(rows[0])
    words = _weight_names(layer)
    if looked_up(layer):
        words = _looked_up(heap, rows, words)
    for plane in range(planes):
        if form.ram or looked_up(layer):
            _stored(heap, layer, rows[0], words, plane)
        elif phases == 1:
            _plain(heap, layer, neurons[0] or 0, plane)
        else:
            _phased(heap, layer, rows, plane)
    # All tables so far read the phase, unless weights come from elsewhere.
    copied = 0 if phases == 1 or form.ram or looked_up(layer) else _phase_copy(heap) + 1
    if phases > 1:
        heap.time += LUT_DELAY
    tree = Tree(
        module=module,
        neurons=tuple(neurons),
        heap=heap,
        width=width,
        total=max(layer.planes, highest.bit_length()),
        phases=copied,
    )
    tree.sum = heap.total("sum", delays_after(layer, form, tree.total))
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


def weight_rows(layer: Layer, neurons: Sequence[int | None]) -> tuple[Int64, Int64]:
    """Return magnitudes and signs (1 = negative) by phase, ``(phases, inputs of a step)`` each.

    A phase is a neuron of ``neurons`` or, where input codes come in chunks, one of the only one.
    A phase without a neuron and a place without an input have weight 0.
    """
    shape = (layer.chunks, layer.chunk) if layer.chunks > 1 else (len(neurons), layer.inputs)
    magnitude, negative = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for rows, source in ((magnitude, layer.magnitude), (negative, layer.negative)):
        if layer.chunks > 1:
            rows.flat[: layer.inputs] = source[neurons[0]]
        else:
            for phase, neuron in enumerate(neurons):
                if neuron is not None:
                    rows[phase] = source[neuron]
    return magnitude, negative


def _phased(heap: Heap, layer: Layer, rows: tuple[Int64, Int64], plane: int) -> None:
    """Bits times the weights of a phase: tables of the phase and a few input bits."""
    phases = len(rows[0])
    count = phase_bits(phases)
    size = LUT_INPUTS - count
    most = rows[0].max(axis=0)
    used = np.flatnonzero(most)
    # Inputs of like magnitude share a table, so that its value needs few bits.
    used = used[np.argsort(most[used], kind="stable")]
    bits = _input_bits(layer, plane)
    magnitude = np.zeros((1 << count, len(used)), np.int64)
    negative = np.zeros_like(magnitude)
    magnitude[:phases], negative[:phases] = (values[:, used] for values in rows)
    for start in range(0, len(used), size):
        group = slice(start, min(start + size, len(used)))
        width = group.stop - start
        taken = (np.arange(1 << width)[:, None] >> np.arange(width)) & 1
        # (phases, values of the group's bits)
        terms = (taken[None] ^ negative[:, None, group]) * magnitude[:, None, group]
        phase = f"own_phase{_phase_copy(heap)}"
        names = [bits[i] for i in used[group]] + [f"{phase}[{b}]" for b in range(count)]
        for place, table in enumerate(tables_of(terms.sum(axis=2).ravel().tolist())):
            heap.add(plane + place, heap.module.lut(names, table))


def _phase_copy(heap: Heap) -> int:
    """Number of the phase's register that the next table reads."""
    return heap.module.luts // MAX_LOADS


def weight_bits(layer: Layer) -> int:
    """Bits of a weight that is looked up or stored: magnitude below, sign on top."""
    return int(layer.magnitude.max()).bit_length() + 1


def looked_up(layer: Layer) -> bool:
    """Whether the weights of a chunk come from tables of their own, a cycle ahead."""
    return phase_bits(layer.chunks) > MAX_PHASE_BITS


def _weight_names(layer: Layer) -> list[list[str]]:
    """Names of the bits of every weight from block RAM."""
    size = weight_bits(layer)
    return [[f"w[{i * size + digit}]" for digit in range(size)] for i in range(layer.chunk)]


def _looked_up(heap: Heap, rows: tuple[Int64, Int64], words: list[list[str]]) -> list[list[str]]:
    """Registers of the weights of the next chunk; return the names of their bits."""
    magnitude, negative = rows
    phase = [f"phase_next[{bit}]" for bit in range(phase_bits(len(magnitude)))]
    names = []
    for i, word in enumerate(words):
        digits = [magnitude[:, i] >> digit & 1 for digit in range(len(word) - 1)]
        names += [
            table_bit(heap.module, phase, bits.tolist()) for bits in (*digits, negative[:, i])
        ]
    registered = iter(heap.module.register(names))
    return [[next(registered) for _ in word] for word in words]


def _stored(heap: Heap, layer: Layer, magnitude: Int64, words: list[list[str]], plane: int) -> None:
    """Bits of one plane times weights that come from block RAM or tables."""
    for i, bit in enumerate(_input_bits(layer, plane)):
        *digits, sign = words[i]
        for place, digit in enumerate(digits):
            if (magnitude[:, i] >> place & 1).any():
                # magnitude & (sign ^ bit)
                heap.add(plane + place, heap.module.lut([digit, sign, bit], 0b00101000))


def _input_bits(layer: Layer, plane: int) -> list[str]:
    """Names of the input bits of one plane of a step."""
    return [f"c[{plane * layer.chunk + i}]" for i in range(layer.chunk)]
