"""A neuron of few input bits as truth tables: a table for each bit of its code, and no sum."""

from __future__ import annotations

import numpy as np

from qpolicy_fpga.emit.bit_heap import Heap
from qpolicy_fpga.emit.tail import sign_bits
from qpolicy_fpga.emit.tree import Tree
from qpolicy_fpga.emit.verilog import LUT_DELAY, LUT_INPUTS, Module, table_bit
from qpolicy_fpga.plan.layer import Layer


def lookup_levels(bits: int) -> int:
    """Look-up tables on the way from ``bits`` input bits to a code's bit."""
    return 1 if bits <= LUT_INPUTS else 1 + -(-(bits - LUT_INPUTS) // 2)


def make_lookup(name: str, layer: Layer, neuron: int, budget: float) -> Tree:
    """Return neuron ``neuron`` in module ``name``, all of it but its ports."""
    module = Module(name, [])
    used = np.flatnonzero(layer.magnitude[neuron])
    # Address bit ``place * code_bits + plane`` is that plane of the used input ``place``.
    bits = [f"c[{plane * layer.chunk + i}]" for i in used for plane in range(layer.code_bits)]
    for bit, table in enumerate(_codes(layer, neuron, used)):
        module.lines.append(f"    assign code[{bit}] = {table_bit(module, bits, table)};")
    heap = Heap(module, budget, 1)
    heap.time += lookup_levels(len(bits)) * LUT_DELAY
    return Tree(module, (neuron,), heap, width=1, total=1, phases=0)


def _codes(layer: Layer, neuron: int, used: np.ndarray) -> list[list[int]]:
    """The truth table of each bit of the code, lowest bit first."""
    count = len(used) * layer.code_bits
    address = np.arange(1 << count)
    full = (1 << layer.code_bits) - 1
    total = np.zeros_like(address)
    for place, i in enumerate(used):
        value = address >> place * layer.code_bits & full
        if layer.negative[neuron, i]:
            value = full - value
        total += layer.magnitude[neuron, i] * value
    code = np.searchsorted(layer.thresholds[neuron], total, side="right") ^ sign_bits(layer)
    return [(code >> bit & 1).tolist() for bit in range(layer.out_bits)]
