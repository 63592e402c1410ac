"""Accumulator bounds are tight: brute force over every code finds exactly them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from policy_builders import random_network

from qpolicy_ros.policy import accumulator_bounds, network_bounds
from qpolicy_ros.policy.bounds import partial_sum_bound


@pytest.mark.parametrize("code_range", [(-4, 3), (0, 3), (-2, 1)])
def test_bounds_equal_brute_force(code_range):
    weights = np.random.default_rng(3).integers(-4, 4, (5, 3))
    codes = np.array(list(product(range(code_range[0], code_range[1] + 1), repeat=3)))
    sums = codes @ weights.T

    low, high = accumulator_bounds(weights, *code_range)

    np.testing.assert_array_equal(low, sums.min(axis=0))
    np.testing.assert_array_equal(high, sums.max(axis=0))


def test_bounds_of_int8_weights_do_not_wrap():
    low, high = accumulator_bounds(np.full((1, 300), -128, np.int8), -128, 127)

    assert (low[0], high[0]) == (-300 * 128 * 127, 300 * 128 * 128)


def test_network_bounds_use_signed_input_and_unsigned_hidden_codes():
    network = random_network(seed=1, inputs=3, hidden=(2,), outputs=1, input_bits=3, core_bits=2)

    first, last = network_bounds(network)

    np.testing.assert_array_equal(first, accumulator_bounds(network.weights[0], -4, 3))
    np.testing.assert_array_equal(last, accumulator_bounds(network.weights[1], 0, 3))


def test_partial_sum_bound_covers_every_order_of_summing():
    # The total is at most 4, but summing the positive weights first passes 8.
    assert partial_sum_bound(np.array([[1, 1, -1, -1]]), -2, 1) == 8
