"""Weights in block RAM: one word a phase, read into the block's own output register and ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpolicy_fpga.emit_tree import phase_bits, weight_bits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpolicy_fpga.arith import Layer
    from qpolicy_fpga.plan import Form

WORD_BITS = 72  # the widest port of a 36 Kbit block


def read_cycles(form: Form) -> int:
    """Cycles by which weights come later than their phase."""
    return 1 if form.ram else 0


def weight_words(layer: Layer, trees: int, count: int) -> list[str]:
    """Lines that read the weights of all trees, as the phase begins."""
    width = trees * layer.inputs * weight_bits(layer)
    return [
        f"    wire [{width - 1}:0] weights;",
        (
            f"    qpolicy_layer{layer.index}_weights rom "
            f"(.clk(clk), .address(phase_next[{count - 1}:0]), .word(weights));"
        ),
    ]


def emit_weights(layer: Layer, trees: Sequence[Sequence[int | None]]) -> str:
    """Return the module that holds the weights of every tree and phase."""
    size, fold = weight_bits(layer), len(trees[0])
    count, row = phase_bits(fold), layer.inputs * size
    width = len(trees) * row
    words = [
        sum(_word(layer, tree[phase], size) << (row * t) for t, tree in enumerate(trees))
        for phase in range(fold)
    ]
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
                f"            {count}'d{phase}: block{block} <= "
                f"{bits}'h{word >> low & ((1 << bits) - 1):0{-(-bits // 4)}x};"
                for phase, word in enumerate(words)
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
