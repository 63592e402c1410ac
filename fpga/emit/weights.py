"""Weights in block RAM: one word a phase, read into the block's own output register and ours."""

from __future__ import annotations

from collections.abc import Sequence

from qpolicy_fpga.emit.fanout import ENABLED, enabled
from qpolicy_fpga.emit.tree import weight_bits
from qpolicy_fpga.plan.form import Form, phase_bits
from qpolicy_fpga.plan.layer import Layer

WORD_BITS = 72  # the widest port of a 36 Kbit block
WORDS = 512  # words of that width in it


def read_cycles(form: Form, code_bits: int) -> int:
    """Cycles by which weights come later than their step's number.

    One for the register behind the block RAM. A neuron's weights that are read in several pieces,
    one a step, are put together when the last has come.
    """
    if not form.ram:
        return 0
    pieces = form.plane_steps(code_bits)
    return 1 if pieces == 1 else pieces + 1


def blocks(layer: Layer, form: Form, trees: int) -> int:
    """Block RAMs of 36 Kbit for the weights of ``trees`` trees."""
    width = -(-trees * layer.inputs * weight_bits(layer) // form.plane_steps(layer.code_bits))
    return -(-width // WORD_BITS) * -(-form.steps(layer.code_bits) // WORDS)


def weight_words(layer: Layer, form: Form, trees: int) -> list[str]:
    """Lines that read the weights of all trees, a piece of a neuron's weights a step."""
    pieces, steps = form.plane_steps(layer.code_bits), form.steps(layer.code_bits)
    width, bits = trees * layer.inputs * weight_bits(layer), phase_bits(steps)
    piece = -(-width // pieces)
    lines = [
        f"    reg [{bits - 1}:0] step;",
        f"    wire [{bits - 1}:0] step_next = load ? {bits}'d0 : step + {bits}'d1;",
        "    always @(posedge clk) step <= step_next;",
        f"    wire [{piece - 1}:0] word;",
        (
            f"    qpolicy_layer{layer.index}_weights rom "
            "(.clk(clk), .address(step_next), .word(word));"
        ),
    ]
    if pieces == 1:
        return [*lines, f"    wire [{width - 1}:0] weights = word;"]
    for place in range(pieces - 1):
        source = f"part{place - 1}" if place else "word"
        lines += [
            f"    reg [{piece - 1}:0] part{place};",
            f"    always @(posedge clk) part{place} <= {source};",
        ]
    names = ["word", *(f"part{place}" for place in range(pieces - 1))]
    size, read = pieces * piece, phase_bits(pieces)
    # ``pieces`` cycles after its step a piece is in ``word``.
    before = f"plane_read_{pieces - 1} == {read}'d0"
    last_part = ["    reg last_part;", f"    always @(posedge clk) last_part <= {before};"]
    if size > ENABLED:  # copies of it instead
        last_part = []
    return [
        *lines,
        f"    reg [{size - 1}:0] all;",
        f"    wire [{size - 1}:0] whole = {{{', '.join(names)}}};",
        *last_part,
        *enabled("all", size, "whole", "last_part", before),
        f"    wire [{width - 1}:0] weights = all[{width - 1}:0];",
    ]


def emit_weights(layer: Layer, form: Form, trees: Sequence[Sequence[int | None]]) -> str:
    """Return the module that holds the weights of every tree and phase, a piece a word."""
    size, pieces = weight_bits(layer), form.plane_steps(layer.code_bits)
    count, row = phase_bits(form.steps(layer.code_bits)), layer.inputs * size
    width = -(-len(trees) * row // pieces)
    words = []
    for phase in range(form.fold):
        whole = sum(_word(layer, tree[phase], size) << (row * t) for t, tree in enumerate(trees))
        words += [whole >> (width * piece) & ((1 << width) - 1) for piece in range(pieces)]
    lines = [
        f"module qpolicy_layer{layer.index}_weights (",
        "    input  wire clk,",
        f"    input  wire [{count - 1}:0] address,",
        f"    output reg  [{width - 1}:0] word",
        ");",
    ]
    for block, low in enumerate(range(0, width, WORD_BITS)):
        bits = min(WORD_BITS, width - low)
        lines += [
            f'    (* rom_style = "block" *) reg [{bits - 1}:0] block{block};',
            "    always @(posedge clk)",
            "        case (address)",
            *[
                f"            {count}'d{at}: block{block} <= "
                f"{bits}'h{word >> low & ((1 << bits) - 1):0{-(-bits // 4)}x};"
                for at, word in enumerate(words)
            ],
            f"            default: block{block} <= {bits}'h0;",
            "        endcase",
            f"    always @(posedge clk) word[{low + bits - 1}:{low}] <= block{block};",
        ]
    return "\n".join([*lines, "endmodule", ""])


def _word(layer: Layer, neuron: int | None, size: int) -> int:
    """Weights of one neuron, the first input's lowest: magnitude, then sign."""
    word = 0
    if neuron is not None:
        for i in reversed(range(layer.inputs)):
            sign = int(layer.negative[neuron, i])
            word = word << size | sign << (size - 1) | int(layer.magnitude[neuron, i])
    return word
