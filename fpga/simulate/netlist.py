"""The gates of a generated core: what Yosys reads in its Verilog, look-up tables kept as they are.

Nothing is optimised beyond constants and what nothing reads: each look-up table of the source is
one of the netlist, each register too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qpolicy_fpga.tables import write_xilinx
from qpolicy_fpga.yosys import run_yosys, yosys_folder
from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.policy import PolicyError

if TYPE_CHECKING:
    from collections.abc import Sequence

Net = int | str  # a number, or a constant: "0", "1", "x", "z"

# Truth tables by cell, inputs lowest address bit first.
_GATES: dict[str, tuple[tuple[str, ...], int]] = {
    "$_BUF_": (("A",), 0b10),
    "$_NOT_": (("A",), 0b01),
    "$_AND_": (("A", "B"), 0b1000),
    "$_OR_": (("A", "B"), 0b1110),
    "$_XOR_": (("A", "B"), 0b0110),
    "$_NAND_": (("A", "B"), 0b0111),
    "$_NOR_": (("A", "B"), 0b0001),
    "$_XNOR_": (("A", "B"), 0b1001),
    "$_ANDNOT_": (("A", "B"), 0b0010),
    "$_ORNOT_": (("A", "B"), 0b1011),
    "$_MUX_": (("A", "B", "S"), 0b11001010),
}
# Ripple carries: what is simulated a bit at a time gains nothing from a carry tree.
_CARRY = """\
(* techmap_celltype = "$lcu" *)
module _ripple_carry (P, G, CI, CO);
parameter WIDTH = 1;
input [WIDTH-1:0] P, G;
input CI;
output [WIDTH-1:0] CO;
genvar i;
generate for (i = 0; i < WIDTH; i = i + 1) begin : bits
    if (i == 0) assign CO[0] = G[0] | (P[0] & CI);
    else assign CO[i] = G[i] | (P[i] & CO[i-1]);
end endgenerate
endmodule
"""
# Nothing of the 7 series but its tables is read.
_TABLES = "".join(
    f"(* blackbox *) module LUT{count} #(parameter [{(1 << count) - 1}:0] INIT = 0) "
    f"(output O, input {', '.join(f'I{at}' for at in range(count))}); endmodule\n"
    for count in range(1, 7)
)
# In a process of its own: Yosys keeps state and prints to standard output.
_SCRIPT = """\
import sys
from pyosys import libyosys as ys
top, carry, out, *files = sys.argv[1:]
design = ys.Design()
def run(command):
    ys.run_pass(command, design)
for name in files:
    run(f'read_verilog -nosynthesis "{name}"')
run(f"hierarchy -check -top {top}")
run("proc")
run("flatten")
run("opt_expr")
run("opt_clean")
run("memory_collect")
run("select -set written t:$mem_v2 r:WR_PORTS>0 %i")
run("memory_map @written")
for _ in range(2):  # a multiplication becomes adders first, which the first selection has not
    run(f'techmap -map "{carry}" -map +/techmap.v t:* t:$mem_v2 %d')
run("dfflegalize -cell $_DFF_P_ 01")
run("opt_expr")
run("opt_clean")
run("delete t:$scopeinfo")
run(f'write_json "{out}"')
"""


@dataclass(frozen=True)
class Gate:
    """``output`` is ``table[inputs]``, ``inputs[0]`` the lowest address bit."""

    inputs: tuple[Net, ...]
    table: int
    output: Net


@dataclass(frozen=True)
class Rom:
    """``outputs`` are word ``address`` of ``words``, or 0 beyond them; both lowest bit first."""

    address: tuple[Net, ...]
    words: tuple[int, ...]
    outputs: tuple[Net, ...]


@dataclass
class Netlist:
    """A module of one clock.

    Attributes:
        ports: bits of each port, lowest first.
        gates: in no order.
        roms: read at once, without a clock.
        registers: ``(d, q)``: at the clock's edge ``q`` becomes ``d``; all are 0 at first.
        names: net by its name in the sources, ``layer0.tree1.r0[3]``.
    """

    ports: dict[str, tuple[Net, ...]] = field(default_factory=dict)
    gates: list[Gate] = field(default_factory=list)
    roms: list[Rom] = field(default_factory=list)
    registers: list[tuple[Net, Net]] = field(default_factory=list)
    names: dict[str, Net] = field(default_factory=dict)


def read_netlist(files: Sequence[Path], top: str, clock: str = "clk") -> Netlist:
    """Return the gates of module ``top``.

    Args:
        files: Verilog.
        top: a module.
        clock: its port.

    Raises:
        PolicyError: Yosys is not installed (says how to) or refuses the sources, or they hold what
            a generated core does not: a second clock, an asynchronous reset.
    """
    yosys_folder()
    with scratch_folder() as folder:
        names = ("carry.v", "netlist.json", "tables.v")
        carry, out, tables = (Path(folder, name) for name in names)
        carry.write_text(_CARRY, encoding="ascii")
        tables.write_text(_TABLES, encoding="ascii")
        sources = write_xilinx(files, Path(folder))
        run_yosys(_SCRIPT, [top, str(carry), str(out), str(tables), *map(str, sources)], out)
        content = json.loads(out.read_text(encoding="utf-8"))
    return _netlist(content["modules"][top], clock)


def _netlist(module: dict[str, Any], port: str) -> Netlist:
    netlist = Netlist({name: tuple(port["bits"]) for name, port in module["ports"].items()})
    for name, net in module["netnames"].items():
        for at, bit in enumerate(net["bits"], net.get("offset", 0)):
            netlist.names[name if len(net["bits"]) == 1 else f"{name}[{at}]"] = bit
    (clock,) = netlist.ports[port]
    for cell in module["cells"].values():
        kind, ends = cell["type"], cell["connections"]
        if kind in _GATES:
            names, table = _GATES[kind]
            inputs = tuple(ends[name][0] for name in names)
            netlist.gates.append(Gate(inputs, table, ends["Y"][0]))
        elif kind.startswith("LUT") and kind[3:].isdigit():
            inputs = tuple(ends[f"I{i}"][0] for i in range(int(kind[3:])))
            netlist.gates.append(Gate(inputs, int(cell["parameters"]["INIT"], 2), ends["O"][0]))
        elif kind == "$_DFF_P_" and ends["C"] == [clock]:
            netlist.registers.append((ends["D"][0], ends["Q"][0]))
        elif kind == "$mem_v2":
            netlist.roms += _roms(cell["parameters"], ends)
        else:
            raise PolicyError(f"rtl: a {kind} is no part of a generated core")
    return netlist


def _roms(parameters: dict[str, str], ends: dict[str, list[Net]]) -> list[Rom]:
    """A memory without writing ports, one for each of its reading ports."""
    number = {name: int(parameters[name], 2) for name in ("WIDTH", "SIZE", "ABITS", "OFFSET")}
    width, bits = number["WIDTH"], number["ABITS"]
    if number["OFFSET"] or set(parameters["RD_CLK_ENABLE"]) != {"0"}:
        raise PolicyError("rtl: a memory with a clock or an offset is no part of a generated core")
    content = int(parameters["INIT"].replace("x", "0"), 2)
    mask = (1 << width) - 1
    words = tuple(content >> (width * at) & mask for at in range(number["SIZE"]))
    return [
        Rom(
            tuple(ends["RD_ADDR"][bits * port : bits * (port + 1)]),
            words,
            tuple(ends["RD_DATA"][width * port : width * (port + 1)]),
        )
        for port in range(int(parameters["RD_PORTS"], 2))
    ]
