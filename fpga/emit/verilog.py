"""A Verilog module under construction: look-up tables, registers and the time along a path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

LUT_INPUTS = 6
# Pre-route delays in ns, as Yosys 0.70 `sta` counts them for the 7 series (cells_sim.v).
CLOCK_TO_OUT = 0.40  # with the clock buffer
LUT_DELAY = 0.65
CARRY_START = 1.25
CARRY_PER_BIT = 0.03


def adder_delay(width: int) -> float:
    """Delay of a carry-chain adder or comparator of ``width`` bits, ns, before routing."""
    return CARRY_START + CARRY_PER_BIT * width


@dataclass
class Module:
    """Lines of one module; ``lut`` and ``register`` name what they add.

    Attributes:
        name: module name.
        ports: port declarations, one a line, without commas.
        lines: the body.
        luts: look-up tables instantiated so far.
        flops: registered bits so far.
    """

    name: str
    ports: list[str]
    lines: list[str] = field(default_factory=list)
    luts: int = 0
    flops: int = 0
    stages: int = 0

    def lut(self, inputs: Sequence[str], table: int) -> str:
        """Add ``table[{inputs}]`` (``inputs[0]`` the lowest address bit); return its name.

        Inputs that the table does not depend on are left out; a constant or a plain input
        costs nothing.
        """
        inputs, table = simplify(list(inputs), table)
        count = len(inputs)
        if count == 0:
            return f"1'b{table & 1}"
        if count == 1:
            return inputs[0] if table == 0b10 else invert(inputs[0])
        name = f"n{self.luts}"
        address = ", ".join(reversed(inputs))
        digits = (1 << count) // 4
        self.lines += [
            f"    wire {name};",
            (
                f"    qpolicy_lut #(.K({count}), .TABLE(64'h{table:0{digits}x})) "
                f"lut{self.luts} (.a({{{address}}}), .y({name}));"
            ),
        ]
        self.luts += 1
        return name

    def register(self, bits: Sequence[str]) -> list[str]:
        """Add one register stage for ``bits``; return the names of the registered bits."""
        constants = [bit for bit in bits if bit.startswith("1'b")]
        live = list(dict.fromkeys(bit for bit in bits if bit not in constants))
        name = f"r{self.stages}"
        self.stages += 1
        self.flops += len(live)
        if live:
            self.lines += [
                f"    reg [{len(live) - 1}:0] {name};",
                "    always @(posedge clk)",
                f"        {name} <= {concatenate(live)};",
            ]
        at = {bit: f"{name}[{place}]" for place, bit in enumerate(live)}
        return [at.get(bit, bit) for bit in bits]

    def text(self) -> str:
        """Return the module's source."""
        ports = ",\n".join(f"    {port}" for port in self.ports)
        return "\n".join([f"module {self.name} (", ports, ");", *self.lines, "endmodule", ""])


def table_bit(module: Module, inputs: list[str], bits: list[int]) -> str:
    """Add a table of any size from look-up tables; return its output's name.

    Left to synthesis it may become a block RAM, which would be slow in front of a comparator.
    """
    size = 1 << len(inputs)
    bits = bits + [0] * (size - len(bits))
    if len(inputs) <= LUT_INPUTS:
        return module.lut(inputs, sum(bit << at for at, bit in enumerate(bits)))
    # A table of six inputs chooses one of four tables; one of two where four would be half empty.
    selects = 2 - (len(inputs) - LUT_INPUTS) % 2
    count, rest = 1 << selects, inputs[:-selects]
    share = size // count
    tables = [
        table_bit(module, rest, bits[place * share : (place + 1) * share]) for place in range(count)
    ]
    table = sum((at >> (at >> count) & 1) << at for at in range(1 << (count + selects)))
    return module.lut([*tables, *inputs[-selects:]], table)


def invert(bit: str) -> str:
    """Return the complement of a bit."""
    if bit.startswith("1'b"):
        return "1'b1" if bit.endswith("0") else "1'b0"
    return bit[1:] if bit.startswith("~") else f"~{bit}"


