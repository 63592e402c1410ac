"""Every tool has an end, and takes what it started with it."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from qpolicy_fpga import tools, yosys
from qpolicy_fpga.simulate import core, netlist
from qpolicy_ros.backends import BackendError


@pytest.fixture
def endless(tmp_path):
    """A tool that starts another one and never ends."""
    script = tmp_path / "compiler"
    script.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {tmp_path}/child\nwait\n")
    script.chmod(0o755)
    return script


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_tool_that_takes_too_long_ends_with_what_it_started(endless, monkeypatch):
    monkeypatch.setattr(tools, "TIME_LIMIT", 5.0)
    with pytest.raises(BackendError, match="compiler took more than 5 s; try on a machine less"):
        tools.run_limited("compiler", [str(endless)])
    child = int((endless.parent / "child").read_text())
    while is_running(child):  # the signal is on its way
        time.sleep(0.01)


@pytest.mark.parametrize("run", [yosys.synthesise, netlist.read_netlist])
def test_yosys_has_an_end(tmp_path, monkeypatch, endless, run):
    monkeypatch.setattr(tools, "TIME_LIMIT", 0.2)
    monkeypatch.setattr(yosys, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(yosys, "sys", SimpleNamespace(executable=str(endless)))
    source = tmp_path / "top.v"
    source.write_text("module top(input clk); endmodule\n")
    with pytest.raises(BackendError, match=r"yosys took more than 0\.2 s"):
        run([source], "top")


def test_lint_has_an_end(tmp_path, monkeypatch, endless):
    monkeypatch.setattr(tools, "TIME_LIMIT", 0.2)
    found = SimpleNamespace(command=str(endless), root=tmp_path)
    monkeypatch.setattr(core, "find_verilator", lambda: found)
    with pytest.raises(BackendError, match=r"verilator took more than 0\.2 s"):
        core.lint([tmp_path / "top.v"], "top")


def test_yosys_takes_a_temporary_folder_with_a_space(tmp_path, monkeypatch):
    pytest.importorskip("pyosys")
    folder = tmp_path / "t m ü"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    source = folder / "square.v"
    ports = "input clk, input [3:0] x, output reg [3:0] y"
    source.write_text(f"module square({ports}); always @(posedge clk) y <= x * x; endmodule")
    mapped, _ = yosys.write_netlist([source], "square", folder)
    assert "FDRE" in mapped.read_text()


def test_a_cache_that_cannot_be_kept_costs_time_only(tmp_path, monkeypatch):
    source = tmp_path / "top.v"
    source.write_text("module top; endmodule\n")
    (tmp_path / "file").touch()
    asked = []

    def make(_):
        asked.append(1)
        return {"lut": 1}

    for cache in (tmp_path / "file" / "cache", tmp_path / "cache"):
        monkeypatch.setattr(yosys, "CACHE", cache)
        assert yosys.once(["a way"], [source], make) == {"lut": 1}
    (kept,) = (tmp_path / "cache").iterdir()
    assert yosys.once(["a way"], [source], make) == {"lut": 1}
    assert len(asked) == 2
    kept.write_text("{half")
    assert yosys.once(["a way"], [source], make) == {"lut": 1}
    assert len(asked) == 3
