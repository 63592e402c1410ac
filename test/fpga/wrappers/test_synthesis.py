"""Yosys takes every wrapper for the 7 series; what it costs beside the core has a bound."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from qpolicy_fpga.wrappers.tops import RTL, WRAPPERS, Sizes, top_name, write_wrapper

pytestmark = pytest.mark.slow
# Humanoid's bus: 376 codes of 8 bits in 12 beats, 17 actions.
SIZES = Sizes(376, 8, 32, 12, 17, 8, "0123456789abcdef" * 4)
CORE = """
(* blackbox *)
module qpolicy_core (
    input wire clk, input wire rst,
    input wire [255:0] s_data, input wire s_valid, output wire s_ready,
    output wire [135:0] m_data, output wire m_valid, input wire m_ready
);
endmodule
"""
SCRIPT = """
import json, sys
from pyosys import libyosys as ys
top, folder, out, *files = sys.argv[1:]
design = ys.Design()
for step in (f"read_verilog -I{folder} {' '.join(files)}",
             f"synth_xilinx -family xc7 -flatten -noiopad -top {top}",
             f"tee -q -o {out} stat -json"):
    ys.run_pass(step, design)
"""
LUTS = {"axi_lite": 900, "axi_stream": 400, "uart": 900}


VIVADO = RTL.parents[1] / "vivado"


def synthesised(folder, top, sources):
    """Return how many cells of each type Yosys makes of `top`; latches are a failure."""
    pytest.importorskip("pyosys")
    out = folder / "stat.json"
    command = [sys.executable, "-c", SCRIPT, top, str(folder), str(out), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    cells = json.loads(out.read_text())["design"]["num_cells_by_type"]
    assert not [name for name in cells if name.startswith("LD")], "a latch"
    return cells


def luts(cells):
    return sum(count for name, count in cells.items() if name.startswith("LUT"))


def around_a_core(folder, kind):
    """Return the sources of a wrapper and of a core that is a black box."""
    core = folder / "qpolicy_core.v"
    core.write_text(CORE)
    return [*write_wrapper(kind, SIZES, folder), core]


@pytest.mark.parametrize("kind", WRAPPERS)
def test_wrapper(tmp_path, kind, full):
    if kind != "axi_lite" and not full:
        pytest.skip("the other wrappers: make test-full")
    cells = synthesised(tmp_path, top_name(kind), around_a_core(tmp_path, kind))
    assert luts(cells) <= LUTS[kind], cells
    if kind != "axi_stream":
        assert [name for name in cells if name.startswith("RAM")], "inputs in distributed RAM"


def test_timeout_block(tmp_path):
    cells = synthesised(tmp_path, "qpolicy_axi_timeout", [RTL / "qpolicy_axi_timeout.v"])
    assert 0 < luts(cells) <= 200, cells


def test_top_of_the_arty_a7(tmp_path, full):
    if not full:
        pytest.skip("a wrapper with a board around it: make test-full")
    sources = [*around_a_core(tmp_path, "uart"), VIVADO / "arty_a7.v"]
    assert 0 < luts(synthesised(tmp_path, "arty_a7", sources)) <= LUTS["uart"] + 50
