"""When things happen: registers of a tree, cycles of a layer, cycles of the core.

What is generated and what the explorer estimates both ask here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from qpolicy_fpga.emit.fanout import copies
from qpolicy_fpga.emit.tail import tail_cycles, tail_delay
from qpolicy_fpga.emit.tree import Tree
from qpolicy_fpga.emit.verilog import CLOCK_TO_OUT, adder_delay
from qpolicy_fpga.emit.weights import read_cycles
from qpolicy_fpga.plan.form import Form, tail_kind
from qpolicy_fpga.plan.layer import BUS_BITS, Layer


@dataclass(frozen=True)
class Timing:
    """What all trees of a layer have in common.

    Attributes:
        kind: of the tail.
        stages: registers until the sum.
        serial: whether bit planes or chunks are added one after another, in an accumulator.
        early: whether the tail looks at the accumulator's next value.
        registered: whether the sum is registered once more before the tail.
        groups: groups of trees with a registered copy of the codes each; 0 = they read the codes
            themselves.
        lead: cycles by which the trees see codes later for that. None where they wait for weights
            from block RAM anyway.
    """

    kind: str
    stages: int
    serial: bool
    early: bool
    registered: bool
    groups: int
    lead: int

    @property
    def before_tail(self) -> int:
        """Registers between the codes and what the tail looks at."""
        waits = int(self.serial and not self.early) + int(self.registered)
        return self.lead + self.stages + waits


def align(layer: Layer, form: Form, trees: Sequence[Tree], budget: float) -> Timing:
    """Give every tree the same number of stages and choose where the tail begins."""
    kind = tail_kind(layer, form)
    serial = form.stream or form.plane_steps(layer.code_bits) > 1
    width = max(tree.total for tree in trees)
    tail = tail_delay(kind, width, form.fold)
    stages = max(tree.heap.stages for tree in trees)
    time = max(tree.heap.time for tree in trees if tree.heap.stages == stages)
    early = registered = False
    if serial:
        if time + adder_delay(width) > budget:
            stages, time = stages + 1, CLOCK_TO_OUT
        early = time + adder_delay(width) + tail <= budget
    elif time + tail > budget:
        registered = True
    groups = copies(layer, form)
    lead = int(groups > 0 and not form.ram)
    return Timing(kind, stages, serial, early, registered, groups, lead)


@dataclass(frozen=True)
class LayerTiming:
    """Cycles of a layer in one form.

    Attributes:
        form: how it is laid out.
        chunks: chunks in which it takes its input codes, 1 = all at once.
        steps: steps of a frame, or of a chunk.
        reads: cycles by which its reading of the input codes ends later than its steps.
        latency: cycles from the first of them (the last chunk's) to the last output code's
            visibility.
        spread: cycles between the first output codes written and the last.
    """

    form: Form
    chunks: int
    steps: int
    reads: int
    latency: int
    spread: int


def layer_timing(layer: Layer, form: Form, timing: Timing) -> LayerTiming:
    """Return the cycles of ``layer`` laid out as ``form``, whose trees have ``timing``."""
    steps = form.steps(layer.code_bits)
    reads = read_cycles(form, layer.code_bits)
    latency = steps - 1 + reads + timing.before_tail + tail_cycles(timing.kind, layer.out_bits)
    spread = (form.fold - 1) * form.plane_steps(layer.code_bits)
    return LayerTiming(form, layer.chunks, steps, reads, latency, spread)


@dataclass(frozen=True)
class Core:
    """Timing of the whole core.

    Attributes:
        codes_per_beat: input codes of one beat.
        beats: beats a frame.
        cycles: from the cycle in which the first beat is accepted to the one in which the result
            is valid, beats without gaps.
        interval: cycles between the first beats of two frames, at best.
        gap: cycles from a frame's last beat to the next frame's first, at least.
        credits: frames in flight or waiting, at most.
        direct: whether the first layer reads the bus, or every beat of it, without a register.
    """

    codes_per_beat: int
    beats: int
    cycles: int
    interval: int
    gap: int
    credits: int
    direct: bool


def core_timing(inputs: int, code_bits: int, layers: Sequence[LayerTiming]) -> Core:
    """Return when things happen in a core of ``layers`` that takes ``inputs`` codes."""
    codes = min(inputs, BUS_BITS // code_bits)
    beats = -(-inputs // codes)
    direct = layers[0].chunks > 1 or (beats == 1 and layers[0].steps == 1)
    # One more: results are shown from a register.
    cycles = beats - 1 + int(not direct) + sum(layer.latency for layer in layers) + 1
    # A bank may only be written again when the layer that reads it has finished.
    gap = max(layer.steps + layer.reads for layer in layers)
    for writer, reader in pairwise(layers):
        if reader.chunks == 1:  # else it takes each phase in the cycle in which it is there
            gap = max(gap, writer.spread + reader.steps + reader.reads)
    gap = max(gap, layers[-1].spread + 1)
    interval = beats - 1 + gap
    return Core(codes, beats, cycles, interval, gap, -(-cycles // interval) + 1, direct)
