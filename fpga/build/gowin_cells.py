"""Cells of a routed Gowin part: what each computes, after Project Apicula and nextpnr's names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qpolicy_fpga.build.circuit import Cell, Circuit, unread

_MUX, _BUFFER, _XOR = 0b11001010, 0b10, 0b0110  # inputs of the first: low, high, select
# Tables of a carry cell by its mode: the sum's with input 2 high, what it hands on with it low.
# Mode 2 adds where input 3 is high and subtracts where it is low.
_ADD_OR_SUBTRACT = 0b0110_1010_1001_1010
_TABLES = {2: _ADD_OR_SUBTRACT}


def _table(size: int, circuit: Circuit, cell: Cell) -> None:
    inputs = [cell.net(f"I{at}", "0") for at in range(size)]
    output = cell.net("F", "")
    if output:
        circuit.gate(inputs, cell.number("INIT"), output)


def _wide(circuit: Circuit, cell: Cell) -> None:
    inputs = [cell.net(port, "0") for port in ("I0", "I1", "S0")]
    output = cell.net("O", "")
    if output:
        circuit.gate(inputs, _MUX, output)


def _carry(circuit: Circuit, cell: Cell) -> None:
    """A table of four inputs: with input 2 high it propagates the carry, with it low gives one."""
    total, out = cell.net("SUM", ""), cell.net("COUT", "")
    carry, mode = cell.net("CIN", "0"), cell.text("ALU_MODE", "0")
    if mode in ("C2L", "ONE2C"):  # ends of a chain: into logic, or a constant into the chain
        if total:
            circuit.gate((carry,), _BUFFER, total)
        if out:
            circuit.gate((), int(mode == "ONE2C"), out)
        return
    table = cell.number("RAW_ALU_LUT") or _TABLES.get(cell.number("ALU_MODE"), 0)
    if not table:
        unread(circuit, cell, ("SUM", "COUT"))
        return
    first, second, _, fourth = (cell.net(f"I{at}", "0") for at in range(4))
    passes = circuit.gate((first, second, "1", fourth), table)
    if total:
        circuit.gate((passes, carry), _XOR, total)
    if out:
        circuit.gate((circuit.gate((first, second, "0", fourth), table), carry, passes), _MUX, out)


def _register(kind: str, circuit: Circuit, cell: Cell) -> None:
    """A register with a set or reset before its enable, both at the clock's edge."""
    value = int("S" in kind)
    circuit.clocks.add(cell.net("CLK", "0"))
    output = cell.net("Q", "")
    if output:
        circuit.register(
            cell.net("D", "0"),
            output,
            enable=cell.net("CE", "1") if kind.endswith("E") else "1",
            reset=cell.net("SET" if value else "RESET", "0"),
            reset_value=value,
            start=cell.number("INIT", value),
        )


def _buffer(circuit: Circuit, cell: Cell) -> None:
    output = cell.net("O", "")
    if output:
        circuit.gate((cell.net("I", "0"),), _BUFFER, output)


def _constant(port: str, value: int, circuit: Circuit, cell: Cell) -> None:
    net = cell.net(port, "")
    if net:
        circuit.gate((), value, net)


def _clock_generator(circuit: Circuit, cell: Cell) -> None:
    """It runs and has locked."""
    for port in ("CLKOUT", "LOCK"):
        _constant(port, 1, circuit, cell)


def _nothing(circuit: Circuit, cell: Cell) -> None:
    """A cell that drives nothing of ours."""


READERS: dict[str, Callable[[Circuit, Cell], None]] = {
    **{f"LUT{size}": partial(_table, size) for size in range(1, 5)},
    **{f"MUX2_LUT{size}": _wide for size in range(5, 9)},
    **{f"DFF{kind}": partial(_register, kind) for kind in ("", "E", "S", "SE", "R", "RE")},
    "ALU": _carry,
    "IBUF": _buffer,
    "OBUF": _buffer,
    "BUFG": _buffer,
    "rPLL": _clock_generator,
    "GOWIN_GND": partial(_constant, "G", 0),
    "GOWIN_VCC": partial(_constant, "V", 1),
    "GSR": _nothing,
}
