"""Fit the delay of a wire, before anything is placed, to designs that were routed.

``python -m qpolicy_ros.bench.fpga_wires FOLDER ...``: folders of ``qpolicy fpga build`` for ECP5
boards. nextpnr writes the delay of each wire of the routed netlist (SDF); least squares gives the
coefficients of ``fpga/build/wire_load.py``, and the clocks estimated with them stand beside the
routed ones.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qpolicy_fpga.build import toolbox
from qpolicy_fpga.build.boards import BOARDS
from qpolicy_fpga.build.cells import count
from qpolicy_fpga.build.estimate import Clock, slowest
from qpolicy_fpga.build.families import FAMILIES, NETLIST
from qpolicy_fpga.build.flat import Flat, flatten
from qpolicy_fpga.build.result import read_result
from qpolicy_fpga.build.wire_load import fit
from qpolicy_fpga.manifest import read_manifest
from qpolicy_fpga.plan.devices import find_part
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import scratch_folder

FAMILY = "ecp5"
_WIRE = re.compile(r"\(INTERCONNECT (\S+) (\S+) \([\d.]+:[\d.]+:([\d.]+)\)")  # ps, the slowest
# Inputs at the general routing. Others are wired to their neighbours, and the estimate knows those.
_PINS = frozenset(
    {"A", "B", "C", "D", "M", "CE", "LSR"}
    | {f"AD{port}{bit}" for port in "AB" for bit in range(14)}
)


@dataclass(frozen=True)
class Routed:
    """A routed design.

    Attributes:
        name: of its folder.
        tables: look-up tables.
        wires: as ``wire_load.fit`` takes them.
        flat: what went into the router.
        mhz: what came out.
    """

    name: str
    tables: int
    wires: NDArray[np.float64]
    flat: Flat
    mhz: float


def main(folders: list[str]) -> int:
    """Print coefficients and what they are off by; return the exit status."""
    say = sys.stdout.write
    try:
        if not folders:
            raise InputError.at("", "folder", "none is given", "name folders of fpga build")
        designs = [read_design(Path(folder)) for folder in folders]
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    wires = fit([design.wires for design in designs], [design.tables for design in designs])
    shares = [_share(design, slowest(design.flat, wires)) for design in designs]
    wires = replace(wires, critical=float(np.median(shares)))
    say(f"{wires}\n\n")
    say(
        "| design | tables | ends of wires | off by, mean and deviation, ns "
        "| share of the slowest path | estimated by the others' share, MHz | routed |\n"
    )
    say("|---|---:|---:|---:|---:|---:|---:|\n")
    for at, design in enumerate(designs):
        guessed = [wires.ns(int(loads), design.tables) for loads in design.wires[:, 0]]
        off = design.wires[:, 1] - guessed
        others = shares[:at] + shares[at + 1 :] or shares
        clock = slowest(design.flat, replace(wires, critical=float(np.median(others)))).mhz
        say(
            f"| {design.name} | {design.tables:,} | {len(off):,} | {off.mean():+.2f}, "
            f"{off.std():.2f} | {shares[at]:.2f} | {clock:.1f} "
            f"| {design.mhz:.1f} ({design.mhz / clock - 1:+.0%}) |\n"
        )
    return 0


def _share(design: Routed, clock: Clock) -> float:
    """Return what the wires of the slowest path took of their mean, by the clock reached."""
    return (1e3 / design.mhz - clock.logic_ns) / clock.routing_ns


def read_design(folder: Path) -> Routed:
    """Return a design that ``qpolicy fpga build`` routed, with the delays of its wires.

    Raises:
        InputError: there is none for an ECP5, or the router is missing or fails.
    """
    built = read_result(folder, read_manifest(folder).function_hash)
    if built is None or not built["netlist"] or find_part(built["part"]).family != FAMILY:
        raise InputError.at(folder, "build", "no ECP5 was routed here", "use `qpolicy fpga build`")
    family = FAMILIES[FAMILY]
    with scratch_folder() as scratch:
        shutil.copy(folder / built["netlist"], scratch / "routed.json")
        arguments = [*family.arguments(BOARDS[built["board"]]), "--json", "routed.json"]
        arguments += ["--no-pack", "--no-place", "--no-route", "--lpf-allow-unconstrained"]
        toolbox.run(family.router, [*arguments, "--sdf", "delays.sdf"], scratch)
        with (scratch / "delays.sdf").open(encoding="utf-8") as lines:
            wires = read_sdf(lines)
    board = folder / "board"
    kinds = json.loads((board / "cells.json").read_text("utf-8"))["design"]["num_cells_by_type"]
    modules = json.loads((board / NETLIST).read_text("utf-8"))["modules"]
    tables = int(count(kinds)["lut"])
    return Routed(folder.name, tables, wires, flatten(modules), built["routed_mhz"])


def read_sdf(lines: Iterable[str]) -> NDArray[np.float64]:
    """Return loads and ns of each wire to an input pin, ``(pins, 2)``, from nextpnr's SDF."""
    ends: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for line in lines:
        found = _WIRE.search(line)
        if found:
            driver, pin = found[1], found[2].rpartition("/")[2]
            if not pin.startswith("CLK"):
                ends[driver].append((pin, float(found[3]) / 1e3))
    rows = [(len(pins), ns) for pins in ends.values() for pin, ns in pins if pin in _PINS]
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
