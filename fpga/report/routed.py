"""What was placed and routed, and the clock estimated before that, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qpolicy_fpga.build.estimate import at_risk, estimate
from qpolicy_fpga.build.families import NETLIST, REPORT
from qpolicy_fpga.build.result import RESULT, read_result
from qpolicy_fpga.build.timing import read_path
from qpolicy_fpga.emit.fanout import MAX_LOADS
from qpolicy_fpga.plan.devices import find_part

Rows = list[tuple[str, str]]
# Facts that `qpolicy fpga report --json` prints; None where nothing was built.
KEYS = (
    "routed_mhz",
    "routed_tool",
    "bitstream",
    "latency_ns",
    "routed_logic_ns",
    "routed_wire_ns",
    "routed_path",
    "routed_cells",
    "estimated_mhz",
)
_MOST_WIDE = 4  # wires that a table names


def routed(folder: Path, function_hash: str, estimated: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what ``build_bitstream`` left in a folder; ``KEYS`` with None if nothing.

    Args:
        folder: what ``generate`` or ``build_bitstream`` wrote.
        function_hash: of the core that lies there now.
        estimated: ``estimate.Clock`` of the core alone as JSON, where there is one.

    Raises:
        InputError: it is damaged or of another core.
    """
    facts: dict[str, Any] = dict.fromkeys(KEYS)
    clocks: dict[str, Mapping[str, Any] | None] = {"core": estimated, "whole": None}
    built = read_result(folder, function_hash)
    if built is not None:
        netlist = folder / built["netlist"] if built["netlist"] else None
        report = netlist.with_name(REPORT) if netlist else None
        hops = []
        if report is not None and netlist is not None and report.is_file():
            hops = [
                asdict(hop) for hop in read_path(report, netlist if netlist.is_file() else None)
            ]
        file = built["bitstream"]
        facts |= {
            "routed_mhz": built["routed_mhz"],
            "routed_tool": built["tool"],
            "bitstream": str(folder / file) if file else None,
            "latency_ns": built["latency_ns"],
            "routed_logic_ns": built.get("logic_ns"),
            "routed_wire_ns": built.get("routing_ns"),
            "routed_path": hops,
            "routed_cells": built["used"],
            "routed": built,
        }
        whole = (folder / RESULT).with_name(NETLIST)
        clock = estimate(whole, find_part(built["part"]).family) if whole.is_file() else None
        clocks["whole"] = clock.as_json() if clock else None
    nearest = clocks["whole"] or clocks["core"]
    return {**facts, "estimated": clocks, "estimated_mhz": nearest and nearest["mhz"]}


def routed_rows(facts: Mapping[str, Any]) -> Rows:
    """Rows on the clock: estimated, and routed where that was done."""
    return [*_estimated_rows(facts), *_built_rows(facts)]


def _estimated_rows(facts: Mapping[str, Any]) -> Rows:
    rows = []
    for of, clock in facts["estimated"].items():
        if clock is None:
            continue
        text = f"{clock['mhz']:g} MHz before routing ({of}), {clock['logic_ns']:.2f} ns logic, "
        text += f"{clock['routing_ns']:.2f} ns routing; {_ends(clock['path'])}"
        rows.append(("", text))
        if at_risk(clock["mhz"], facts["clock_mhz"]):
            rows.append(("", f"AT RISK: {facts['clock_mhz']:g} MHz asked"))
        if clock["wide"]:
            most = ", ".join(f"{name} {loads}" for name, loads in clock["wide"][:_MOST_WIDE])
            text = f"wires of more than {MAX_LOADS} loads: {len(clock['wide'])}, {most}"
            rows.append(("", text))
    return rows


def _built_rows(facts: Mapping[str, Any]) -> Rows:
    built = facts.get("routed")
    if built is None:
        return []
    logic, wires = facts["routed_logic_ns"] or 0.0, facts["routed_wire_ns"] or 0.0
    verdict = "met" if built["meets"] else "NOT met"
    text = f"{built['routed_mhz']:g} MHz by {built['tool']} on {built['board']}, "
    text += f"{built['latency_ns']:g} ns at it; {built['clock_mhz']:g} MHz asked, {verdict}"
    rows = [("routed", text)]
    if logic + wires:
        share = wires / (logic + wires)
        text = f"{logic:.2f} ns logic ({1 - share:.0%}), {wires:.2f} ns routing ({share:.0%})"
        rows.append(("", text))
    used = (
        f"{number:,} of {built['limits'].get(name, 0):,} {name}".replace(" of 0 ", " ")
        for name, number in built["used"].items()
    )
    rows += [("cells", ", ".join(used))] if built["used"] else []
    hops = facts["routed_path"]
    if hops:
        rows.append(("path", _ends(hops)))
        rows.append(("", " logic routing loads tiles, ns"))
        rows += [("", _hop(hop)) for hop in hops]
    rows.append(("bitstream", facts["bitstream"] or "none"))
    return rows


def _ends(hops: Sequence[Mapping[str, Any]]) -> str:
    return f"{hops[0]['name']} to {hops[-1]['name']}, {len(hops) - 2} cells between"


def _hop(hop: Mapping[str, Any]) -> str:
    loads, tiles = ("" if hop[name] is None else hop[name] for name in ("loads", "tiles"))
    times = f"{hop['logic_ns']:6.2f} {hop['routing_ns']:7.2f}"
    return f"{times} {loads:>5} {tiles:>5}  {hop['kind']} {hop['name']}"
