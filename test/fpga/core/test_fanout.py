"""What one wire of a core drives, counted in the mapped netlist: copies stay apart."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from policy_builders import random_network

from qpolicy_fpga.design import build
from qpolicy_fpga.emit import fanout
from qpolicy_fpga.emit.fanout import PLAIN_COPY_SOURCE, copies
from qpolicy_fpga.plan.form import Form
from qpolicy_fpga.plan.layer import make_layer
from qpolicy_fpga.tables import as_yosys
from qpolicy_fpga.yosys import run_yosys, write_netlist

# Twelve trees of two neurons, four trees a group: codes, phases and strobes have copies.
SHAPE, FORMS = (4, (24,), 2, 3, 2, 2), [Form(2, 1), Form(1, 2)]
LIMITS = {"MAX_LOADS": 16, "GROUP_TREES": 4, "ENABLED": 16}
MOST = 24  # an accumulator has more bits than one
_ECP5 = """\
import sys
from pyosys import libyosys as ys
out, *files = sys.argv[1:]
design = ys.Design()
for name in files:
    ys.run_pass(f'read_verilog -icells "{name}"', design)
ys.run_pass("synth_ecp5 -top qpolicy_core", design)
ys.run_pass("setattr -mod -unset keep_hierarchy *", design)
ys.run_pass("flatten", design)
ys.run_pass(f"write_json {out}", design)
"""
_XILINX = """\
import sys
from pyosys import libyosys as ys
out, mapped, models = sys.argv[1:]
design = ys.Design()
ys.run_pass(f"read_verilog -lib {models}", design)
ys.run_pass(f"read_verilog {mapped}", design)
ys.run_pass("hierarchy -top qpolicy_core", design)
ys.run_pass("select qpolicy_core", design)
ys.run_pass(f"write_json -selected {out}", design)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    pytest.importorskip("pyosys")
    folder = tmp_path_factory.mktemp("fanout")
    with pytest.MonkeyPatch.context() as patch:
        for name, limit in LIMITS.items():
            patch.setattr(fanout, name, limit)
        made = build(random_network(7, *SHAPE), FORMS, 100.0)
    for name, text in made.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return sorted(folder.glob("*.v"))


def loads(netlist, clock, output):
    """Loads of every register's output, and how many registers there are."""
    (module,) = (m for n, m in json.loads(netlist.read_text())["modules"].items()
                 if n == "qpolicy_core")  # fmt: skip
    reads, driven = Counter(), set()
    for cell in module["cells"].values():
        ways = cell["port_directions"]
        for port, nets in cell["connections"].items():
            if ways[port] == "input" and port != clock:
                reads.update(net for net in nets if isinstance(net, int))
            elif port == output and cell["type"] in ("FDRE", "FDSE", "TRELLIS_FF"):
                driven.update(nets)
    return {net: reads[net] for net in driven}


def test_no_register_of_the_7_series_drives_more_than_it_may(files, tmp_path):
    mapped, models = write_netlist(files, "qpolicy_core", tmp_path)
    out = tmp_path / "mapped.json"
    run_yosys(_XILINX, [str(out), str(mapped), str(models)], out)
    assert 0 < max(loads(out, "C", "Q").values()) <= MOST


def test_copies_stay_apart_on_an_ecp5(files, tmp_path):
    folder, out = tmp_path / "plain", tmp_path / "mapped.json"
    folder.mkdir()
    for path in files:
        text = PLAIN_COPY_SOURCE if path.name == "qpolicy_copy.v" else path.read_text()
        (folder / path.name).write_text(as_yosys(text))
    run_yosys(_ECP5, [str(out), *map(str, sorted(folder.glob("*.v")))], out, folder)
    assert 0 < max(loads(out, "CLK", "Q").values()) <= MOST


def test_merged_copies_are_noticed(files, tmp_path):
    """Plain registers in their place become one again, which then drives too much."""
    folder = tmp_path / "merged"
    folder.mkdir()
    for path in files:
        text = path.read_text()
        if path.name == "qpolicy_copy.v":
            text = "`undef SYNTHESIS\n" + text
        (folder / path.name).write_text(text)
    mapped, models = write_netlist(sorted(folder.glob("*.v")), "qpolicy_core", tmp_path)
    out = tmp_path / "mapped.json"
    run_yosys(_XILINX, [str(out), str(mapped), str(models)], out)
    assert max(loads(out, "C", "Q").values()) > MOST


@pytest.mark.parametrize(
    ("shape", "form", "groups"),
    [
        ((5, (8,), 2, 4, 3, 4), Form(1, 4), 0),  # eight trees read an input
        ((5, (40,), 2, 4, 3, 4), Form(1, 4), 4),  # forty do
        ((5, (40,), 2, 4, 3, 4), Form(4, 4), 0),  # ten do, four neurons each
        ((70, (4,), 2, 4, 3, 4), Form(1, 1), 1),  # seventy tables choose a plane
        ((9, (4,), 2, 4, 3, 4), Form(1, 1), 0),
    ],
)
def test_what_has_many_loads_is_copied(shape, form, groups):
    assert copies(make_layer(random_network(7, *shape), 0, form.planes), form) == groups
