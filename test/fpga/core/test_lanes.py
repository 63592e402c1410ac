"""Many cores at once, simulated from their gates: the codes and cycles of one under Verilator."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from policy_builders import random_network
from rtl_checks import Bench, corner_codes, expected_codes

from qpolicy_fpga.plan.form import Form
from qpolicy_fpga.plan.random_networks import evenly_spaced
from qpolicy_fpga.simulate.lanes import LANES, LaneSimulation
from qpolicy_ros.policy import PolicyError

pytest.importorskip("pyosys")
pytestmark = pytest.mark.slow

ROUGH = partial(random_network, 7)
# (inputs, hidden, outputs, b_in, b_core, b_out), forms, its maker
DESIGNS = {
    "unrolled": ((5, (6,), 2, 3, 2, 5), [Form(1, 3), Form(1, 2)], ROUGH),
    "two-beats-phases-in-tables": (
        (70, (16, 7), 3, 8, 2, 8),
        [Form(8, 3), Form(2, 2), Form(1, 1)],
        ROUGH,
    ),
    "weights-in-block-ram-in-parts-search": (
        (12, (67, 16), 3, 5, 3, 8),
        [Form(34, 2, ram=True), Form(16, 1, ram=True), Form(1, 1)],
        ROUGH,
    ),
    "block-ram-tail": ((5, (7,), 2, 3, 4, 5), [Form(1, 1), Form(4, 2)], ROUGH),
    "codes-by-multiplication": (
        (12, (32,), 5, 4, 5, 8),
        [Form(16, 1), Form(1, 5, stream=True)],
        evenly_spaced,
    ),
}


@pytest.fixture(scope="module", params=DESIGNS.values(), ids=DESIGNS)
def bench(request, tmp_path_factory):
    shape, forms, make = request.param
    made = Bench(make(*shape), forms, tmp_path_factory.mktemp("rtl"))
    yield made
    made.simulation.close()


@pytest.fixture(scope="module")
def lanes(bench):
    return LaneSimulation(bench.files[0].parent, bench.manifest)


def test_codes_equal_the_contract_s(bench, lanes):
    codes = corner_codes(bench.network, 5 * LANES)  # the last round is not full
    assert np.array_equal(lanes.run(codes).codes, expected_codes(bench.network, codes))


@pytest.mark.parametrize("chances", [{}, {"offer": 90, "fetch": 60, "seed": 3}])
def test_every_copy_moves_in_the_cycles_of_the_one_under_verilator(bench, lanes, chances):
    codes = corner_codes(bench.network, 20 * LANES)
    many = lanes.run(codes, **chances)
    bench.simulation.reset()
    one = bench.simulation.run(codes[::LANES], **chances)
    assert np.array_equal(many.codes[::LANES], one.codes)
    for times, wanted in (
        (many.accepted, one.accepted),
        (many.first_valid, one.first_valid),
        (many.valid, one.valid),
    ):
        assert np.array_equal(
            times[::LANES] - many.accepted[0],
            wanted - one.accepted[0],
        )


@pytest.fixture
def small(tmp_path):
    shape, forms, make = DESIGNS["unrolled"]
    return Bench(make(*shape), forms, tmp_path / "rtl")


def change(bench, name, old, new):
    file = bench.files[0].with_name(name)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return file.parent


def test_a_fault_in_the_hardware_is_simulated_too(small):
    folder = change(small, "qpolicy_layer1.v", "assign code =", "assign code = ~")
    codes = corner_codes(small.network, 100)
    given = LaneSimulation(folder, small.manifest).run(codes).codes
    assert not np.array_equal(given, expected_codes(small.network, codes))


@pytest.mark.parametrize(
    ("name", "old", "new", "reason"),
    [
        ("qpolicy_core.v", "assign s_ready = ", "assign s_ready = s_data[0] & ", "s_ready depends"),
        ("qpolicy_core.v", "posedge clk", "negedge clk", "is no part of a generated core"),
        ("qpolicy_core.v", "endmodule", "endmodul", "yosys: failed"),
    ],
)
def test_what_cannot_be_simulated_in_step_is_refused(small, name, old, new, reason):
    folder = change(small, name, old, new)
    with pytest.raises(PolicyError, match=reason):
        LaneSimulation(folder, small.manifest)
