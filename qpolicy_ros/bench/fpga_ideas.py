"""Measure ideas beside what the generator does.

``python -m qpolicy_ros.bench.fpga_ideas [NAME ...]``.

Each is built beside what the generator does for the same sums and synthesised by the same Yosys
flow: cells, register stages and the path before routing, as a Markdown table.
docs/fpga/ideas.md says what followed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np

from qpolicy_fpga.emit.bit_heap import Heap, tables_of
from qpolicy_fpga.emit.tail import emit_tail, tail_cycles
from qpolicy_fpga.emit.tree import make_tree, weight_bits
from qpolicy_fpga.emit.verilog import LUT_DELAY, LUT_SOURCE, Module, concatenate, invert
from qpolicy_fpga.plan.form import Form, logic_budget
from qpolicy_fpga.plan.layer import Layer, make_layer
from qpolicy_fpga.plan.random_networks import evenly_spaced, trained_like
from qpolicy_fpga.yosys import synthesise
from qpolicy_ros.common.files import scratch_folder

Row = tuple[str, str, int]  # name, Verilog of module `idea`, register stages

BUDGET = logic_budget(100.0)
TERMS = 3  # of a dot product in one DSP
FIELD = 6  # bits of a field of its product: three products of 2 and 3 bits


def main(names: list[str]) -> int:
    """Print a row for each design of the ideas ``names``, or of all; return the exit status."""
    unknown = [name for name in names if name not in IDEAS]
    if unknown:
        sys.stderr.write(
            f"error: idea: {unknown[0]!r} is not known; choose of {', '.join(IDEAS)}\n"
        )
        return 2
    say = sys.stdout.write
    say("| idea | design | LUT | CARRY4 | FF | block RAM | DSP | stages | path, ns |\n")
    say("|---|---|---|---|---|---|---|---|---|\n")
    for name in names or IDEAS:
        for design, source, stages in IDEAS[name]():
            with scratch_folder() as folder:
                file = folder / "idea.v"
                file.write_text(LUT_SOURCE + source, encoding="utf-8")
                cells = synthesise([file], "idea")
            say(
                f"| {name} | {design} | {cells.lut:,} | {cells.carry4} | {cells.ff:,} "
                f"| {cells.bram36:g} | {cells.dsp} | {stages} | {cells.depth_ns:.2f} |\n"
            )
            sys.stdout.flush()
    return 0


def tails() -> Iterator[Row]:
    """One neuron of HalfCheetah's last layer: 13-bit sums to 8-bit codes."""
    layer = make_layer(trained_like("halfcheetah"), 2, 3)
    width = layer.sum_bits
    for kind in ("compare", "staged", "search", "rom", "scale"):
        module = Module("idea", ["input wire clk", f"input wire [{width - 1}:0] s"])
        module.ports.append(f"output reg [{layer.out_bits - 1}:0] q")
        module.lines = [
            f"    reg [{width - 1}:0] sum;",
            f"    wire [{layer.out_bits - 1}:0] code;",
            "    always @(posedge clk) begin sum <= s; q <= code; end",
        ]
        emit_tail(module, layer, [0], kind, width, "sum")
        yield kind, module.text(), tail_cycles(kind, layer.out_bits)


def dot_products() -> Iterator[Row]:
    """A tree of 48 stored three-bit weights and three-bit codes: tables, or a DSP for 3 terms."""
    layer = make_layer(evenly_spaced(48, (32,), 1, 3, 3, 8), 0, 3)
    size = weight_bits(layer)
    ports = [f"input wire [{48 * size - 1}:0] w_next", f"input wire [{48 * 3 - 1}:0] c_next"]
    tree = make_tree("idea", layer, range(32), Form(32, 3, ram=True), BUDGET)
    registers = [
        f"    reg [{48 * size - 1}:0] w;",
        f"    reg [{48 * 3 - 1}:0] c;",
        "    always @(posedge clk) begin w <= w_next; c <= c_next; end",
    ]
    yield (
        "tables",
        _summed(tree.module, ports, registers, tree.sum, tree.width),
        tree.heap.stages,
    )
    module = Module("idea", [])
    heap = Heap(module, BUDGET, tree.width, 2.0)
    for start in range(0, 48, TERMS):
        terms = range(start, start + TERMS)
        # Codes in the reverse order: the middle field of the product is the dot product.
        signs = [f"w[{i * size + size - 1}]" for i in terms]
        codes = [
            [module.lut([f"c[{plane * 48 + i}]", sign], 0b0110) for plane in range(3)]
            for i, sign in zip(terms, signs, strict=True)
        ]
        weights = [[f"w[{i * size + digit}]" for digit in range(size - 1)] for i in terms]
        at = start // TERMS
        module.lines += [
            f"    wire [{TERMS * FIELD - 1}:0] a{at} = {_fields(weights)};",
            f"    wire [{TERMS * FIELD - 1}:0] b{at} = {_fields(codes[::-1])};",
            f'    (* use_dsp = "yes" *) reg [{2 * TERMS * FIELD - 1}:0] m{at}, p{at};',
            f"    always @(posedge clk) begin m{at} <= a{at} * b{at}; p{at} <= m{at}; end",
        ]
        for bit in range(FIELD):
            heap.add(bit, f"p{at}[{(TERMS - 1) * FIELD + bit}]")
    total = heap.total("sum")
    yield (
        "a DSP for three terms",
        _summed(module, ports, registers, total, tree.width),
        heap.stages + 2,
    )


