"""What a form of a layer costs, without writing all of it: sample trees and a few formulas.

The counters of a tree are counted exactly, on a few trees of the layer; what Yosys makes of
adders, comparators and multiplexers is modelled with coefficients fitted to the designs of
docs/fpga/ideas.md. ``MARGIN`` of a part stays free, as the model has been 5.3 % too low at worst.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qpolicy_fpga.emit.layer import assign_neurons
from qpolicy_fpga.emit.lookup import make_lookup
from qpolicy_fpga.emit.timing import LayerTiming, align, layer_timing
from qpolicy_fpga.emit.tree import Tree, make_tree, weight_bits
from qpolicy_fpga.emit.weights import blocks
from qpolicy_fpga.plan.form import Form, phase_bits
from qpolicy_fpga.plan.layer import Layer, chunks_of, make_layer
from qpolicy_ros.policy import IntegerNetwork

SAMPLES = 3
MARGIN = 0.05
BRAM_BITS = 18_432


@dataclass(frozen=True)
class Cost(LayerTiming):
    """Estimate for one layer in one form; its cycles are exact but for padding between trees.

    Attributes:
        lut, ff, carry4: estimated cells.
        bram36: block RAMs, halves counted.
        dsp: DSPs, exact.
    """

    lut: float
    ff: float
    carry4: float
    bram36: float
    dsp: int


def layer_cost(
    network: IntegerNetwork, index: int, form: Form, budget: float, fold_before: int = 1
) -> Cost:
    """Return the cost of layer ``index`` laid out as ``form``.

    Args:
        network: the policy.
        index: of the layer.
        form: its form.
        budget: ns of logic between registers.
        fold_before: fold of the layer before it, which a layer that takes chunks must know.
    """
    chunks = chunks_of(network, index, fold_before) if form.stream else None
    layer = make_layer(network, index, form.planes, chunks)
    groups = assign_neurons(layer.neurons, form.fold)
    # The heaviest tree sets the timing; the others are for the mean.
    weight = [layer.magnitude[[n for n in group if n is not None]].sum() for group in groups]
    order = np.argsort(weight)
    picks = {int(order[-1]), int(order[len(order) // 2]), int(order[0])}
    if form.lookup:  # tables differ more than trees do, and are soon made
        trees = [make_lookup("sample", layer, n, budget) for n in range(layer.neurons)]
    else:
        trees = [make_tree("sample", layer, groups[pick], form, budget) for pick in sorted(picks)]
    timing = align(layer, form, trees, budget)
    count = len(groups)
    cells = [_tree_cells(layer, form, tree, timing.kind, serial=timing.serial) for tree in trees]
    lut, ff, carry = (count * float(np.mean([cell[i] for cell in cells])) for i in range(3))
    plane_steps = form.plane_steps(layer.code_bits)
    if plane_steps > 1:
        # the planes' multiplexer
        lut += layer.inputs * form.planes * (1 if plane_steps <= 4 else 3)
    ff += layer.neurons * layer.out_bits + 10 + timing.groups * layer.chunk * form.planes
    if form.ram:
        bits = count * layer.inputs * weight_bits(layer)
        ff += bits if plane_steps == 1 else 2 * bits
    return Cost(
        **vars(layer_timing(layer, form, timing)),
        lut=lut + 15 + (15 if form.fold > 1 or form.stream else 0),
        ff=ff,
        carry4=carry,
        bram36=_block_rams(layer, form, count, timing.kind),
        dsp=count if timing.kind == "scale" else 0,
    )


def _tree_cells(
    layer: Layer, form: Form, tree: Tree, kind: str, *, serial: bool
) -> tuple[float, float, float]:
    """Look-up tables, flip-flops and carry chains of one tree with its tail."""
    if kind == "lookup":
        return float(tree.module.luts), 0.0, 0.0
    adder = max(tree.width - 2, 0)
    lut, ff, carry = float(tree.module.luts + adder), float(tree.module.flops), adder / 4 + 0.5
    if serial:
        lut, ff, carry = lut + tree.total, ff + tree.total, carry + tree.total / 4 + 0.5
    else:
        ff += tree.total
    width, phases, out = tree.total, phase_bits(form.fold), layer.out_bits
    levels = (1 << out) - 1
    if kind in ("compare", "staged") and form.fold == 1:
        lut += levels * (1 + width / 8) + out
    elif kind in ("compare", "staged"):
        lut += levels * (width + 1) + 2 * out
        carry += levels * ((width + 4) // 4)
    elif kind == "table":
        lut += 0.7 * out * max(1.0, 2 ** (width + phases - 6))
    elif kind == "scale":
        lut += 2 * out + 6
    elif kind == "search":
        stored = sum(max(1.0, 2 ** (phases + stage - 6)) * width for stage in range(out))
        lut += out * width + 1.3 * stored
        carry += out * (width + 4) / 4
        ff += out * (3 * width + out / 2)
    return lut, ff + phases + tree.phases * phase_bits(max(form.fold, layer.chunks)), carry


def _block_rams(layer: Layer, form: Form, trees: int, kind: str) -> float:
    """Block RAMs of weights and of tables of codes."""
    total = 0.0
    if form.ram:
        total += blocks(layer, form, trees)
    if kind == "rom":
        bits = layer.out_bits << (layer.sum_bits + phase_bits(form.fold))
        total += trees * max(1, -(-bits // BRAM_BITS)) / 2
    return total
