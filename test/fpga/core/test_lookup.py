"""Layers whose neurons are tables: when they are chosen, and that they are exact for all inputs."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from rtl_checks import Bench, expected_codes

from qpolicy_fpga.design import build
from qpolicy_fpga.explore.choose import choose
from qpolicy_fpga.plan.devices import find_part
from qpolicy_fpga.plan.form import MAX_LOOKUP_BITS
from qpolicy_fpga.plan.random_networks import evenly_spaced
from qpolicy_ros.policy import load_policy
from qpolicy_ros.policy.locate import policy_folders

PART = find_part("xc7a15t")


def sparse(shape, fan_in, seed):
    """A random network whose neurons have so many inputs, a number a layer."""
    network, rng = evenly_spaced(*shape, seed=seed), np.random.default_rng(seed)
    weights = []
    for weight, most in zip(network.weights, fan_in, strict=True):
        kept = np.zeros_like(weight)
        for row in kept:
            row[rng.permutation(row.size)[:most]] = rng.choice([-1, 1], most)
        weights.append(kept)
    return replace(network, weights=tuple(weights))


def chosen(network, clock_mhz=100.0):
    return choose(network, PART, clock_mhz, "latency", None)[0]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_core_is_exact_for_all_inputs(seed, tmp_path):
    network = sparse((4, (12, 9), 3, 3, 2, 8), (2, 3, 4), seed)
    forms = chosen(network).forms
    assert [form.lookup for form in forms[:2]] == [True, True]
    bench = Bench(network, forms, tmp_path)
    codes = np.array(list(product(range(-4, 4), repeat=4)), np.int32)
    try:
        assert bench.equal(codes)
        wrong = expected_codes(network, codes)
        wrong[17, 0] ^= 1
        assert not np.array_equal(bench.simulation.run(codes).codes, wrong)
    finally:
        bench.simulation.close()


def test_a_layer_of_tables_takes_one_cycle_and_a_table_for_each_bit_of_a_code():
    network = sparse((11, (40, 30), 3, 6, 2, 8), (1, 3, 20), 3)
    choice = chosen(network)
    design = build(network, choice.forms, 100.0)
    assert [layer.latency for layer in design.layers[:2]] == [1, 1]
    assert design.layers[0].luts <= 80  # fewer where a bit is a constant
    assert design.layers[1].luts <= 60
    assert design.core.cycles == choice.cycles


def test_more_bits_than_a_table_takes_are_added():
    most = MAX_LOOKUP_BITS // 2
    shape = (11, (8, 8), 3, 6, 2, 4)
    assert chosen(sparse(shape, (1, most, 8), 4)).forms[1].lookup
    assert not chosen(sparse(shape, (1, most + 1, 8), 4)).forms[1].lookup


def test_a_table_in_two_levels_is_not_taken_where_the_clock_leaves_one():
    network = sparse((11, (8, 8), 3, 6, 2, 4), (1, 4, 8), 5)
    assert chosen(network).forms[1].lookup
    assert not chosen(network, 250.0).forms[1].lookup


def test_of_the_shipped_policies_those_of_tables_alone_have_such_layers():
    files = [file for folder in policy_folders() for file in folder.glob("*/*.safetensors")]
    policies = [load_policy(file) for file in files if not file.name.endswith(".qat.safetensors")]
    networks = {Path(policy.path).stem: policy.network for policy in policies if policy.network}
    having = {name for name, network in networks.items() if _smallest(network)}
    assert having == {"tables"}


def _smallest(network):
    """Whether no neuron of some layer reads more input bits than a table takes."""
    bits = [network.input_bits] + [network.core_bits] * len(network.hidden)
    return any(
        (weight != 0).sum(axis=1).max() * size <= MAX_LOOKUP_BITS
        for weight, size in zip(network.weights, bits, strict=True)
    )
