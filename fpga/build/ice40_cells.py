"""Cells of a routed iCE40: what each computes, after Project IceStorm and nextpnr's own names."""

from __future__ import annotations

from collections.abc import Callable

from qpolicy_fpga.build.circuit import Cell, Circuit, unread
from qpolicy_fpga.simulate.netlist import Net, Rom

_BUFFER, _MAJORITY = 0b10, 0b11101000
_INITS, _INIT_BITS = 16, 256
_WORD_BITS = 16


def _logic(circuit: Circuit, cell: Cell) -> None:
    """A look-up table of four inputs, a carry and a register."""
    inputs = [cell.net(f"I{at}", "0") for at in range(4)]
    carry = str(cell.number("CIN_SET")) if cell.number("CIN_CONST") else cell.net("CIN", "0")
    out = cell.net("COUT", "")
    if out and cell.number("CARRY_ENABLE"):
        circuit.gate((inputs[1], inputs[2], carry), _MAJORITY, out)
    output, table = cell.net("O", ""), cell.number("LUT_INIT")
    if not cell.number("DFF_ENABLE"):
        if output:
            circuit.gate(inputs, table, output)
        return
    if cell.number("NEG_CLK") or (cell.number("ASYNC_SR") and cell.net("SR", "0") != "0"):
        unread(circuit, cell, ["O"])
        return
    circuit.clocks.add(cell.net("CLK", "0"))
    found = circuit.gate(inputs, table, circuit.net())
    # The reset counts only where the register takes something.
    value = cell.number("SET_NORESET")
    data = circuit.gate((found, cell.net("SR", "0")), 0b1110 if value else 0b0010)
    if output:
        circuit.before[output] = found
        enable = cell.net("CEN", "1")
        circuit.register(data, output, enable=enable, reset="0", reset_value=0, start=0)


def _block_ram(circuit: Circuit, cell: Cell) -> None:
    """A block RAM of 256 words of 16 bits that is only read, and the register behind it."""
    names = [f"RDATA_{bit}" for bit in range(_WORD_BITS)]
    written = cell.net("WE", "0") != "0" and cell.net("WCLK", "")
    if written or cell.number("READ_MODE") or cell.number("NEG_CLK_R"):
        unread(circuit, cell, names)
        return
    clock = cell.net("RCLK", "0")
    circuit.clocks.add(clock)
    content = 0
    for index in range(_INITS):
        text = cell.parameters.get(f"INIT_{index:X}", "0").strip().replace("x", "0")
        content |= int(text or "0", 2) << (_INIT_BITS * index)
    mask = (1 << _WORD_BITS) - 1
    words = tuple(content >> (_WORD_BITS * at) & mask for at in range(256))
    address = tuple(cell.net(f"RADDR_{bit}", "0") for bit in range(8))
    found: list[Net] = [circuit.net() for _ in names]
    circuit.netlist.roms.append(Rom(address, words, tuple(found)))
    # An enable that is not connected reads 1 in the netlists of nextpnr for RCLKE, 0 for RE.
    enable = circuit.gate((cell.net("RCLKE", "1"), cell.net("RE", "0")), 0b1000)
    for data, name in zip(found, names, strict=True):
        output = cell.net(name, "")
        if output:
            circuit.register(data, output, enable=enable, reset="0", reset_value=0, start=0)


def _pad(circuit: Circuit, cell: Cell) -> None:
    pad, seen = cell.net("PACKAGE_PIN", ""), cell.net("D_IN_0", "")
    if seen:
        circuit.gate((pad,), _BUFFER, seen)
    driven = cell.net("D_OUT_0", "")
    if driven and not seen:
        circuit.gate((driven,), _BUFFER, pad)


def _global(circuit: Circuit, cell: Cell) -> None:
    net = cell.net("GLOBAL_BUFFER_OUTPUT", "")
    if net:
        circuit.gate((cell.net("USER_SIGNAL_TO_GLOBAL_BUFFER", "0"),), _BUFFER, net)


def _clock_generator(circuit: Circuit, cell: Cell) -> None:
    """It runs and has locked."""
    for port in ("PLLOUT_A", "PLLOUT_B", "LOCK"):
        net = cell.net(port, "")
        if net:
            circuit.gate((), 1, net)


READERS: dict[str, Callable[[Circuit, Cell], None]] = {
    "ICESTORM_LC": _logic,
    "ICESTORM_RAM": _block_ram,
    "SB_IO": _pad,
    "SB_GB": _global,
    "ICESTORM_PLL": _clock_generator,
}
