"""The slowest path of a design, cell by cell, in the names of its sources."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qpolicy_fpga.build.top import CORE, TOP, WRAPPER
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.json_files import read_json

_MOST_BYTES = 1 << 30
_REMEDY = "delete the folder and build again"
# What synthesis adds to the name of a net that it drives: `r0_TRELLIS_FF_Q_1_DI_LUT4_Z`.
_ADDED = re.compile(
    r"(_|\$)(TRELLIS_\w+|LUT[1-6]|CCU2C?|PFUMX|L6MUX21|SB_\w+|DP16KD|MULT18X18D|DFF\w*|ALU"
    r"|MUX2\w*|DFFCAS|PACKER|nextpnr|ccu2)(_|\$|\[|$).*"
)
_CLOCKS = ("CLK", "CLKA", "CLKB", "CLKR", "CLKW", "RCLK", "WCLK", "RCK", "WCK")
_CARRY = re.compile(r"F?C(IN?|O|OUT)")
ENDS = ("register", "block RAM")
_BLOCK_RAM = re.compile(r"(DO|RDATA|AD|DI[AB]\d|WDATA|[RW]ADDR).*")


@dataclass(frozen=True)
class Hop:
    """A cell on a path and the wire behind it.

    Attributes:
        name: of the sources; a table's is that of the register or wire that it was named after.
        kind: ``register``, ``table``, ``multiplexer``, ``carry``, ``block RAM`` or ``multiplier``.
        logic_ns: in the cell; in the last one, its set-up time.
        routing_ns: in the wire; of the last one 0.
        loads: of the wire, clocks left out; None where nobody counted.
        tiles: columns and rows between the wire's two ends; None before placing.
    """

    name: str
    kind: str
    logic_ns: float
    routing_ns: float = 0.0
    loads: int | None = None
    tiles: int | None = None


def routed_path(steps: Sequence[dict[str, Any]], netlist: Path | None = None) -> tuple[Hop, ...]:
    """Return a path as nextpnr's report tells it; a carry chain is one hop.

    Args:
        steps: ``path`` of one of its ``critical_paths``.
        netlist: what it wrote after routing, for loads and the last register's bit.

    Raises:
        InputError: the netlist is none.
        KeyError, TypeError, ValueError: the steps are none.
    """
    loads, held = _read_netlist(netlist) if netlist else ({}, {})
    hops: list[Hop] = []
    for step in steps:
        delay, ends = float(step["delay"]), (step["from"], step["to"])
        if step["type"] == "routing":
            net = str(step["net"])
            across = sum(abs(a - b) for a, b in zip(*(end["loc"] for end in ends), strict=True))
            last = replace(hops[-1], routing_ns=delay, loads=loads.get(net), tiles=across)
            hops[-1] = replace(last, name=bit_name(net)) if bit_name(net) else last
        else:
            cell, ports = str(step["to"]["cell"]), [str(end["port"]) for end in ends]
            name = bit_name(held.get(cell, cell)) if step["type"] == "setup" else own_name(cell)
            hops.append(Hop(name, _kind(step["type"], ports), delay))
    return chained(hops)


def _kind(step: str, ports: list[str]) -> str:
    if any(map(_BLOCK_RAM.fullmatch, ports)):
        return "block RAM"
    if step != "logic":
        return "register"
    if any(map(_CARRY.fullmatch, ports)):
        return "carry"
    if ports[1].startswith("OF"):
        return "multiplexer"
    return "multiplier" if re.fullmatch(r"P\d+", ports[1]) else "table"


def chained(hops: Sequence[Hop]) -> tuple[Hop, ...]:
    """Return hops with those that no wire parts as one, such as a carry chain or a wide table.

    What nobody but the router named has the name before it.
    """
    joined: list[Hop] = []
    for hop in hops:
        before = joined[-1] if joined else None
        named = hop if hop.name or before is None else replace(hop, name=before.name)
        if before is not None and before.routing_ns == 0 and hop.kind not in ENDS:
            joined[-1] = replace(named, logic_ns=before.logic_ns + hop.logic_ns)
        else:
            joined.append(named)
    return tuple(
        replace(h, logic_ns=round(h.logic_ns, 3), routing_ns=round(h.routing_ns, 3)) for h in joined
    )


def _read_netlist(file: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Return loads of nets by their name, and the net that each register drives."""
    content = read_json(file, "netlist", _MOST_BYTES, _REMEDY)
    try:
        (module,) = (m for m in content["modules"].values() if "top" in m["attributes"])
        names = {bit: n for n, net in module["netnames"].items() for bit in net["bits"]}
        counts: Counter[str] = Counter()
        held = {}
        for cell, facts in module["cells"].items():
            ways = facts["port_directions"]
            for port, bits in facts["connections"].items():
                if ways[port] == "input" and port not in _CLOCKS:
                    counts.update(names[bit] for bit in bits if bit in names)
            driven = facts["connections"].get("Q")
            if driven and driven[0] in names:
                held[cell] = names[driven[0]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        wrong = f"is none of nextpnr: {type(error).__name__} {error}"
        raise InputError.at(file, "netlist", wrong, _REMEDY) from error
    return counts, held


def bit_name(net: str) -> str:
    """Return the name of the sources of a net, with the bit where it is one of a vector's."""
    own = own_name(net)
    index = re.search(r"\[\d+\]$", net)
    if index is None or _ADDED.search(net) or not own:
        return own
    return f"{own[:-1]}{index[0]})" if own.endswith(")") else own + index[0]


def own_name(name: str) -> str:
    """Return the name of the sources behind one of a mapped netlist."""
    for prefix in (f"{CORE}.", f"{WRAPPER}.", f"{TOP}."):
        if name.startswith(prefix):
            name = name[len(prefix) :] if prefix == f"{CORE}." else f"({name[len(prefix) :]})"
            break
    plain = _ADDED.sub("", name).partition("[")[0]
    return f"{plain})" if name.startswith("(") and not plain.endswith(")") else plain