def _fields(values: list[list[str]]) -> str:
    """Bits of each value at the bottom of its field."""
    zero = ["1'b0"]
    return concatenate([bit for value in values for bit in value + zero * (FIELD - len(value))])


def _summed(module: Module, ports: list[str], registers: list[str], total: str, width: int) -> str:
    """A module that registers its sum."""
    module.ports = ["input wire clk", *ports, f"output reg [{width - 1}:0] q"]
    module.lines = [*registers, *module.lines, f"    always @(posedge clk) q <= {total};"]
    return module.text()


def shared_sums() -> Iterator[Row]:
    """Ant's 64 to 64, unrolled, sums only: each neuron alone, or sums of groups shared."""
    layer = make_layer(trained_like("ant"), 1, 2)
    for group in (1, 2, 3):
        module = Module("idea", [])
        names: dict[tuple[int, ...], list[str]] = {}
        heaps = [_grouped(layer, n, group, module, names) for n in range(layer.neurons)]
        sums = [f"sum{n}" for n in range(layer.neurons)]
        bits = sum(heap.width for heap in heaps)
        registers = [
            f"    reg [{2 * layer.inputs - 1}:0] c;",
            "    always @(posedge clk) c <= c_next;",
        ]
        ports = [f"input wire [{2 * layer.inputs - 1}:0] c_next"]
        text = _summed(module, ports, registers, concatenate(sums), bits)
        name = "each neuron alone" if group == 1 else f"sums of {group} inputs shared"
        yield name, text, max(heap.stages for heap in heaps)


def _grouped(
    layer: Layer, neuron: int, group: int, module: Module, names: dict[tuple[int, ...], list[str]]
) -> Heap:
    """Add a neuron's sum over sums of groups of inputs; ``names`` has those that are there."""
    weights = np.where(layer.negative[neuron], -1, 1) * layer.magnitude[neuron]
    terms = []
    for start in range(0, layer.inputs, group):
        used = [i for i in range(start, min(start + group, layer.inputs)) if weights[i]]
        if used:
            # Up to its sign a sum is the same for every neuron that takes these inputs so.
            flip = int(weights[used[0]])
            key = tuple(i if weights[i] == flip else ~i for i in used)
            if key not in names:
                names[key] = _group_bits(key, module)
            # -x is the complement of x but for a constant, which the thresholds take.
            terms.append(names[key] if flip > 0 else [invert(bit) for bit in names[key]])
    highest = sum((1 << len(bits)) - 1 for bits in terms)
    heap = Heap(module, BUDGET, max(1, highest.bit_length()))
    heap.time += LUT_DELAY * (group > 1)
    for bits in terms:
        for place, bit in enumerate(bits):
            heap.add(place, bit)
    heap.total(f"sum{neuron}")
    return heap


def _group_bits(key: tuple[int, ...], module: Module) -> list[str]:
    """Bits of the sum of inputs ``key``; ``~i`` stands for the complement of input ``i``."""
    names = [f"c[{2 * max(i, ~i) + plane}]" for i in key for plane in range(2)]
    values = []
    for address in range(1 << len(names)):
        codes = [address >> 2 * at & 3 for at in range(len(key))]
        values.append(sum(code if i >= 0 else 3 - code for i, code in zip(key, codes, strict=True)))
    return [module.lut(names, table) for table in tables_of(values)]


def ternary_adders() -> Iterator[Row]:
    """Three rows of 12 bits: counters and a carry chain, or one chain of three rows.

    A table of a ternary adder has two outputs, the sum bit and the carry to its neighbour; Yosys
    counts them as two tables. Vivado may place both as one, here as in counters of three.
    """
    width, rows = 12, 3
    ports = [f"input wire [{rows * width - 1}:0] c_next"]
    registers = [
        f"    reg [{rows * width - 1}:0] c;",
        "    always @(posedge clk) c <= c_next;",
    ]
    columns = [[f"c[{row * width + at}]" for row in range(rows)] for at in range(width)]
    module = Module("idea", [])
    heap = Heap(module, BUDGET, width + 2)
    for at, column in enumerate(columns):
        for bit in column:
            heap.add(at, bit)
    total = heap.total("sum")
    yield "counters, then a carry chain", _summed(module, ports, registers, total, width + 2), 0
    module = Module("idea", [])
    zero = "1'b0"
    carries = [zero, *(module.lut(column, 0b11101000) for column in columns), *3 * [zero]]
    halves = [
        module.lut([*column, carry], 0b0110100110010110)
        for column, carry in zip([*columns, *4 * [3 * [zero]]], carries, strict=True)
    ]
    module.lines += [
        f"    wire [{width + 3}:0] half = {concatenate(halves)};",
        f"    wire [{width + 3}:0] other = {concatenate(carries)};",
        f"    wire [{width + 3}:0] into;",
        f"    wire [{width + 3}:0] sum;",
    ]
    for at in range(0, width + 2, 4):
        before = f"into[{at - 1}]" if at else "1'b0"
        module.lines.append(
            f"    CARRY4 carry{at} (.CO(into[{at} +: 4]), .O(sum[{at} +: 4]), .CI({before}), "
            f".CYINIT(1'b0), .DI(other[{at} +: 4]), .S(half[{at} +: 4]));"
        )
    total = f"sum[{width + 1}:0]"
    yield "a chain of three rows", _summed(module, ports, registers, total, width + 2), 0


IDEAS: dict[str, Callable[[], Iterator[Row]]] = {
    "tails": tails,
    "dot products": dot_products,
    "ternary adders": ternary_adders,
    "shared sums": shared_sums,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
