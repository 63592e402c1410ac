"""A routed design as something to simulate: its core alone, or the whole behind its serial line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from qpolicy_fpga.build import ecp5_cells, gowin_cells, ice40_cells
from qpolicy_fpga.build.circuit import (
    Circuit,
    describe_unread,
    read_circuit,
    reduce,
    undriven,
)
from qpolicy_fpga.build.top import CORE, TOP
from qpolicy_fpga.simulate.netlist import Gate, Net, Netlist
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.json_files import read_json

READERS = {
    "ecp5": ecp5_cells.READERS,
    "ice40": ice40_cells.READERS,
    "gowin": gowin_cells.READERS,
}
_MOST_BYTES = 1 << 30
_NOTHING = -(10**9)
_FREE = ("clk", "rst", "s_data", "s_valid", "m_ready")
_MADE = ("s_ready", "m_valid", "m_data")


class RoutedDesign:
    """A routed netlist and, beside it, the synthesised one that says what its nets were called.

    Args:
        routed: netlist that nextpnr wrote.
        synthesised: netlist that it read.
        family: of the part.

    Attributes:
        circuit: all of it.
        names: bits of the synthesised core by their names in the sources.

    Raises:
        InputError: a file is not what it should be, or the family's cells are not known here.
    """

    def __init__(self, routed: Path, synthesised: Path, family: str) -> None:
        if family not in READERS:
            wrong = f"cells of {family} are not known; only of {', '.join(READERS)}"
            raise InputError.at(routed, "netlist", wrong, "check the synthesised core instead")
        self._file = routed
        self.circuit: Circuit = read_circuit(routed, READERS[family])
        self._modules = read_json(synthesised, "netlist", _MOST_BYTES, "build again")["modules"]
        self._aliases = _names_by_bit(self._modules[TOP])
        core = self._modules[self._modules[TOP]["cells"][CORE]["type"]]
        self._inner = _names_by_bit(core)
        connections = self._modules[TOP]["cells"][CORE]["connections"]
        # Bits outside by the bits inside that they are, of the core's outputs.
        self._outer: dict[Net, Net] = {
            inner: outer
            for name, port in core["ports"].items()
            if port["direction"] == "output"
            for inner, outer in zip(port["bits"], connections[name], strict=True)
        }
        # Bits of the synthesised core, constants too, by their names in the sources.
        self.names: dict[str, Net] = {
            name if len(net["bits"]) == 1 else f"{name}[{at}]": bit
            for name, net in core["netnames"].items()
            for at, bit in enumerate(net["bits"], net.get("offset", 0))
        }

    def ports_of_core(self) -> dict[str, tuple[Net, ...]]:
        """Nets of the core's ports in the routed netlist; a port bit that nobody reads is free.

        Raises:
            InputError: what drives an output bit cannot be found.
        """
        cell = self._modules[TOP]["cells"][CORE]
        ports: dict[str, tuple[Net, ...]] = {}
        for name in (*_FREE, *_MADE):
            nets = []
            inside = self._modules[cell["type"]]["ports"][name]["bits"]
            for outer_bit, inner_bit in zip(cell["connections"][name], inside, strict=True):
                known = [*self._aliases.get(outer_bit, ())]
                known += [f"{CORE}.{alias}" for alias in self._inner.get(inner_bit, ())]
                nets.append(self._net(name, known, (outer_bit, inner_bit)))
            ports[name] = tuple(nets)
        return ports

    def _net(self, port: str, known: list[str], bits: tuple[Net, Net]) -> Net:
        for name in known:
            if name in self.circuit.names:
                return self.circuit.names[name]
        for bit in bits:
            if isinstance(bit, str):
                return "0" if bit == "x" else bit
        core = self._modules[TOP]["cells"][CORE]["type"]
        for module, bit, prefix in ((TOP, bits[0], ""), (core, bits[1], f"{CORE}.")):
            hidden = self._before_register(module, bit, prefix)
            if hidden is not None:
                return hidden
        if port in _MADE:
            wrong = f"no net of {known[0] if known else port} is left"
            raise InputError.at(self._file, port, wrong, "build again")
        return self.circuit.net()

    def _before_register(self, module: str, bit: Net, prefix: str) -> Net | None:
        """Net of a bit that only a register in the same logic cell reads: it has no wire."""
        names = self._aliases if module == TOP else self._inner
        for cell in self._modules[module]["cells"].values():
            if cell["connections"].get("D") != [bit] or "Q" not in cell["connections"]:
                continue
            for alias in names.get(cell["connections"]["Q"][0], ()):
                held = self.circuit.names.get(f"{prefix}{alias}")
                if held in self.circuit.before:
                    return self.circuit.before[held]
        return None

    def routed_net(self, name: str) -> Net | None:
        """Net in the routed netlist of one of the core's, by its name in the sources.

        Returns:
            The net, ``0`` or ``1`` if synthesis found it constant, None if no name of it is left.
        """
        bit = self.names.get(name)
        if bit is None or bit in ("x", "z"):
            return None
        if isinstance(bit, str):
            return bit
        # A register that is an output may be left with the name of what reads it outside.
        outside = self._aliases.get(self._outer.get(bit, ""), ())
        known = [*(f"{CORE}.{alias}" for alias in self._inner[bit]), *outside]
        return next((self.circuit.names[n] for n in known if n in self.circuit.names), None)

    def core(self) -> Netlist:
        """The core, cut out at its ports.

        Raises:
            InputError: it has a cell that is not understood, or something in it is not driven.
        """
        ports = self.ports_of_core()
        return self._checked(reduce(self.circuit.netlist, ports, _FREE), _FREE)

    def whole(self, idle: Mapping[str, str]) -> Netlist:
        """All of it, as a netlist with the ports of a core that takes a bit of ``rx`` a cycle.

        ``s_data`` is ``rx``, ``m_data`` is ``tx``; it is always ready and its output always valid.

        Args:
            idle: level of each other input.

        Raises:
            InputError: as ``core``.
        """
        found = self.circuit.netlist.ports
        tied = {found[name][0]: level for name, level in idle.items()}
        return serial_ports(self._checked(_tie(self.circuit.netlist, tied), ["rx", "clock"]))

    def _checked(self, netlist: Netlist, free: Iterable[str]) -> Netlist:
        free = list(free)
        whole = reduce(netlist, netlist.ports, free)
        left = undriven(whole, free)
        if left:
            reason = describe_unread(self.circuit, left)
            wrong = f"{reason} is not understood" if reason else f"net {min(map(str, left))} floats"
            raise InputError.at(self._file, "netlist", wrong, "report it")
        return whole


def serial_ports(netlist: Netlist) -> Netlist:
    """Return a design with ``rx`` and ``tx`` as one with a core's ports, a bit of each a cycle."""
    ports: dict[str, tuple[Net, ...]] = {
        "s_data": netlist.ports["rx"],
        "m_data": netlist.ports["tx"],
        "s_ready": ("1",),
        "m_valid": ("1",),
        # Nothing reads these.
        "rst": (_NOTHING,),
        "s_valid": (_NOTHING + 1,),
        "m_ready": (_NOTHING + 2,),
    }
    free = ["s_data", "rst", "s_valid", "m_ready"]
    return reduce(netlist, ports, free)


def _tie(netlist: Netlist, tied: Mapping[Net, str]) -> Netlist:
    """Return ``netlist`` with some nets at a constant level."""
    gates = [
        Gate(tuple(tied.get(net, net) for net in gate.inputs), gate.table, gate.output)
        for gate in netlist.gates
    ]
    outputs = {name: nets for name, nets in netlist.ports.items() if nets[0] not in tied}
    return Netlist(outputs, gates, netlist.roms, netlist.registers)


def _names_by_bit(module: Mapping[str, Any]) -> dict[Net, list[str]]:
    """Names of each bit of a synthesised module, as nextpnr writes them."""
    names: dict[Net, list[str]] = {}
    for name, net in module["netnames"].items():
        offset, count = net.get("offset", 0), len(net["bits"])
        for at, bit in enumerate(net["bits"]):
            if not isinstance(bit, str):
                names.setdefault(bit, []).append(name if count == 1 else f"{name}[{at + offset}]")
    return names
