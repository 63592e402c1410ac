"""What is read of the router's report and of a build's result."""

from __future__ import annotations

import json

import pytest

from qpolicy_fpga.build.path import own_name
from qpolicy_fpga.build.result import RESULT, read_result
from qpolicy_fpga.build.timing import read_timing
from qpolicy_ros.common.errors import InputError

CELLS = {"lut": "TRELLIS_COMB"}
CORE = "controller.wrapper.core"


def step(kind, delay, cell, net=""):
    port = {"cell": cell, "loc": [1, 1], "port": "A"}
    return {"delay": delay, "from": port, "to": port, "type": kind, "net": net}


def report(**changes):
    path = [
        step("clk-to-q", 0.5, f"{CORE}.layer0.tree1.r0_TRELLIS_FF_Q_1"),
        step("routing", 1.5, "x", f"{CORE}.layer0.tree1.r0[3]"),
        step("logic", 0.25, f"{CORE}.layer1.tree2.sum_0_TRELLIS_FF_Q_DI_CCU2C_S1_A1_LUT4_Z"),
        step("routing", 0.75, "x", f"{CORE}.layer1.tree2.sum_0"),
        step("setup", 0.0, f"{CORE}.layer1.bank_TRELLIS_FF_Q"),
    ]
    clock = "$glbnet$clk"
    content = {
        "fmax": {clock: {"achieved": 80.0, "constraint": 50}, "other": {"achieved": 90.0}},
        "critical_paths": [{"from": f"posedge {clock}", "to": f"posedge {clock}", "path": path}],
        "utilization": {"TRELLIS_COMB": {"used": 12, "available": 24288}},
    }
    return {**content, **changes}


def test_the_slowest_clock_its_shares_and_its_path_by_the_cores_names(tmp_path):
    file = tmp_path / "report.json"
    file.write_text(json.dumps(report()))
    timing = read_timing(file, CELLS)
    assert timing.mhz == 80.0
    assert (timing.logic_ns, timing.routing_ns) == (0.75, 2.25)
    assert timing.path == (
        ("layer0.tree1.r0", 2.0),
        ("layer1.tree2.sum_0", 1.0),
        ("layer1.bank", 0.0),
    )
    assert (timing.used, timing.limits) == ({"lut": 12}, {"lut": 24288})


@pytest.mark.parametrize(
    ("mapped", "own"),
    [
        (f"{CORE}.layer0.tree1.r0_TRELLIS_FF_Q_1_DI_LUT4_Z_D_LUT4_Z", "layer0.tree1.r0"),
        (f"{CORE}.layer2.code_DP16KD_DOA7", "layer2.code"),
        (f"{CORE}.results.count_SB_DFFESR_Q_1_D_SB_LUT4_O", "results.count"),
        ("controller.wrapper.reply_length[3]", "(reply_length)"),
        ("$nextpnr_CCU2C_3", ""),
    ],
)
def test_a_mapped_name_is_led_back_to_the_sources(mapped, own):
    assert own_name(mapped) == own


@pytest.mark.parametrize("change", [{"fmax": {}}, {"critical_paths": 3}, {"utilization": {}}])
def test_a_report_that_is_none_is_one_line(tmp_path, change):
    file = tmp_path / "report.json"
    file.write_text(json.dumps(report(**change)))
    with pytest.raises(InputError, match=r"report.json: report: is none of nextpnr"):
        read_timing(file, CELLS)


def result(**changes):
    return {
        "format": 1,
        "board": "icebreaker",
        "part": "ice40-up5k",
        "clock_mhz": 12.0,
        "function_hash": "a" * 64,
        "meets": True,
        "latency_ns": 100.0,
        "logic_ns": 1.0,
        "routing_ns": 2.0,
        "routed_mhz": 30.0,
        "tool": "nextpnr-ice40",
        "versions": "1",
        "netlist": "board/seed-1/routed.json",
        "bitstream": "board/qpolicy.bin",
        "path": [["layer0.r0", 1.5]],
        "used": {"lut": 3},
        "limits": {"lut": 5280},
        **changes,
    }


def test_a_folder_without_a_build_has_no_result(tmp_path):
    assert read_result(tmp_path, "a" * 64) is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"bitstream": "/etc/passwd"}, "bitstream"),
        ({"bitstream": "board/../../secret"}, "bitstream"),
        ({"netlist": "other/routed.json"}, "netlist"),
        ({"board": "none"}, "board"),
        ({"routed_mhz": "fast"}, "routed_mhz"),
        ({"path": [["a"]]}, "path"),
        ({"used": {"lut": -1}}, "used"),
        ({"function_hash": "b" * 64}, "function_hash"),
    ],
)
def test_a_damaged_result_is_one_line_that_names_the_field(tmp_path, change, field):
    file = tmp_path / RESULT
    file.parent.mkdir()
    file.write_text(json.dumps(result()))
    assert read_result(tmp_path, "a" * 64)["tool"] == "nextpnr-ice40"
    file.write_text(json.dumps(result(**change)))
    with pytest.raises(InputError, match=rf"build.json: {field}: .*build again"):
        read_result(tmp_path, "a" * 64)
