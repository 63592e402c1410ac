"""The routed critical path, cell by cell, and what `fpga report` says of it."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from qpolicy_fpga.build.path import Hop, bit_name
from qpolicy_fpga.build.timing import read_path, read_timing
from qpolicy_fpga.report.routed import KEYS, routed, routed_rows
from qpolicy_ros.common.errors import InputError

CORE = "controller.wrapper.core"
CODES, SUM, BANK = f"{CORE}.layer0.codes", f"{CORE}.layer0.tree1.sum", f"{CORE}.layer0.bank"
CLOCK = "$glbnet$clk"


def step(kind, delay, start, end, net=""):
    (cell, port, place), (to, into, there) = start, end
    ends = {"from": {"cell": cell, "port": port, "loc": place}}
    ends["to"] = {"cell": to, "port": into, "loc": there}
    return {"type": kind, "delay": delay, "net": net, **ends}


def write_report(folder):
    """A path through a table and a carry chain of two, the second cell named by the router."""
    reg = (f"{CODES}_TRELLIS_FF_Q_7", "Q", [9, 46])
    into = (f"{SUM}_CCU2C_S0_A0_LUT4_Z", "A", [50, 41])
    out = (into[0], "F", [50, 41])
    low = (f"{SUM}_CCU2C_S0$CCU2_COMB0", "A", [50, 42])
    carry = (low[0], "FCO", [50, 42])
    high = ("$nextpnr_CCU2C_3", "FCI", [50, 42])
    total = (high[0], "F", [50, 42])
    end = (f"{BANK}_TRELLIS_FF_Q", "LSR", [52, 42])
    path = [
        step("clk-to-q", 0.525, reg, reg),
        step("routing", 3.266, reg, into, f"{CODES}[7]"),
        step("logic", 0.236, into, out),
        step("routing", 0.5, out, low, f"{SUM}_CCU2C_S0_A0[3]"),
        step("logic", 0.447, low, carry),
        step("routing", 0.0, carry, high, f"{SUM}_CCU2C_COUT"),
        step("logic", 0.443, high, total),
        step("routing", 0.875, total, end, f"{SUM}[2]"),
        step("setup", 0.424, end, end),
    ]
    edge = f"posedge {CLOCK}"
    content = {
        "fmax": {CLOCK: {"achieved": 50.0, "constraint": 60}},
        "critical_paths": [{"from": edge, "to": edge, "path": path}],
        "utilization": {"TRELLIS_COMB": {"used": 12, "available": 24288}},
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "report.json"
    file.write_text(json.dumps(content))
    return file


def write_netlist(folder):
    def cell(**pins):
        ways = {pin: "output" if pin in "QF" else "input" for pin in pins}
        return {"port_directions": ways, "connections": {pin: [n] for pin, n in pins.items()}}

    cells = {
        f"{CODES}_TRELLIS_FF_Q_7": cell(CLK=1, Q=2),
        f"{BANK}_TRELLIS_FF_Q": cell(CLK=1, LSR=4, Q=5),
        "one": cell(A=2, B=2, F=3),
        "two": cell(A=2, F=4),
    }
    nets = {f"{CODES}[7]": [2], f"{SUM}[2]": [4], f"{BANK}[3]": [5], "clk": [1]}
    netnames = {name: {"bits": bits} for name, bits in nets.items()}
    top = {"attributes": {"top": "1"}, "cells": cells, "netnames": netnames}
    file = folder / "routed.json"
    file.write_text(json.dumps({"modules": {"top": top}}))
    return file


PATH = (
    Hop("layer0.codes[7]", "register", 0.525, 3.266, 3, 46),
    Hop("layer0.tree1.sum", "table", 0.236, 0.5, None, 1),
    Hop("layer0.tree1.sum[2]", "carry", 0.89, 0.875, 1, 2),
    Hop("layer0.bank[3]", "register", 0.424),
)


def test_the_path_has_the_cores_names_loads_and_distance(tmp_path):
    assert read_path(write_report(tmp_path), write_netlist(tmp_path)) == PATH


def test_a_path_without_its_netlist_lacks_loads_and_the_last_bit(tmp_path):
    hops = read_path(write_report(tmp_path), None)
    assert [hop.loads for hop in hops] == [None] * 4
    assert hops[-1].name == "layer0.bank"
    assert [hop.tiles for hop in hops] == [hop.tiles for hop in PATH]


@pytest.mark.parametrize("content", ["[]", '{"modules": {"a": {"attributes": {}}}}'])
def test_a_netlist_that_is_none_is_one_line(tmp_path, content):
    file = tmp_path / "routed.json"
    file.write_text(content)
    with pytest.raises(InputError, match=r"routed.json: netlist: is none of nextpnr"):
        read_path(write_report(tmp_path), file)


@pytest.mark.parametrize("place", [None, 3, {"cell": "a"}])
def test_a_path_that_is_none_is_one_line(tmp_path, place):
    file = write_report(tmp_path)
    content = json.loads(file.read_text())
    content["critical_paths"][0]["path"][1]["to"] = place
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"report.json: report: is none of nextpnr"):
        read_path(file, None)


@pytest.mark.parametrize(
    ("net", "name"),
    [
        (f"{CORE}.layer1.codes[87]", "layer1.codes[87]"),
        ("controller.wrapper.reply_length[0]", "(reply_length[0])"),
        (f"{CORE}.layer1.plane_LUT4_B_19_Z[3]", "layer1.plane"),
        (f"{CORE}.done", "done"),
    ],
)
def test_a_net_of_the_sources_keeps_its_bit(net, name):
    assert bit_name(net) == name


def built(folder):
    """A folder whose build left a result, a report and a netlist, and what is reported of it."""
    place = folder / "board" / "seed-2"
    timing = read_timing(write_report(place), {"lut": "TRELLIS_COMB"})
    write_netlist(place)
    result = {
        "format": 1,
        "board": "ulx3s-25f",
        "part": "ecp5-25f",
        "clock_mhz": 60.0,
        "function_hash": "a" * 64,
        "meets": False,
        "latency_ns": 160.0,
        "logic_ns": timing.logic_ns,
        "routing_ns": timing.routing_ns,
        "routed_mhz": timing.mhz,
        "tool": "nextpnr-ecp5",
        "versions": "1",
        "netlist": "board/seed-2/routed.json",
        "bitstream": None,
        "path": [list(each) for each in timing.path],
        "used": timing.used,
        "limits": timing.limits,
    }
    (folder / "board" / "build.json").write_text(json.dumps(result))
    clock = {"mhz": 55.0, "logic_ns": 2.0, "routing_ns": 16.0, "wide": [["layer0.codes[7]", 99]]}
    clock["path"] = [asdict(hop) for hop in PATH]
    return {"clock_mhz": 60.0, **routed(folder, "a" * 64, clock)}


def test_the_report_has_routed_figures_beside_the_estimate(tmp_path):
    facts = built(tmp_path)
    assert set(KEYS) <= facts.keys()
    assert (facts["routed_mhz"], facts["latency_ns"]) == (50.0, 160.0)
    assert (facts["routed_logic_ns"], facts["routed_wire_ns"]) == (2.075, 4.641)
    assert facts["routed_cells"] == {"lut": 12}
    assert facts["routed_path"] == [asdict(hop) for hop in PATH]
    assert facts["estimated_mhz"] == 55.0
    rows = [value for _, value in routed_rows(facts)]
    text = "\n".join(rows)
    for part in (
        "55 MHz before routing (core)",
        "AT RISK: 60 MHz asked",
        "wires of more than 64 loads: 1, layer0.codes[7] 99",
        "50 MHz by nextpnr-ecp5 on ulx3s-25f, 160 ns at it; 60 MHz asked, NOT met",
        "2.08 ns logic (31%), 4.64 ns routing (69%)",
        "12 of 24,288 lut",
        "layer0.codes[7] to layer0.bank[3], 2 cells between",
    ):
        assert part in text
    assert [row.split() for row in rows if row.endswith("register layer0.codes[7]")] == [
        ["0.53", "3.27", "3", "46", "register", "layer0.codes[7]"]
    ]


def test_a_build_whose_router_tells_no_shares_has_its_clock(tmp_path):
    """As those of 7-series parts."""
    built(tmp_path)
    file = tmp_path / "board" / "build.json"
    result = json.loads(file.read_text()) | {"board": "arty-a7-35t", "part": "xc7a35t"}
    result |= {"path": [], "used": {}, "limits": {}, "netlist": None}
    del result["logic_ns"], result["routing_ns"]
    file.write_text(json.dumps(result))
    facts = {"clock_mhz": 60.0, **routed(tmp_path, "a" * 64, None)}
    assert (facts["routed_mhz"], facts["routed_logic_ns"]) == (50.0, None)
    assert [label for label, _ in routed_rows(facts)] == ["routed", "bitstream"]


def test_a_folder_that_was_not_built_has_the_cores_estimate_alone(tmp_path):
    clock = {"mhz": 70.0, "logic_ns": 2.0, "routing_ns": 12.0, "wide": []}
    clock["path"] = [asdict(hop) for hop in PATH]
    facts = {"clock_mhz": 60.0, **routed(tmp_path, "a" * 64, clock)}
    assert facts["estimated_mhz"] == 70.0
    assert facts["routed_path"] is None
    (row,) = routed_rows(facts)
    assert "70 MHz before routing (core)" in row[1]


def test_a_part_without_an_estimate_has_no_row(tmp_path):
    facts = {"clock_mhz": 60.0, **routed(tmp_path, "a" * 64, None)}
    assert facts["estimated_mhz"] is None
    assert routed_rows(facts) == []
