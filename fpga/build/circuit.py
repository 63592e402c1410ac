"""The circuit that place and route made, as look-up tables, registers and small memories.

Cells are read as their silicon works, from the netlist that nextpnr writes after routing: an
unconnected input of an ECP5's table reads 1, one of an iCE40's 0. Nothing is looked up in the
netlist that went in, so what synthesis, packing, placing or routing did wrong is there to be found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qpolicy_fpga.emit.verilog import cofactor, depends
from qpolicy_fpga.simulate.netlist import Gate, Net, Netlist, Rom
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.json_files import read_json

_MOST_BYTES = 1 << 30
_REMEDY = "build again"
_CONSTANTS = ("0", "1", "x", "z")


@dataclass
class Circuit:
    """A routed design under construction.

    Attributes:
        netlist: ports, gates, memories, registers.
        names: net by its name in the routed netlist.
        clocks: nets that registers take as their clock.
        before: what a table gives to the register of the same cell, by the register's net.
        unread: nets of cells that are not understood, and which: an error where they matter.
    """

    netlist: Netlist = field(default_factory=Netlist)
    names: dict[str, Net] = field(default_factory=dict)
    clocks: set[Net] = field(default_factory=set)
    before: dict[Net, Net] = field(default_factory=dict)
    unread: dict[Net, str] = field(default_factory=dict)
    _fresh: int = 0

    def net(self) -> Net:
        """Return a net of its own."""
        self._fresh -= 1
        return self._fresh

    def gate(self, inputs: Sequence[Net], table: int, output: Net | None = None) -> Net:
        """Add ``table[inputs]``; constants and inputs that it does not depend on are left out."""
        nets, at = list(inputs), 0
        while at < len(nets):
            if nets[at] in _CONSTANTS or not depends(table, at, len(nets)):
                table = cofactor(table, at, len(nets), high=nets[at] == "1")
                del nets[at]
            else:
                at += 1
        if not nets and output is None:
            return str(table & 1)
        output = self.net() if output is None else output
        if not nets:
            nets, table = ["0"], table & 1
        self.netlist.gates.append(Gate(tuple(nets), table, output))
        return output

    def register(
        self, data: Net, output: Net, *, enable: Net, reset: Net, reset_value: int, start: int
    ) -> None:
        """Add a register: ``reset`` comes before ``enable``, both at the clock's edge.

        One that starts at 1 is kept inverted, as all of a ``Netlist`` start at 0.
        """
        held = self.net() if start else output
        # address bits: data, held, enable, reset
        table = 0
        for at in range(16):
            bit, old, on, again = (at >> place & 1 for place in range(4))
            value = reset_value if again else bit if on else old ^ start
            table |= (value ^ start) << at
        taken = self.gate((data, held, enable, reset), table)
        self.netlist.registers.append((taken, held))
        if start:
            self.gate((held,), 0b01, output)

    def memory(
        self, word: Sequence[Net], at: Sequence[Net], write: Net, read: Sequence[Net]
    ) -> list[Net]:
        """Add a memory of flip-flops, written at the clock's edge; return what is read, at once."""
        outputs = []
        for bit in word:
            cells = []
            for place in range(1 << len(at)):
                here = self.gate((*at, write), 1 << (place + (1 << len(at))))
                held = self.net()
                self.register(bit, held, enable=here, reset="0", reset_value=0, start=0)
                cells.append(held)
            for select in read:  # the lowest bit first
                pairs = zip(cells[::2], cells[1::2], strict=True)
                cells = [self.gate((low, high, select), 0b11001010) for low, high in pairs]
            outputs.append(cells[0])
        return outputs


@dataclass(frozen=True)
class Cell:
    """A cell of a routed netlist."""

    name: str
    kind: str
    parameters: Mapping[str, str]
    ends: Mapping[str, Sequence[Net]]

    def net(self, port: str, default: Net) -> Net:
        """Net of a port, ``default`` where nothing is connected."""
        bits = self.ends.get(port)
        return bits[0] if bits else default

    def text(self, name: str, default: str = "") -> str:
        """A parameter that is a word; nextpnr marks those of digits by a space at the end."""
        return self.parameters.get(name, default).strip()

    def number(self, name: str, default: int = 0) -> int:
        """A parameter that is a number, written in bits."""
        text = self.parameters.get(name, "").strip().replace("x", "0")
        return int(text, 2) if text else default


