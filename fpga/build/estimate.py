"""The clock that a synthesised netlist may reach once it is routed: cells, and wires at their mean.

Delays of cells are those of nextpnr's own tables (ECP5, speed grade 6), of wires ``wire_load``'s.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qpolicy_fpga.build.cells import count
from qpolicy_fpga.build.flat import Flat, FlatCell, flatten
from qpolicy_fpga.build.path import Hop, bit_name, chained, own_name
from qpolicy_fpga.build.wire_load import MARGIN, WIRES, WireLoad
from qpolicy_fpga.emit.fanout import MAX_LOADS
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.json_files import read_json

_MOST_BYTES = 1 << 30
_LUT, _PAIR = 0.236, 0.165  # a table of four inputs; the multiplexer behind two of them
_SUM, _INTO_CARRY, _CARRY = 0.443, 0.447, 0.071
_RAM, _RAM_SETUP, _RESET_SETUP = 5.830, 0.251, 0.424


def _all(pins: str, ns: float) -> dict[str, float]:
    return dict.fromkeys(pins.split(), ns)


_LOW, _HIGH = "A0 B0 C0 D0", "A1 B1 C1 D1"
_FACTORS = {f"{port}{bit}": 3.927 for port in "AB" for bit in range(18)}
# ns from an input to an output, of cells without a clock.
_ARCS: dict[str, dict[str, dict[str, float]]] = {
    "LUT4": {"Z": _all("A B C D", _LUT)},
    "PFUMX": {"Z": {"ALUT": _PAIR, "BLUT": _PAIR, "C0": 0.256}},
    "L6MUX21": {"Z": {"D0": 0.239, "D1": 0.242, "SD": 0.256}},
    "CCU2C": {
        "S0": {**_all(_LOW, _LUT), "CIN": _SUM},
        "S1": {**_all(_HIGH, _LUT), **_all(_LOW, _INTO_CARRY + _SUM), "CIN": _CARRY + _SUM},
        "COUT": {
            **_all(_LOW, _INTO_CARRY + _CARRY),
            **_all(_HIGH, _INTO_CARRY),
            "CIN": 2 * _CARRY,
        },
    },
    "MULT18X18D": {f"P{bit}": _FACTORS for bit in range(36)},
    "TRELLIS_DPR16X4": {f"DO{bit}": _all("RAD0 RAD1 RAD2 RAD3", _LUT) for bit in range(4)},
}
_KINDS = {
    "PFUMX": "multiplexer",
    "L6MUX21": "multiplexer",
    "CCU2C": "carry",
    "MULT18X18D": "multiplier",
    "TRELLIS_FF": "register",
    "DP16KD": "block RAM",
    "PDPW16KD": "block RAM",
}
# ns from the clock to an output, and from an input to the clock.
_CLOCKED = {
    "TRELLIS_FF": (0.525, 0.0),
    "DP16KD": (_RAM, _RAM_SETUP),
    "PDPW16KD": (_RAM, _RAM_SETUP),
}
# Wires within a slice, and from a table to the register beside it.
_WITHIN = {("PFUMX", "ALUT"), ("PFUMX", "BLUT"), ("L6MUX21", "D0"), ("L6MUX21", "D1")}
_WITHIN |= {("CCU2C", "CIN")}
_BESIDE = 0.13


@dataclass(frozen=True)
class Clock:
    """What a netlist may reach.

    Attributes:
        mhz: of its slowest path.
        logic_ns, routing_ns: of that.
        path: it, first to last.
        wide: wires with more loads than the generator gives one, and how many, most first.
    """

    mhz: float
    logic_ns: float
    routing_ns: float
    path: tuple[Hop, ...]
    wide: tuple[tuple[str, int], ...]

    def as_json(self) -> dict[str, Any]:
        """Return the fields as ``build.json`` and ``report.json`` have them."""
        return asdict(self)


def estimate(netlist: Path, family: str) -> Clock | None:
    """Return the clock that a netlist may reach; None where too few of a family were routed.

    Args:
        netlist: of Yosys (``write_json``), after synthesis for ``family``.
        family: of the part.

    Raises:
        InputError: the netlist is none.
    """
    if family not in WIRES:
        return None
    content = read_json(netlist, "netlist", _MOST_BYTES, "build again")
    try:
        return slowest(flatten(content["modules"]), WIRES[family])
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        wrong = f"is none of Yosys: {type(error).__name__} {error}"
        raise InputError.at(netlist, "netlist", wrong, "build again") from error


def at_risk(estimated_mhz: float, asked_mhz: float) -> bool:
    """Whether a clock may be missed, by what estimates were off by."""
    return estimated_mhz * (1 - MARGIN) < asked_mhz


def slowest(flat: Flat, wires: WireLoad) -> Clock:
    """Return what a design may reach, by the longest path from a register to a register.

    Raises:
        ValueError: there is none.
    """
    return _Paths(flat, wires).slowest()


class _Paths:
    """Longest paths to every net; what hangs on a loop without a register is left out."""

    def __init__(self, flat: Flat, wires: WireLoad) -> None:
        self._flat, self._wires = flat, wires
        self._loads = flat.loads()
        self._tables = round(count(Counter(cell.kind for cell in flat.cells))["lut"])
        known = [cell for cell in flat.cells if cell.kind in _ARCS or cell.kind in _CLOCKED]
        self._driver = {net: cell for cell in known for net in cell.outputs.values()}
        # Of each net: when it is there, ns in the cell that drives it, the net and the wire before.
        self._time: dict[int, float] = {}
        self._inside: dict[int, float] = {}
        self._before: dict[int, tuple[int, float]] = {}
        waiting, readers = {}, defaultdict(list)
        ready = []
        for at, cell in enumerate(known):
            needs = {net for net in cell.inputs.values() if net in self._driver}
            if cell.kind in _CLOCKED or not needs:
                ready.append(at)
                continue
            waiting[at] = len(needs)
            for net in needs:
                readers[net].append(at)
        while ready:
            cell = known[ready.pop()]
            self._pass(cell)
            for net in cell.outputs.values():
                for at in readers[net]:
                    waiting[at] -= 1
                    if not waiting[at]:
                        ready.append(at)

    def _pass(self, cell: FlatCell) -> None:
        """Set the times of a cell's outputs, those of its inputs being known."""
        for output, net in cell.outputs.items():
            if cell.kind in _CLOCKED:
                self._time[net] = self._inside[net] = _CLOCKED[cell.kind][0]
                continue
            for pin, ns in _ARCS[cell.kind].get(output, {}).items():
                before = cell.inputs.get(pin, -1)
                if before in self._time:
                    wire = self._wire(cell, pin)
                    time = self._time[before] + wire + ns
                    if time > self._time.get(net, 0.0):
                        self._time[net], self._inside[net] = time, ns
                        self._before[net] = before, wire

    def _wire(self, cell: FlatCell, pin: str) -> float:
        """Return the delay of the wire to an input, ns."""
        net = cell.inputs[pin]
        if (cell.kind, pin) in _WITHIN:
            return 0.0
        if pin == "DI" and self._driver[net].kind in ("LUT4", "CCU2C"):
            return _BESIDE
        return self._wires.critical * self._wires.ns(self._loads[net], self._tables)

    def slowest(self) -> Clock:
        """Return the clock by the longest path to a register."""
        ends = [
            (self._time[net] + self._wire(cell, pin) + _setup(cell.kind, pin), net, cell, pin)
            for cell in self._flat.cells
            if cell.kind in _CLOCKED
            for pin, net in cell.inputs.items()
            if net in self._time and not pin.startswith("CLK")
        ]
        if not ends:
            raise ValueError("no path from a register to a register")
        total, net, last, pin = max(ends, key=lambda end: end[0])
        held = next(iter(last.outputs.values()), -1)
        name = self._flat.nets[held] if held >= 0 else last.name
        hops = [Hop(bit_name(name), _KINDS[last.kind], _setup(last.kind, pin))]
        wire = self._wire(last, pin)
        while True:
            cell = self._driver[net]
            own = bit_name(self._flat.nets[net]) or own_name(cell.name)
            kind = _KINDS.get(cell.kind, "table")
            hops.append(Hop(own, kind, self._inside[net], wire, self._loads[net]))
            if net not in self._before:
                break
            net, wire = self._before[net]
        routing = sum(hop.routing_ns for hop in hops)
        wide = [
            (bit_name(self._flat.nets[net]), loads)
            for net, loads in self._loads.most_common()
            if loads > MAX_LOADS
        ]
        return Clock(
            mhz=round(1e3 / total, 1),
            logic_ns=round(total - routing, 3),
            routing_ns=round(routing, 3),
            path=chained(hops[::-1]),
            wide=tuple(wide),
        )


def _setup(kind: str, pin: str) -> float:
    return _RESET_SETUP if pin == "LSR" else _CLOCKED[kind][1]
