"""Cells of a routed ECP5: what each computes, after Project Trellis and nextpnr's own names."""

from __future__ import annotations

from collections.abc import Callable

from qpolicy_fpga.build.circuit import Cell, Circuit, unread
from qpolicy_fpga.simulate.netlist import Net, Rom

_MUX, _BUFFER = 0b11001010, 0b10  # inputs: low, high, select
_WORDS, _WORD_BITS, _SLICE_BITS = 16, 18, 20  # of an INITVAL of a block RAM
_SLICES = 64
_PRODUCT_BITS = 18
# The first address bit that counts, by the width of a block RAM's port.
_FIRST_ADDRESS = {1: 0, 2: 1, 4: 2, 9: 3, 18: 4, 36: 5}


def _comb(circuit: Circuit, cell: Cell) -> None:
    """A look-up table of four inputs, half a carry cell, or a memory of 16 bits."""
    mode = cell.text("MODE", "LOGIC")
    table = cell.number("INITVAL")
    inputs = [cell.net(port, "1") for port in "ABCD"]
    output = cell.net("F", "") or circuit.net()
    if mode == "DPRAM":
        at = [cell.net(f"WAD{bit}", "0") for bit in range(4)]
        read = [cell.net(port, "0") for port in "DBCA"]  # the lowest bit of the address first
        circuit.clocks.add(cell.net("WCK", "0"))
        (found,) = circuit.memory([cell.net("WD", "0")], at, cell.net("WRE", "1"), read)
        circuit.gate((found,), _BUFFER, output)
    elif mode == "CCU2":
        _carry(circuit, cell, inputs, table, output)
    else:
        circuit.gate(inputs, table, output)
    wide = cell.net("OFX", "")
    if wide:
        select = cell.net("M", "1")
        if cell.net("FXA", "") or cell.net("FXB", ""):
            pair = cell.net("FXA", "1"), cell.net("FXB", "1")
        else:
            pair = output, cell.net("F1", "1")
        circuit.gate((*pair, select), _MUX, wide)


def _carry(circuit: Circuit, cell: Cell, inputs: list[Net], table: int, output: Net) -> None:
    injected = cell.text("CCU2_INJECT1") == "YES"
    carry = cell.net("FCI", "0")
    both = circuit.gate(inputs, table)
    less = "0" if injected else circuit.gate(inputs[:2], table & 0xF)
    circuit.gate((both, "0" if injected else carry), 0b0110, output)
    out = cell.net("FCO", "")
    if out:
        circuit.gate((less, carry, both), _MUX, out)


def _register(circuit: Circuit, cell: Cell) -> None:
    data = cell.net("DI" if cell.text("SD", "0") == "1" else "M", "1")
    enable = _chosen(circuit, cell, "CEMUX", "CE", "1")
    reset = _chosen(circuit, cell, "LSRMUX", "LSR", "0")
    value = int(cell.text("REGSET", "RESET") == "SET")
    if cell.text("CLKMUX", "CLK") != "CLK" or (
        reset != "0" and cell.text("SRMODE", "LSR_OVER_CE") != "LSR_OVER_CE"
    ):
        unread(circuit, cell, ["Q"])
        return
    circuit.clocks.add(cell.net("CLK", "0"))
    output = cell.net("Q", "")
    if output:
        circuit.register(data, output, enable=enable, reset=reset, reset_value=value, start=value)


def _chosen(circuit: Circuit, cell: Cell, parameter: str, port: str, default: str) -> Net:
    """A control input: a constant, the port, or its inverse."""
    choice = cell.text(parameter, port)
    if choice in ("0", "1"):
        return choice
    net = cell.net(port, default)
    return circuit.gate((net,), 0b01) if choice == "INV" else net


def _write_slice(circuit: Circuit, cell: Cell) -> None:
    """What takes address and data of four tables that are written as memories."""
    pairs = {"WADO0": "D0", "WADO1": "B0", "WADO2": "C0", "WADO3": "A0"}
    pairs |= {"WDO0": "C1", "WDO1": "A1", "WDO2": "D1", "WDO3": "B1"}
    for out, port in pairs.items():
        net = cell.net(out, "")
        if net:
            circuit.gate((cell.net(port, "0"),), _BUFFER, net)


def _block_ram(circuit: Circuit, cell: Cell) -> None:
    """A block RAM that is only read: words chosen by an address, and a register behind them."""
    outputs = [f"DO{port}{bit}" for port in "AB" for bit in range(_WORD_BITS)]
    # One of 36 bits is read at port B; its low half comes out at port A.
    wide = cell.number("DATA_WIDTH_B") == 2 * _WORD_BITS
    for port in "B" if wide else "AB":
        width = cell.number(f"DATA_WIDTH_{port}", _WORD_BITS)
        names = outputs if wide else [f"DO{port}{bit}" for bit in range(min(width, _WORD_BITS))]
        nets = [cell.net(name, "") for name in names]
        clock = cell.net(f"CLK{port}", "")
        if not clock or not any(nets):
            continue
        read_only = all(_tied(cell, f"WE{each}", "1") == "0" for each in "AB") or (
            wide and not cell.net("CLKA", "")
        )
        if not read_only or cell.text(f"REGMODE_{port}", "NOREG") != "NOREG":
            unread(circuit, cell, names)
            continue
        circuit.clocks.add(clock)
        first = _FIRST_ADDRESS[width]
        address = [_tied(cell, f"AD{port}{bit}", "0") for bit in range(first, 14)]
        found: list[Net] = [circuit.net() for _ in nets]
        circuit.netlist.roms.append(Rom(tuple(address), _words(cell, width), tuple(found)))
        enable = _tied(cell, f"CE{port}", "1")
        for data, output in zip(found, nets, strict=True):
            if output:
                circuit.register(data, output, enable=enable, reset="0", reset_value=0, start=0)


