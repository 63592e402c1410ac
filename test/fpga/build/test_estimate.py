"""The clock estimated from a synthesised netlist, and the fit of wires that it rests on."""

from __future__ import annotations

import json

import numpy as np
import pytest

from qpolicy_fpga.build.estimate import at_risk, estimate, slowest
from qpolicy_fpga.build.flat import flatten
from qpolicy_fpga.build.wire_load import MARGIN, WireLoad, fit
from qpolicy_fpga.emit.fanout import MAX_LOADS
from qpolicy_ros.common.errors import InputError

WIRES = WireLoad(near_ns=1.0, far_ns=0.5, loads=10)
LEAF = {"attributes": {"blackbox": "1"}, "cells": {}, "ports": {}, "netnames": {}}


def cell(kind, outputs, **inputs):
    ways = {pin: "output" if pin in outputs else "input" for pin in inputs}
    return {
        "type": kind,
        "port_directions": ways,
        "connections": {pin: [net] for pin, net in inputs.items()},
    }


def table(**pins):
    return cell("LUT4", "Z", **{**dict.fromkeys("ABCD", "0"), **pins})


def register(**pins):
    return cell("TRELLIS_FF", "Q", CLK=1, **pins)


def design(more=()):
    """``start`` goes through a table of the top and one of a kept module into ``end``."""
    inner = {
        "attributes": {"keep_hierarchy": "1"},
        "ports": {
            "x": {"direction": "input", "bits": [2]},
            "y": {"direction": "output", "bits": [3]},
        },
        "cells": {"inside": table(A=2, Z=3)},
        "netnames": {"x": {"bits": [2]}, "y": {"bits": [3]}},
    }
    cells = {
        "start_r": register(DI=5, Q=2),
        "first": table(A=2, Z=3),
        "core": {
            "type": "inner",
            "port_directions": {"x": "input", "y": "output"},
            "connections": {"x": [3], "y": [4]},
        },
        "end_r": register(DI="0", LSR=4, Q=5),
        **{f"more{at}": added for at, added in enumerate(more)},
    }
    names = ("clk", "start", "middle", "last", "end")
    netnames = {name: {"bits": [bit]} for bit, name in enumerate(names, 1)}
    netnames["planted"] = {"bits": [0, 6], "offset": 3}
    top = {"attributes": {"top": "1"}, "ports": {}, "cells": cells, "netnames": netnames}
    return {"LUT4": LEAF, "TRELLIS_FF": LEAF, "inner": inner, "qpolicy_board": top}


def wire(loads, tables):
    return 1.0 + 0.5 * tables**0.5 * min(1.0, loads / 10)


def test_the_slowest_path_is_its_cells_and_its_wires():
    clock = slowest(flatten(design()), WIRES)
    logic = 0.525 + 2 * 0.236 + 0.424
    assert clock.mhz == pytest.approx(1e3 / (logic + 3 * wire(1, 2)), abs=0.05)
    assert clock.logic_ns == pytest.approx(logic)
    assert [(hop.name, hop.kind) for hop in clock.path] == [
        ("start", "register"),
        ("middle", "table"),
        ("last", "table"),
        ("end", "register"),
    ]
    assert clock.wide == ()


def test_a_planted_fan_out_slows_the_clock_and_is_named():
    loads = MAX_LOADS + 30
    planted = [table(A=6) for _ in range(loads - 1)]
    planted += [register(DI=5, Q=6), register(DI="0", CE=6)]
    clock = slowest(flatten(design(planted)), WIRES)
    assert clock.wide == (("planted[4]", loads),)
    few = slowest(flatten(design([*planted[:3], *planted[-2:]])), WIRES)
    assert few.wide == ()
    assert clock.mhz < few.mhz


def test_a_table_is_beside_its_register_and_a_wide_one_is_one_hop():
    more = [
        register(DI=2, Q=10),
        table(A=10, Z=11),
        cell("PFUMX", "Z", ALUT=11, BLUT=11, C0=10, Z=12),
        table(A=12, Z=13),
        register(DI=13, Q=14),
    ]
    modules = design(more)
    modules["qpolicy_board"]["netnames"]["v"] = {"bits": [10, 11, 12, 13, 14]}
    del modules["qpolicy_board"]["cells"]["core"]
    clock = slowest(flatten(modules), WIRES)
    assert [(hop.kind, hop.logic_ns) for hop in clock.path] == [
        ("register", 0.525),
        ("multiplexer", 0.236 + 0.165),
        ("table", 0.236),
        ("register", 0.0),
    ]
    assert clock.path[2].routing_ns == 0.13


def test_few_routed_designs_are_no_estimate(tmp_path):
    file = tmp_path / "synthesised.json"
    file.write_text(json.dumps({"modules": design()}))
    assert estimate(file, "gowin") is None
    assert estimate(file, "ecp5").path[0].name == "start"


@pytest.mark.parametrize("content", [{}, {"modules": {}}, {"modules": {"a": 3}}, []])
def test_a_netlist_that_is_none_is_one_line(tmp_path, content):
    file = tmp_path / "synthesised.json"
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"synthesised.json: netlist: is none of Yosys"):
        estimate(file, "ecp5")


def test_a_netlist_that_is_missing_is_said_once(tmp_path):
    with pytest.raises(InputError) as caught:
        estimate(tmp_path / "synthesised.json", "ecp5")
    assert str(caught.value).endswith("synthesised.json: netlist: not found; build again")


@pytest.mark.parametrize(("asked", "risk"), [(50.0, False), (89.0, False), (91.0, True)])
def test_a_clock_is_at_risk_within_what_estimates_were_off_by(asked, risk):
    assert MARGIN == 0.1
    assert at_risk(100.0, asked) is risk


def test_a_fit_finds_the_coefficients_that_made_the_wires():
    rng = np.random.default_rng(3)
    made = WireLoad(near_ns=0.7, far_ns=0.012, loads=35)
    designs, cells = [], [900, 4_000, 19_000]
    for tables in cells:
        loads = rng.integers(1, 120, 4_000)
        mean = [made.ns(int(n), tables) for n in loads]
        designs.append(np.stack([loads, mean + rng.normal(0, 0.3, loads.size)], axis=1))
    found = fit(designs, cells)
    assert found.near_ns == pytest.approx(made.near_ns, rel=0.05)
    assert found.far_ns == pytest.approx(made.far_ns, rel=0.05)
    assert abs(found.loads - made.loads) <= 2
