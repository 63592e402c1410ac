"""What the router reports: clock, critical path in the core's own names, cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qpolicy_fpga.build.path import Hop, own_name, routed_path
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.json_files import is_number, read_json

_MOST_BYTES = 64 << 20
_REMEDY = "delete the folder and build again"


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
    with _refused(file):
        mhz, steps = _slowest(content)
        used, limits = {}, {}
        for name, cell in cells.items():
            counts = content["utilization"][cell]
            used[name], limits[name] = int(counts["used"]), int(counts["available"])
        logic, routing, path = _shares(steps)
    if not is_number(mhz, 0.0):
        raise InputError.at(file, "fmax", f"{mhz}", _REMEDY)
    return Timing(mhz, logic, routing, path, used, limits)


def read_path(file: Path, netlist: Path | None) -> tuple[Hop, ...]:
    """Return the critical path that nextpnr reports, cell by cell; empty if it reports none.

    Args:
        file: its report.
        netlist: what it wrote after routing: counts loads.

    Raises:
        InputError: one is not what it should be.
    """
    content = read_json(file, "report", _MOST_BYTES, _REMEDY)
    with _refused(file):
        return routed_path(_slowest(content)[1], netlist)


@contextmanager
def _refused(file: Path) -> Iterator[None]:
    """Raise InputError where the report is not built as nextpnr does it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        wrong = f"is none of nextpnr: {type(error).__name__} {error}"
        raise InputError.at(file, "report", wrong, _REMEDY) from error


def _slowest(content: Any) -> tuple[float, list[dict[str, Any]]]:
    """Return MHz of the slowest clock and the steps of its longest path."""
    clocks = {name: float(clock["achieved"]) for name, clock in content["fmax"].items()}
    slowest = min(clocks, key=clocks.__getitem__)
    edge = f"posedge {slowest}"
    paths = [
        path["path"]
        for path in content["critical_paths"]
        if path["from"] == edge and path["to"] == edge
    ]
    return clocks[slowest], paths[0] if paths else []


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
