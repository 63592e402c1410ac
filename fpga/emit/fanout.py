"""How many loads a wire may have, and registers that are there once for each group of loads.

Routing takes three quarters of a path and more, most of it where one register drives hundreds of
tables all over the device. So what all trees need, they get from registers of their own: codes,
phase and strobes, one cycle after they are there.
"""

from __future__ import annotations

import numpy as np

from qpolicy_fpga.emit.verilog import LUT_INPUTS
from qpolicy_fpga.plan.form import Form
from qpolicy_fpga.plan.layer import Layer

# Loads of a wire, at most. Of the routed cores those with more than that missed their clock.
MAX_LOADS = 64
# A code's bit goes to a counter in each tree, which is three look-up tables.
_LOADS_A_TREE = 3
GROUP_TREES = 12  # trees that share a copy of the codes
# Flip-flops that share an enable: it reaches eight of them by one wire, those of a slice.
ENABLED = 128


def copies(layer: Layer, form: Form) -> int:
    """Return into how many groups the trees of a layer are put, each with a copy of its codes.

    0 where neither a code has too many loads, nor what chooses the bit planes.
    """
    trees = -(-layer.neurons // form.fold)
    choosers = 0 if form.plane_steps(layer.code_bits) == 1 else layer.chunk * form.planes
    loads = _loads_a_tree(layer, form) * _readers(layer, form.fold)
    return 0 if max(choosers, loads) <= MAX_LOADS else -(-trees // GROUP_TREES)


def _loads_a_tree(layer: Layer, form: Form) -> int:
    """Look-up tables of a tree that read a bit of a code, at most."""
    if not form.lookup:
        return _LOADS_A_TREE
    bits = int((layer.magnitude != 0).sum(axis=1).max()) * layer.code_bits
    return layer.out_bits << max(bits - LUT_INPUTS, 0)


def _readers(layer: Layer, fold: int) -> int:
    """Trees that read the input that most of them do."""
    used = layer.magnitude != 0
    # Each neuron has a tree where codes come in chunks; its inputs are those of every chunk.
    rows, columns = (fold, layer.inputs) if layer.chunks == 1 else (layer.chunks, layer.chunk)
    if layer.chunks > 1:
        padded = np.zeros((layer.neurons, rows * columns), bool)
        padded[:, : layer.inputs] = used
        used = padded.reshape(layer.neurons, rows, columns).any(axis=1)
    else:
        trees = -(-layer.neurons // fold)
        padded = np.zeros((rows * trees, columns), bool)
        padded[: layer.neurons] = used
        used = padded.reshape(rows, trees, columns).any(axis=0)
    return int(used.sum(axis=0).max())


def copy(name: str, source: str, bits: int = 1) -> list[str]:
    """Lines of vector ``name``, a registered copy of ``source`` that synthesis does not merge."""
    return [
        f"    wire [{bits - 1}:0] {name};",
        (f"    qpolicy_copy #(.WIDTH({bits})) {name}_copy (.clk(clk), .d({source}), .q({name}));"),
    ]


def enabled(register: str, bits: int, source: str, enable: str, before: str) -> list[str]:
    """Lines that set a register where ``enable`` is high; many bits have copies of the enable.

    Args:
        register: a vector.
        bits: of it.
        source: what it becomes, a vector too.
        enable: a register's output.
        before: what that register takes; empty where ``enable`` is none.
    """
    lines = []
    for number, low in enumerate(range(0, bits, ENABLED)):
        taken = f"[{min(low + ENABLED, bits) - 1}:{low}]"
        name = enable
        if before and bits > ENABLED:
            name = f"{register}_enable{number}"
            lines += copy(name, before)
        lines.append(f"    always @(posedge clk) if ({name}) {register}{taken} <= {source}{taken};")
    return lines


COPY_SOURCE = """\
// A register that is one of several copies, so that none has too many loads. Synthesis would merge
// them: as primitives, or in a module that is kept, they stay apart. In simulation it is plain
// Verilog.
`ifdef SYNTHESIS
`ifndef QPOLICY_PLAIN
`define QPOLICY_PRIMITIVE_COPY
`endif
`ifdef YOSYS
`ifndef QPOLICY_XILINX
`undef QPOLICY_PRIMITIVE_COPY
`endif
`endif
`ifndef QPOLICY_PRIMITIVE_COPY
(* keep_hierarchy = "yes" *)
`endif
`endif
module qpolicy_copy #(
    parameter WIDTH = 1
) (
    input  wire             clk,
    input  wire [WIDTH-1:0] d,
    output wire [WIDTH-1:0] q
);
`ifdef QPOLICY_PRIMITIVE_COPY
    genvar i;
    generate for (i = 0; i < WIDTH; i = i + 1) begin : bits
        (* DONT_TOUCH = "yes" *)
        FDRE #(.INIT(1'b0)) flop (.C(clk), .CE(1'b1), .R(1'b0), .D(d[i]), .Q(q[i]));
    end endgenerate
`else
    reg [WIDTH-1:0] held;
    always @(posedge clk) held <= d;
    assign q = held;
`endif
endmodule
"""
# For devices of other makers, as with the look-up table.
PLAIN_COPY_SOURCE = "`define QPOLICY_PLAIN\n" + COPY_SOURCE