def concatenate(bits: Sequence[str]) -> str:
    """Return ``bits`` (lowest first) as one vector, wrapped to readable lines."""
    highest_first = list(reversed(bits))
    rows = [", ".join(highest_first[i : i + 12]) for i in range(0, len(highest_first), 12)]
    return "{" + ",\n            ".join(rows) + "}"


def simplify(inputs: list[str], table: int) -> tuple[list[str], int]:
    """Drop inputs that ``table`` does not depend on; constants and complements move into it."""
    place = 0
    while place < len(inputs):
        bit, count = inputs[place], len(inputs)
        if bit.startswith("1'b") or not depends(table, place, count):
            table = cofactor(table, place, count, high=bit == "1'b1")
            inputs = inputs[:place] + inputs[place + 1 :]
        else:
            if bit.startswith("~"):
                table = complement(table, place, count)
                inputs = [*inputs[:place], bit[1:], *inputs[place + 1 :]]
            place += 1
    return inputs, table


@cache
def _lows(place: int, count: int) -> int:
    """Addresses of ``count`` bits whose bit ``place`` is 0, as a set of bits."""
    return sum(1 << address for address in range(1 << count) if not address >> place & 1)


def depends(table: int, place: int, count: int) -> bool:
    """Whether ``table`` of ``count`` address bits changes with address bit ``place``."""
    return bool((table ^ table >> (1 << place)) & _lows(place, count))


def cofactor(table: int, place: int, count: int, *, high: bool) -> int:
    """Return ``table`` with address bit ``place`` of ``count`` fixed, one bit shorter."""
    size = 1 << place
    block, short = (1 << size) - 1, 0
    for number in range(1 << (count - 1 - place)):
        short |= (table >> ((2 * number + high) * size) & block) << (number * size)
    return short


def complement(table: int, place: int, count: int) -> int:
    """Return ``table`` for the inverse of address bit ``place`` of ``count``."""
    size, lows = 1 << place, _lows(place, count)
    return (table & lows) << size | table >> size & lows


LUT_SOURCE = """\
// One look-up table: y = TABLE[a]. For Vivado it is the primitive itself, so that what the
// generator counted is what is built; so it is for Yosys with -DQPOLICY_XILINX. Elsewhere, and in
// simulation, it is plain Verilog.
`ifndef SYNTHESIS
`define QPOLICY_PLAIN
`endif
`ifdef YOSYS
`ifndef QPOLICY_XILINX
`define QPOLICY_PLAIN
`endif
`endif
module qpolicy_lut #(
    parameter K = 6,
    parameter [63:0] TABLE = 64'h0
) (
    input  wire [K-1:0] a,
    output wire         y
);
`ifdef QPOLICY_PLAIN
    wire [(1<<K)-1:0] content = TABLE[(1<<K)-1:0];
    assign y = content[a];
`else
    generate
        if (K == 2) begin : k2
            LUT2 #(.INIT(TABLE[3:0])) lut (.O(y), .I0(a[0]), .I1(a[1]));
        end else if (K == 3) begin : k3
            LUT3 #(.INIT(TABLE[7:0])) lut (.O(y), .I0(a[0]), .I1(a[1]), .I2(a[2]));
        end else if (K == 4) begin : k4
            LUT4 #(.INIT(TABLE[15:0])) lut (
                .O(y), .I0(a[0]), .I1(a[1]), .I2(a[2]), .I3(a[3]));
        end else if (K == 5) begin : k5
            LUT5 #(.INIT(TABLE[31:0])) lut (
                .O(y), .I0(a[0]), .I1(a[1]), .I2(a[2]), .I3(a[3]), .I4(a[4]));
        end else begin : k6
            LUT6 #(.INIT(TABLE)) lut (
                .O(y), .I0(a[0]), .I1(a[1]), .I2(a[2]), .I3(a[3]), .I4(a[4]), .I5(a[5]));
        end
    endgenerate
`endif
endmodule
"""
# For devices of other makers, whose tools may define SYNTHESIS too.
PLAIN_LUT_SOURCE = "`define QPOLICY_PLAIN\n" + LUT_SOURCE