def _tied(cell: Cell, port: str, default: str) -> Net:
    """An input with a multiplexer: the net, a constant, or the inverse of one not connected."""
    choice, net = cell.text(f"{port}MUX", port), cell.net(port, "")
    if choice in ("0", "1"):
        return choice
    if net:
        return net
    return "0" if choice == "INV" else default


def _words(cell: Cell, width: int) -> tuple[int, ...]:
    """Content of a block RAM, a word of its port's width each."""
    content = 0
    for index in range(_SLICES):
        text = cell.parameters.get(f"INITVAL_{index:02X}", "0").strip()
        value = int(text.replace("x", "0"), 2)
        for word in range(_WORDS):
            bits = value >> (_SLICE_BITS * word) & ((1 << _WORD_BITS) - 1)
            content |= bits << (_WORD_BITS * (_WORDS * index + word))
    mask, count = (1 << width) - 1, (_SLICES * _WORDS * 16) // _bits16(width)
    return tuple(content >> _place(at, width) & mask for at in range(count))


def _bits16(width: int) -> int:
    """Bits of a word without those that only widths of 9, 18 and 36 have."""
    return width if width < 9 else width * 16 // 18


def _place(at: int, width: int) -> int:
    """First bit of word ``at``: narrow ones leave every ninth bit out."""
    if width >= 9:
        return at * width
    each = 8 // width
    return at // each * 9 + at % each * width


def _product(circuit: Circuit, cell: Cell) -> None:
    """A multiplier without registers, of numbers without sign."""
    signed = any(_level(circuit, cell, port) != "0" for port in ("SIGNEDA", "SIGNEDB"))
    registered = [
        name
        for name, value in cell.parameters.items()
        if name.startswith("REG_") and name.endswith("_CLK") and value.strip() != "NONE"
    ]
    outputs = [f"P{bit}" for bit in range(2 * _PRODUCT_BITS)]
    if signed or registered:
        unread(circuit, cell, outputs)
        return
    factors = [[_tied(cell, f"{name}{bit}", "0") for bit in range(_PRODUCT_BITS)] for name in "AB"]
    columns: list[list[Net]] = [[] for _ in range(2 * _PRODUCT_BITS)]
    for i, a in enumerate(factors[0]):
        for j, b in enumerate(factors[1]):
            if "0" not in (a, b):
                columns[i + j].append(circuit.gate((a, b), 0b1000))
    for place, column in enumerate(columns):
        while len(column) > 1:
            three = [*column[:3], "0"][:3]
            del column[:3]
            column.append(circuit.gate(three, 0b10010110))
            if place + 1 < len(columns):
                columns[place + 1].append(circuit.gate(three, 0b11101000))
        net = cell.net(outputs[place], "")
        if net:
            circuit.gate((column[0] if column else "0",), _BUFFER, net)


def _level(circuit: Circuit, cell: Cell, port: str) -> Net:
    """A control of a multiplier: constant if its net is the one that nextpnr ties low."""
    net = cell.net(port, "0")
    return "0" if net == circuit.names.get("$PACKER_GND_NET") else net


def _buffer(source: str, target: str) -> Callable[[Circuit, Cell], None]:
    def read(circuit: Circuit, cell: Cell) -> None:
        net = cell.net(target, "")
        if net:
            circuit.gate((cell.net(source, "0"),), _BUFFER, net)

    return read


def _pad(circuit: Circuit, cell: Cell) -> None:
    if cell.text("DIR") == "INPUT":
        _buffer("B", "O")(circuit, cell)
    else:
        _buffer("I", "B")(circuit, cell)


def _clock_generator(circuit: Circuit, cell: Cell) -> None:
    """It runs and has locked."""
    for port, value in (("CLKOP", 1), ("LOCK", 1), ("INTLOCK", 1)):
        net = cell.net(port, "")
        if net:
            circuit.gate((), value, net)


READERS: dict[str, Callable[[Circuit, Cell], None]] = {
    "TRELLIS_COMB": _comb,
    "TRELLIS_FF": _register,
    "TRELLIS_RAMW": _write_slice,
    "TRELLIS_IO": _pad,
    "DCCA": _buffer("CLKI", "CLKO"),
    "DP16KD": _block_ram,
    "MULT18X18D": _product,
    "EHXPLLL": _clock_generator,
}
