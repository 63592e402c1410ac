"""What the router reports: clock, critical path in the core's own names, cells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qpolicy_fpga.build.top import CORE, TOP, WRAPPER
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.json_files import is_number, read_json

_MOST_BYTES = 64 << 20
_REMEDY = "delete the folder and build again"
# What synthesis adds to the name of a net that it drives: `r0_TRELLIS_FF_Q_1_DI_LUT4_Z`.
_ADDED = re.compile(
    r"(_|\$)(TRELLIS_\w+|LUT[1-6]|CCU2C?|PFUMX|L6MUX21|SB_\w+|DP16KD|MULT18X18D|DFF\w*|ALU"
    r"|MUX2\w*|DFFCAS|PACKER|nextpnr|ccu2)(_|\$|\[|$).*"
)


@dataclass(frozen=True)
class Timing:
    """What a routed design reaches.

    Attributes:
        mhz: of its slowest clock.
        logic_ns, routing_ns: of the critical path.
        path: what lies on it, first to last: a name of the sources and the ns spent there.
        used: cells by resource.
        limits: of them, as many as the part has.
    """

    mhz: float
    logic_ns: float
    routing_ns: float
    path: tuple[tuple[str, float], ...]
    used: dict[str, int]
    limits: dict[str, int]


def read_timing(file: Path, cells: Mapping[str, str]) -> Timing:
    """Return the timing that nextpnr reports.

    Args:
        file: its report.
        cells: the report's name of each resource.

    Raises:
        InputError: it is no such report.
    """
    content = read_json(file, "report", _MOST_BYTES, _REMEDY)
    try:
        clocks = {name: float(clock["achieved"]) for name, clock in content["fmax"].items()}
        slowest = min(clocks, key=clocks.__getitem__)
        edge = f"posedge {slowest}"
        paths = [
            path["path"]
            for path in content["critical_paths"]
            if path["from"] == edge and path["to"] == edge
        ]
        used, limits = {}, {}
        for name, cell in cells.items():
            counts = content["utilization"][cell]
            used[name], limits[name] = int(counts["used"]), int(counts["available"])
        logic, routing, path = _shares(paths[0] if paths else [])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        wrong = f"is none of nextpnr: {type(error).__name__} {error}"
        raise InputError.at(file, "report", wrong, _REMEDY) from error
    if not is_number(clocks[slowest], 0.0):
        raise InputError.at(file, "fmax", f"{clocks[slowest]}", _REMEDY)
    return Timing(clocks[slowest], logic, routing, path, used, limits)


def _shares(steps: list[dict[str, Any]]) -> tuple[float, float, tuple[tuple[str, float], ...]]:
    """Return ns of logic, of routing, and ns by place, neighbours of one name together."""
    logic = routing = 0.0
    places: list[tuple[str, float]] = []
    for step in steps:
        delay = float(step["delay"])
        if step["type"] == "routing":
            routing += delay
            name = own_name(str(step["net"]))
        else:
            logic += delay
            name = own_name(str(step["to"]["cell"]))
        if places and name in ("", places[-1][0]):  # a cell that the router itself made
            name = places[-1][0]
            places[-1] = (name, places[-1][1] + delay)
        else:
            places.append((name, delay))
    rounded = tuple((name, round(delay, 2)) for name, delay in places)
    return round(logic, 3), round(routing, 3), rounded


def own_name(name: str) -> str:
    """Return the name of the sources behind one of a mapped netlist."""
    for prefix in (f"{CORE}.", f"{WRAPPER}.", f"{TOP}."):
        if name.startswith(prefix):
            name = name[len(prefix) :] if prefix == f"{CORE}." else f"({name[len(prefix) :]})"
            break
    plain = _ADDED.sub("", name).partition("[")[0]
    return f"{plain})" if name.startswith("(") and not plain.endswith(")") else plain
