"""Yosys takes every wrapper for the 7 series; what it costs beside the core has a bound."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from qpolicy_fpga.wrappers.tops import WRAPPERS, Sizes, top_name, write_wrapper

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


@pytest.mark.parametrize("kind", WRAPPERS)
def test_wrapper(tmp_path, kind, full):
    pytest.importorskip("pyosys")
    if kind != "axi_lite" and not full:
        pytest.skip("the other wrappers: make test-full")
    sources = write_wrapper(kind, SIZES._asdict(), tmp_path)
    core = tmp_path / "qpolicy_core.v"
    core.write_text(CORE)
    out = tmp_path / "stat.json"
    command = [sys.executable, "-c", SCRIPT, top_name(kind), str(tmp_path), str(out)]
    done = subprocess.run(
        [*command, *map(str, sources), str(core)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    cells = json.loads(out.read_text())["design"]["num_cells_by_type"]
    luts = sum(count for name, count in cells.items() if name.startswith("LUT"))
    assert luts <= LUTS[kind], cells
    assert not [name for name in cells if name.startswith("LD")], "a latch"
    if kind != "axi_stream":
        assert [name for name in cells if name.startswith("RAM")], "inputs in distributed RAM"
