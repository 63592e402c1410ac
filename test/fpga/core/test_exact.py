"""The simulated core computes the integer engine's codes, bit for bit, in the stated cycles."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from policy_builders import random_network, random_observations
from rtl_checks import Bench, corner_codes, expected_codes

from qpolicy_fpga.plan.form import Form
from qpolicy_fpga.plan.random_networks import evenly_spaced
from qpolicy_ros.policy import make_engine

ROUGH, TIES = partial(random_network, 7), partial(random_network, 7, extreme=True)
EVEN = evenly_spaced
# name: (inputs, hidden, outputs, b_in, b_core, b_out), forms, its maker
ODD = {
    "serial planes, folded, block RAM tail": (
        (5, (7,), 2, 3, 4, 5),
        [Form(1, 1), Form(4, 2)],
        ROUGH,
    ),
    "three hidden layers, one neuron wide, ties, two beats": (
        (70, (16, 1, 7), 3, 8, 2, 8),
        [Form(8, 3), Form(1, 2), Form(2, 1), Form(1, 1)],
        TIES,
    ),
    "one of everything, unrolled": ((1, (1,), 1, 2, 8, 2), [Form(1, 2), Form(1, 8)], ROUGH),
    "neurons that take nothing": ((1, (8,), 4, 2, 2, 2), [Form(1, 2), Form(1, 2)], ROUGH),
    "weights in block RAM, outputs folded": (
        (13, (64,), 3, 5, 3, 6),
        [Form(64, 5, ram=True), Form(2, 3)],
        ROUGH,
    ),
    "weights in block RAM, serial planes, three bits": (
        (11, (40,), 3, 6, 3, 8),
        [Form(40, 6, ram=True), Form(3, 1)],
        ROUGH,
    ),
    "weights in block RAM, read in parts": (
        (12, (67, 16), 3, 5, 3, 8),
        [Form(34, 2, ram=True), Form(16, 1, ram=True), Form(1, 1)],
        ROUGH,
    ),
    "wide weights, binary search": (
        (16, (7, 16), 5, 4, 6, 8),
        [Form(4, 2), Form(1, 6), Form(5, 3)],
        ROUGH,
    ),
    "codes taken as they come, phases without a neuron": (
        (9, (18, 5), 4, 5, 3, 8),
        [Form(4, 2), Form(1, 3, stream=True), Form(1, 3)],
        ROUGH,
    ),
    "codes taken as they come, weights looked up": (
        (6, (67,), 3, 4, 3, 6),
        [Form(34, 2, ram=True), Form(1, 3, stream=True)],
        TIES,
    ),
    "beats taken as they come": (
        (70, (6, 8), 3, 8, 3, 5),
        [Form(1, 8, stream=True), Form(2, 3), Form(1, 3, stream=True)],
        ROUGH,
    ),
    "codes by multiplication": (
        (12, (32,), 5, 4, 5, 8),
        [Form(16, 1), Form(1, 5, stream=True)],
        EVEN,
    ),
    "codes copied for groups of trees": (
        (9, (40, 26), 24, 4, 3, 4),
        [Form(1, 4), Form(2, 1), Form(1, 3, stream=True)],
        ROUGH,
    ),
    "beats copied for groups of trees": (
        (40, (24,), 3, 8, 3, 4),
        [Form(1, 8, stream=True), Form(1, 1)],
        TIES,
    ),
    "neurons that are tables": (
        (3, (4, 2, 4), 3, 2, 2, 6),
        [Form(1, 2, lookup=True), Form(1, 2, lookup=True), Form(1, 2, lookup=True), Form(1, 2)],
        ROUGH,
    ),
    "tables of seven bits, wide codes": (
        (1, (2,), 3, 7, 4, 8),
        [Form(1, 7, lookup=True), Form(1, 4, lookup=True)],
        TIES,
    ),
    "uneven planes": ((9, (16,), 4, 5, 5, 3), [Form(2, 3), Form(16, 4)], TIES),
}


@pytest.fixture(scope="module", params=ODD, ids=[name.replace(" ", "-") for name in ODD])
def bench(request, tmp_path_factory):
    shape, forms, network_of = ODD[request.param]
    network = network_of(*shape)
    made = Bench(network, forms, tmp_path_factory.mktemp("rtl"))
    yield made
    made.simulation.close()


@pytest.fixture
def codes(bench, full):
    return corner_codes(bench.network, 20_000 if full else 300)


def test_codes_equal_the_contract_s(bench, codes):
    assert bench.equal(codes)


def test_codes_equal_the_engine_s(bench):
    observations = random_observations(3, 200, bench.network.mean.size)
    trace = make_engine(bench.network, "numpy").codes_batch(observations)
    result = bench.simulation.run(trace[0])
    np.testing.assert_array_equal(result.codes, trace[-1])


@pytest.mark.parametrize(("offer", "fetch"), [(60, 128), (256, 40), (128, 256)])
def test_back_pressure_changes_nothing(bench, codes, offer, fetch):
    assert bench.equal(codes, offer=offer, fetch=fetch, seed=offer)


def test_a_single_frame_takes_the_stated_cycles(bench, codes):
    result = bench.simulation.run(codes[:1])
    assert result.first_valid[0] - result.accepted[0] == bench.core.cycles


def test_frames_back_to_back_take_the_stated_cycles(bench, codes):
    result = bench.simulation.run(codes)
    assert set(result.first_valid - result.accepted) == {bench.core.cycles}


def test_frames_follow_each_other_at_the_stated_interval(bench, codes):
    assert set(np.diff(bench.simulation.run(codes).accepted)) == {bench.core.interval}


@pytest.mark.parametrize("after", [1, 7, 23, 58])
def test_reset_in_mid_flight_leaves_nothing_behind(bench, codes, after):
    bench.simulation.run(codes, stop_after=after, fetch=90)
    bench.simulation.reset()
    assert bench.equal(codes[:100])


def test_a_wrong_expectation_is_noticed(bench, codes):
    wrong = expected_codes(bench.network, codes)
    wrong[len(wrong) // 2, 0] ^= 1
    assert not np.array_equal(bench.simulation.run(codes).codes, wrong)
