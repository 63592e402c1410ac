"""Every wrapper is clean under `verilator --lint-only -Wall`, over several widths."""

from __future__ import annotations

import subprocess

import pytest

from qpolicy_fpga.simulate.verilator import find_verilator
from qpolicy_fpga.wrappers.tops import RTL, WRAPPERS, Sizes, top_name, write_wrapper

CORE = """
// verilator lint_off UNUSEDSIGNAL
// verilator lint_off UNDRIVEN
module qpolicy_core (
    input  wire clk, input wire rst,
    input  wire [{bus}-1:0] s_data, input wire s_valid, output wire s_ready,
    output wire [{out}-1:0] m_data, output wire m_valid, input wire m_ready
);
endmodule
"""
SHAPES = [  # n, b_in, m, b_out
    (11, 8, 3, 8),
    (17, 3, 6, 3),
    (27, 3, 8, 2),
    (376, 8, 17, 4),
    (1, 2, 1, 2),
    (100, 3, 2, 7),
    (65, 8, 33, 8),
    (128, 2, 1, 8),
]


def lint(top, sources, *options):
    tool = find_verilator()
    command = [tool.command, "--lint-only", "-Wall", "--quiet", "--top-module", top]
    done = subprocess.run(
        [*command, *options, *map(str, sources)],
        env={"VERILATOR_ROOT": str(tool.root), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def sizes_of(n, b_in, m, b_out):
    per_beat = min(n, 256 // b_in)
    return Sizes(n, b_in, per_beat, -(-n // per_beat), m, b_out, "0123456789abcdef" * 4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", WRAPPERS)
def test_wrapper(tmp_path, kind, shape):
    sizes = sizes_of(*shape)
    sources = write_wrapper(kind, sizes, tmp_path)
    core = tmp_path / "qpolicy_core.v"
    core.write_text(CORE.format(bus=sizes.codes_per_beat * sizes.b_in, out=sizes.m * sizes.b_out))
    assert lint(top_name(kind), [*sources, core], f"-I{tmp_path}") == (0, "")


def test_timeout_block():
    assert lint("qpolicy_axi_timeout", [RTL / "qpolicy_axi_timeout.v"]) == (0, "")


def test_the_top_carries_the_function_hash(tmp_path):
    sources = write_wrapper("axi_lite", sizes_of(11, 8, 3, 8), tmp_path)
    assert "128'h0123456789abcdef0123456789abcdef" in sources[0].read_text()
