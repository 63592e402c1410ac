"""A small policy built for an ECP5 and an iCE40: what comes out is the policy, and faults show."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from policy_builders import random_artifact

from qpolicy_fpga.build import readback, toolbox
from qpolicy_fpga.build.bitstream import Order, build_bitstream
from qpolicy_fpga.build.boards import BOARDS
from qpolicy_fpga.build.cut import RoutedDesign
from qpolicy_fpga.build.families import FAMILIES
from qpolicy_fpga.build.prove import prove_core
from qpolicy_fpga.build.serial import SerialSimulation
from qpolicy_fpga.build.timing import read_timing
from qpolicy_fpga.build.top import CORE, baud_divider
from qpolicy_fpga.manifest import read_manifest
from qpolicy_fpga.plan.devices import find_part
from qpolicy_fpga.report.routed import routed, routed_rows
from qpolicy_fpga.simulate.lanes import LANES, LaneSimulation
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import make_engine
from qpolicy_ros.verify.bitstream import check_bitstream
from qpolicy_ros.verify.journal import Journal

pytest.importorskip("pyosys")
FRAMES = 20 * LANES


class Built:
    """A policy, the folder that it was built in, and what the integer engine says of it."""

    def __init__(self, artifact, board, folder):
        self.artifact, self.board, self.folder = artifact, BOARDS[board], folder
        self.family = find_part(self.board.part).family
        self.lines: list[str] = []
        self.result = self.build()
        self.manifest = read_manifest(folder)
        rng = np.random.default_rng(5)
        self.codes, *_, self.expected = make_engine(artifact.network, "numpy").codes_batch(
            rng.normal(0, 30, (FRAMES, artifact.network.mean.size)).astype(np.float32)
        )
        self.idle = {"button": "1" if "button" in self.board.low else "0"}

    def build(self):
        # The board's own clock: no clock generator, whose tool takes a part of the time.
        clock = self.board.oscillator_mhz
        out = Path(os.path.relpath(self.folder))  # as users type it
        order = Order(self.artifact, self.board.name, out, clock)
        return build_bitstream(order, self.lines.append)

    @property
    def netlist(self):
        return self.folder / self.result["netlist"]

    def design(self, netlist=None):
        beside = self.folder / "board/synthesised.json"
        return RoutedDesign(netlist or self.netlist, beside, self.family)

    def prove(self, design):
        return prove_core(self.manifest.verilog(self.folder), self.manifest.top, design)

    def wrong_in_core(self, design):
        run = LaneSimulation(self.folder, self.manifest, design.core()).run(self.codes)
        late = run.first_valid - run.accepted != self.manifest.cycles
        return int(((run.codes != self.expected).any(axis=1) | late).sum())

    def wrong_on_line(self, gates, frames=LANES):
        divider = baud_divider(self.result["clock_mhz"])
        simulation = SerialSimulation(self.folder, self.manifest, gates, divider)
        codes, cycles = simulation.infer(self.codes[:frames])
        late = cycles != self.manifest.cycles
        return int(((codes != self.expected[:frames]).any(axis=1) | late).sum())


def pytest_generate_tests(metafunc):
    """Build for two families, with full counts for the third too."""
    if "built" in metafunc.fixturenames:
        boards = ["ulx3s-25f", "icebreaker"]
        boards += ["tang-nano-20k"] if metafunc.config.getoption("--full") else []
        metafunc.parametrize("built", boards, indirect=True, scope="module")


@pytest.fixture(scope="module")
def built(request, tmp_path_factory):
    family = FAMILIES[find_part(BOARDS[request.param].part).family]
    if not toolbox.is_there(family.router, family.packer):
        pytest.skip(f"{family.router} is not installed: pip install 'qpolicy_ros[boards]'")
    artifact = random_artifact(3, 3, (4,), 2, input_bits=3, core_bits=2, output_bits=4)
    return Built(artifact, request.param, tmp_path_factory.mktemp("built"))


def test_a_bitstream_comes_out_and_the_clock_is_met(built):
    result = built.result
    assert result["meets"]
    assert result["routed_mhz"] >= result["clock_mhz"]
    assert (built.folder / result["bitstream"]).stat().st_size == result["bitstream_bytes"] > 1000
    cycles = built.manifest.cycles
    assert result["latency_ns"] == pytest.approx(cycles * 1e3 / result["routed_mhz"], abs=0.1)


def test_the_report_has_what_was_routed(built):
    facts = routed(built.folder, built.manifest.function_hash, None)
    assert facts["routed_mhz"] == built.result["routed_mhz"]
    assert facts["bitstream"] == str(built.folder / built.result["bitstream"])
    text = "\n".join(value for _, value in routed_rows({"clock_mhz": 1.0, **facts}))
    assert "routing" in text
    assert "met" in text


def test_the_path_is_told_cell_by_cell(built):
    hops = routed(built.folder, built.manifest.function_hash, None)["routed_path"]
    assert {hops[0]["kind"], hops[-1]["kind"]} <= {"register", "block RAM"}
    assert sum(hop["logic_ns"] for hop in hops) == pytest.approx(built.result["logic_ns"], abs=0.01)
    wires = sum(hop["routing_ns"] for hop in hops)
    assert wires == pytest.approx(built.result["routing_ns"], abs=0.01)
    assert all(hop["loads"] > 0 for hop in hops[:-1])
    assert not [hop["name"] for hop in hops if "$" in hop["name"] or "LUT4" in hop["name"]]


def test_the_clock_is_estimated_before_routing(built):
    estimated = built.result["estimated_mhz"]
    if built.family != "ecp5":
        assert estimated is None
        return
    assert estimated == pytest.approx(built.result["routed_mhz"], rel=0.25)
    facts = routed(built.folder, built.manifest.function_hash, None)
    assert facts["estimated_mhz"] == estimated
    assert "estimate: " in "\n".join(built.lines)


def test_nothing_is_made_again_from_the_same_inputs(built):
    before = built.netlist.stat().st_mtime_ns
    built.lines.clear()
    assert built.build() == built.result
    said = [line for line in built.lines if not line.startswith("estimate")]
    assert {line.partition(": ")[2] for line in said if ": " in line} == {"as before"}
    assert built.netlist.stat().st_mtime_ns == before


def test_the_routed_core_is_proved_register_by_register(built):
    proof = built.prove(built.design())
    assert not proof.refuted
    assert not proof.open
    assert sum(proof.proved.values()) > 60
    assert {"layer0", "core", "results"} <= set(proof.proved)


def test_the_routed_core_gives_the_engines_codes_in_the_stated_cycles(built):
    assert built.wrong_in_core(built.design()) == 0


def test_the_whole_gives_them_through_its_serial_line(built):
    assert built.wrong_on_line(built.design().whole(built.idle)) == 0


def test_the_bits_that_are_loaded_do_so_too(built):
    if built.family != "ice40" or not readback.is_there():
        pytest.skip("only an iCE40's bits are read back, by icebox_vlog of fpga-icestorm")
    bits, pins = built.folder / built.result["bitstream"], built.folder / "board/board.pcf"
    assert built.wrong_on_line(readback.read_bitstream(bits, pins, built.idle)) == 0


def part_of_certificate(built, folder):
    journal = Journal("", "tiny", "")
    counts = {"frames": 2 * LANES, "serial_frames": LANES}
    return check_bitstream(built.artifact, folder, built.manifest, journal, **counts)


def test_verify_counts_all_of_it(built):
    part = part_of_certificate(built, built.folder)
    assert part.passed
    names = [check.name for check in part.checks]
    assert len(names) == (4 if built.family == "ice40" and readback.is_there() else 3)
    assert any("timing analysis" in text for text in part.uncovered)


def test_verify_fails_where_the_routed_netlist_is_another(built, tmp_path):
    shutil.copytree(built.folder, tmp_path / "copy")
    netlist = tmp_path / "copy" / built.result["netlist"]
    with_fault(built, tmp_path, flip_a_table).replace(netlist)
    part = part_of_certificate(built, tmp_path / "copy")
    assert [check.passed for check in part.checks[:2]] == [False, False]


def test_verify_wants_a_build(built, tmp_path):
    with pytest.raises(
        InputError, match="has no routed netlist; make it with `qpolicy fpga build`"
    ):
        part_of_certificate(built, tmp_path)


def with_fault(built, folder, plant):
    """The routed netlist with a fault at registers of the layers."""
    content = json.loads(built.netlist.read_text())
    (module,) = content["modules"].values()
    design = built.design()
    # Bits of vectors by their own names: data, not control.
    data = [n for n in design.names if n.startswith("layer") and n[-1] == "]" and "_" not in n]
    nets = [[design.routed_net(name)] for name in data]
    registers = [
        cell
        for cell in module["cells"].values()
        if cell["connections"].get("Q") in nets
        or (cell["parameters"].get("DFF_ENABLE") == "1" and cell["connections"].get("O") in nets)
    ]
    plant(module["cells"], registers)
    file = folder / "faulty.json"
    file.write_text(json.dumps(content))
    return file


def flip_a_table(cells, registers):
    """Every bit of a table that a register takes: a single one may stand for what never comes."""
    ends = registers[0]["connections"]
    data = ends.get("DI") or ends.get("M")
    cell, name = registers[0], "LUT_INIT"
    if data:
        drivers = (c for c in cells.values() if data in map(c["connections"].get, ("F", "OFX")))
        cell, name = next(drivers), "INITVAL"
    cell["parameters"][name] = "".join("10"[int(bit)] for bit in cell["parameters"][name])


def swap_two_registers(_, registers):
    port = "Q" if "Q" in registers[0]["connections"] else "O"
    one, other = (cell["connections"] for cell in registers[:2])
    one[port], other[port] = other[port], one[port]


def test_two_registers_swapped_in_the_routed_netlist_are_found(built, tmp_path):
    design = built.design(with_fault(built, tmp_path, swap_two_registers))
    proof = built.prove(design)
    assert any(name.startswith("layer") for name in proof.refuted)
    assert built.wrong_in_core(design) > 0


@pytest.mark.slow
def test_a_fault_in_the_bits_is_found(built, tmp_path):
    if built.family != "ice40" or not readback.is_there():
        pytest.skip("only an iCE40's bits are read back, by icebox_vlog of fpga-icestorm")
    placed = (built.netlist.parent / "placed.asc").read_text().splitlines()
    # The names of nets at the end say which tile a register of the first layer sits in.
    place = json.loads(built.netlist.read_text())
    (module,) = place["modules"].values()
    cell = next(
        c
        for name, c in module["cells"].items()
        if name.startswith(f"{CORE}.layer0.") and c["parameters"].get("DFF_ENABLE", "0")[-1] == "1"
    )
    bel = cell["attributes"]["NEXTPNR_BEL"]  # X5/Y7/lc3
    x, y, logic = (part.lstrip("XYlc") for part in bel.split("/"))
    at = placed.index(f".logic_tile {x} {y}") + 1 + 2 * int(logic)
    for row in (at, at + 1):  # a logic cell has two rows of bits, from column 36 its table
        bits = placed[row]
        flipped = "".join("10"[int(bit)] for bit in bits[36:46])
        placed[row] = bits[:36] + flipped + bits[46:]
    (tmp_path / "placed.asc").write_text("\n".join(placed) + "\n")
    toolbox.run("icepack", ["placed.asc", "faulty.bin"], tmp_path)
    pins = built.folder / "board/board.pcf"
    gates = readback.read_bitstream(tmp_path / "faulty.bin", pins, built.idle)
    assert built.wrong_on_line(gates) > 0


def test_a_netlist_that_is_none_is_one_line(built, tmp_path):
    (tmp_path / "routed.json").write_text('{"modules": {"top": {"ports": 3}}}')
    with pytest.raises(InputError, match="is none of nextpnr"):
        built.design(tmp_path / "routed.json")


def test_a_clock_that_is_not_met_leaves_no_bitstream(built, monkeypatch, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(built.folder, folder)
    report = next(folder.glob("board/seed-1/report.json"))
    content = json.loads(report.read_text())
    for clock in content["fmax"].values():
        clock["achieved"] = 1.0
    report.write_text(json.dumps(content))
    slow = read_timing(report, FAMILIES[built.family].cells)
    monkeypatch.setattr("qpolicy_fpga.build.bitstream._route", lambda *_: slow)
    order = Order(built.artifact, built.board.name, folder, built.result["clock_mhz"])
    result = build_bitstream(order, built.lines.append)
    assert not result["meets"]
    assert result["bitstream"] is None
    assert not list(folder.glob("board/qpolicy.*"))
