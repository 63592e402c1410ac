"""A small core after synthesis, as 7-series cells in Icarus, computes the integer engine's codes.

The cells are simulated with Yosys's own models of them, so what is shown is that generator and
synthesis keep the function; nothing is placed or timed.
"""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from policy_builders import make_contract, random_artifact, random_network, random_observations

from qpolicy_fpga import generate
from qpolicy_fpga.design import build
from qpolicy_fpga.emit.testbench import emit_bench
from qpolicy_fpga.plan.form import Form
from qpolicy_fpga.plan.random_networks import evenly_spaced
from qpolicy_fpga.yosys import write_netlist
from qpolicy_ros.policy import make_artifact

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed"),
]


def made(network, vectors):
    """An artifact of ``network`` with so many golden vectors."""
    inputs, outputs = network.weights[0].shape[1], network.weights[-1].shape[0]
    hidden = tuple(len(weight) for weight in network.weights[:-1])
    return make_artifact(
        contract=make_contract(inputs, outputs), network=network,
        baseline=random_artifact(1, inputs, hidden, outputs).baseline, provenance={},
        golden_observations=random_observations(4, vectors, inputs),
    )  # fmt: skip


@pytest.fixture(scope="module")
def gates(full, tmp_path_factory):
    """Folder with the netlist, its cells' models and the bench over random observations."""
    pytest.importorskip("pyosys")
    folder = tmp_path_factory.mktemp("gates")
    network = random_network(11, 6, (5,), 2, input_bits=4, core_bits=3, output_bits=4)
    artifact = made(network, 2000 if full else 300)
    manifest = generate(artifact, "xc7a15t", 100.0, "area", folder)
    return folder, write_netlist(manifest.verilog(folder), "qpolicy_core", folder)


def simulate(folder, sources):
    """What the self-checking bench says of a core in ``sources``."""
    bench = [str(path) for path in (*sources, folder / "qpolicy_core_tb.v")]
    subprocess.run(
        ["iverilog", "-g2005-sv", "-s", "qpolicy_core_tb", "-o", str(folder / "tb"), *bench],
        check=True, capture_output=True,
    )  # fmt: skip
    return subprocess.run(
        ["vvp", "tb"], cwd=folder, capture_output=True, text=True, timeout=900, check=True
    ).stdout


def test_the_netlist_gives_the_engine_s_codes_in_the_stated_cycles(gates):
    folder, sources = gates
    vectors = len((folder / "golden_out.hex").read_text().split())
    said = simulate(folder, sources)
    assert vectors >= 300
    assert said.startswith(f"PASS {vectors} vectors three times"), said


def test_codes_by_multiplication_are_the_engine_s(full, tmp_path):
    """Multiply, add and shift in a DSP block, as its own model computes them."""
    pytest.importorskip("pyosys")
    network = evenly_spaced(6, (8,), 2, 4, 6, 8)
    design = build(network, [Form(8, 1), Form(1, 6, stream=True)], 100.0)
    assert design.layers[1].tail == "scale"
    vectors = 2000 if full else 50
    for name, text in (design.files | emit_bench(made(network, vectors), design.core)).items():
        (tmp_path / name).write_text(text)
    sources = [tmp_path / name for name in design.files if name.endswith(".v")]
    netlist = write_netlist(sources, "qpolicy_core", tmp_path)
    assert re.search(r"^\s*DSP48E1 ", netlist[0].read_text(), re.MULTILINE)
    said = simulate(tmp_path, netlist)
    assert said.startswith(f"PASS {vectors} vectors three times"), said


def test_one_changed_look_up_table_is_noticed(gates, tmp_path):
    folder, (netlist, models) = gates
    text = netlist.read_text()
    *_, last = re.finditer(r"LUT(\d) #\(\s*\.INIT\(\d+'h([0-9a-f]+)\)", text)
    wrong = "".join(f"{int(digit, 16) ^ 15:x}" for digit in last.group(2))
    spoilt = tmp_path / "mapped.v"
    spoilt.write_text(text[: last.start(2)] + wrong + text[last.end(2) :])
    assert "FAIL vector" in simulate(folder, [spoilt, models])