def read_circuit(file: Path, readers: Mapping[str, Callable[[Circuit, Cell], None]]) -> Circuit:
    """Return the circuit of a routed netlist.

    Args:
        file: JSON that nextpnr wrote.
        readers: what adds a cell of each type to a circuit.

    Raises:
        InputError: it is no such netlist.
    """
    content = read_json(file, "netlist", _MOST_BYTES, _REMEDY)
    circuit = Circuit()
    try:
        (module,) = content["modules"].values()
        for name, port in module["ports"].items():
            circuit.netlist.ports[name] = tuple(port["bits"])
        for name, net in module["netnames"].items():
            for at, bit in enumerate(net["bits"]):
                circuit.names[name if len(net["bits"]) == 1 else f"{name}[{at}]"] = bit
        for name, cell in module["cells"].items():
            found = Cell(name, cell["type"], cell["parameters"], cell["connections"])
            reader = readers.get(found.kind)
            if reader is not None:
                reader(circuit, found)
                continue
            directions = cell["port_directions"]
            unread(circuit, found, (p for p, way in directions.items() if way == "output"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        wrong = f"is none of nextpnr: {type(error).__name__} {error}"
        raise InputError.at(file, "netlist", wrong, _REMEDY) from error
    return circuit


def unread(circuit: Circuit, cell: Cell, outputs: Iterable[str]) -> None:
    """Remember that what a cell drives is not known."""
    for port in outputs:
        for net in cell.ends.get(port, ()):
            circuit.unread[net] = f"{cell.kind} {cell.name}"


def reduce(netlist: Netlist, ports: dict[str, tuple[Net, ...]], free: Iterable[str]) -> Netlist:
    """Return what drives some ports, cut at others.

    Args:
        netlist: a whole.
        ports: of the part.
        free: those of them that are its inputs; what drives them is left out.
    """
    inputs = {net for name in free for net in ports[name]}
    driver: dict[Net, Gate | Rom | tuple[Net, Net]] = {}
    for register in netlist.registers:
        driver[register[1]] = register
    for gate in netlist.gates:
        driver[gate.output] = gate
    for rom in netlist.roms:
        driver.update(dict.fromkeys(rom.outputs, rom))
    todo = [net for name, nets in ports.items() if name not in free for net in nets]
    seen: set[Net] = set()
    result, roms = Netlist(dict(ports)), {}
    while todo:
        net = todo.pop()
        if net in seen or net in inputs or net in _CONSTANTS:
            continue
        seen.add(net)
        cell = driver.get(net)
        if isinstance(cell, Gate):
            result.gates.append(cell)
            todo += cell.inputs
        elif isinstance(cell, Rom):
            roms[id(cell)] = cell
            todo += cell.address
        elif cell is not None:
            result.registers.append(cell)
            todo.append(cell[0])
    result.roms = list(roms.values())
    return result


def undriven(netlist: Netlist, free: Iterable[str]) -> set[Net]:
    """Nets that something reads and nothing drives."""
    driven = {gate.output for gate in netlist.gates} | {held for _, held in netlist.registers}
    driven |= {net for rom in netlist.roms for net in rom.outputs}
    driven |= {net for name in free for net in netlist.ports[name]}
    read = {net for gate in netlist.gates for net in gate.inputs}
    read |= {source for source, _ in netlist.registers}
    read |= {net for rom in netlist.roms for net in rom.address}
    read |= {net for name, nets in netlist.ports.items() if name not in free for net in nets}
    return {net for net in read - driven if net not in _CONSTANTS}


def describe_unread(circuit: Circuit, nets: Iterable[Any]) -> str:
    """Return which cell, if any, leaves some of ``nets`` without a meaning."""
    return next((circuit.unread[net] for net in nets if net in circuit.unread), "")
