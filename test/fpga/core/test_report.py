"""`qpolicy fpga report` on a toy policy: figures, files, table, exit status."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from policy_builders import random_artifact
from vivado_reports import FIGURES, write_reports

from qpolicy_fpga import generate
from qpolicy_fpga.manifest import read_manifest
from qpolicy_fpga.plan.devices import PARTS
from qpolicy_fpga.plan.form import logic_budget
from qpolicy_fpga.report.energy import STATIC_W, TOGGLE_PJ, TOGGLE_PJ_RANGE
from qpolicy_fpga.report.report import KEYS
from qpolicy_ros.cli.main import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated")
    artifact = random_artifact(0, 3, (4,), 2)
    generate(artifact, "xc7a15t", 100.0, "latency", folder, with_io=True)
    write_reports(folder / "vivado" / "reports")
    return folder


@pytest.fixture(scope="module")
def manifest(folder):
    return read_manifest(folder)


@pytest.fixture
def report(folder, capsys):
    """What the command does: exit status, what it prints, and report.json."""

    def run(*options):
        capsys.readouterr()
        (folder / "report.json").unlink(missing_ok=True)
        code = main(["fpga", "report", str(folder), *options])
        return code, capsys.readouterr().out, json.loads((folder / "report.json").read_text())

    return run


def test_one_json_object_with_the_fixed_keys(report, manifest):
    code, printed, facts = report("--json")
    assert code == 0
    short = json.loads(printed)
    assert tuple(short) == KEYS
    assert short == {key: facts[key] for key in KEYS}
    assert (short["part"], short["clock_mhz"], short["fits"]) == ("xc7a15t", 100.0, True)
    same = ("cycles", "initiation_interval", "function_hash")
    assert [short[key] for key in same] == [getattr(manifest, key) for key in same]


def test_what_yosys_counted(report):
    _, _, facts = report()
    assert 0 < facts["lut"] < 500
    assert facts["ff"] > 0
    assert (facts["bram36"], facts["dsp"]) == (0, 0)
    assert 0 < facts["depth_ns"] <= facts["depth_allowed_ns"] == logic_budget(100.0)
    assert "LUT" in facts["critical_path"]
    assert facts["limits"]["lut"] == 10_400


def test_rates_are_those_of_the_clock(report, manifest):
    _, _, facts = report()
    assert facts["latency_us"] == manifest.cycles / 100
    assert facts["actions_per_s"] == 1e8 / manifest.initiation_interval


def test_the_energy_is_counted_changes_and_static_power(report, manifest):
    _, _, facts = report()
    changes, static = facts["net_changes_per_action"], STATIC_W * manifest.cycles * 10
    assert changes > manifest.m * manifest.b_out / 8
    # Changes are rounded to a tenth in the report, energies to a pJ.
    about = {"abs": 0.05 * TOGGLE_PJ_RANGE[1] * 1e-3 + 0.001}
    low, high = (static + changes * pj * 1e-3 for pj in TOGGLE_PJ_RANGE)
    assert facts["energy_nj_range"] == pytest.approx([low, high], **about)
    energy = static + changes * TOGGLE_PJ * 1e-3
    assert facts["energy_nj_estimate"] == pytest.approx(energy, **about)
    assert "estimate, not measured" in facts["energy_method"]


def test_the_front_and_the_back_are_counted_with_the_core(report, manifest):
    _, _, facts = report()
    whole, io = facts["end_to_end"], manifest.io
    assert whole["cycles"] == io.cycles > facts["cycles"]
    assert whole["initiation_interval"] == io.initiation_interval
    assert whole["latency_us"] == io.cycles / 100
    # A lane's product is a DSP, an action's table a block RAM.
    assert whole["dsp"] > 0
    assert whole["lut"] > facts["lut"]
    assert whole["fits"]


def test_vivados_figures_join_them(report):
    _, _, facts = report()
    assert facts["vivado"] == FIGURES


def test_the_picture_has_a_row_for_the_bus_and_each_layer(folder, report, manifest):
    _, _, facts = report()
    assert facts["picture"] == str(folder / "pipeline.svg")
    tree = ET.parse(folder / "pipeline.svg")
    texts = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert f"toy: {manifest.cycles} cycles on xc7a15t" in texts
    assert [t for t in texts if t.startswith("layer")] == ["layer 0: 3 to 4", "layer 1: 4 to 2"]


def test_the_table_says_the_same(report, manifest):
    code, printed, facts = report()
    assert code == 0
    rows = dict(line.split(maxsplit=1) for line in printed.splitlines() if line[0] != " ")
    assert rows["part"] == "xc7a15t at 100 MHz"
    assert rows["latency"].startswith(f"{manifest.cycles} cycles, ")
    assert rows["lut"].startswith(f"{facts['lut']} of 10,400 (")
    assert rows["fits"] == "yes"
    assert rows["vivado"].startswith("lut 3120")
    assert f"with io   {manifest.io.cycles} cycles" in printed
    assert "layer 1" in printed
    assert "pareto" in rows


@pytest.mark.parametrize("limits", [{"lut": 10}, {"dsp": 0}], ids=["core", "front and back"])
def test_a_design_that_does_not_fit_is_a_failed_check(report, monkeypatch, limits):
    monkeypatch.setitem(PARTS, "xc7a15t", replace(PARTS["xc7a15t"], **limits))
    code, _, facts = report("--json")
    assert code == 1
    assert facts["fits"] == ("dsp" in limits)
    assert not facts["end_to_end"]["fits"]


def test_a_folder_that_was_not_generated_is_refused_before_a_minute_is_promised(tmp_path, capsys):
    assert main(["fpga", "report", str(tmp_path / "nosuch")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "manifest: not found; generate the folder again" in line
