"""Thresholds as one multiplication: taken only where every reachable sum gets its code."""

from __future__ import annotations

import numpy as np
import pytest

from qpolicy_fpga.design import build
from qpolicy_fpga.plan.form import Form
from qpolicy_fpga.plan.layer import make_layer
from qpolicy_fpga.plan.multiply_shift import FACTOR_BITS, find_scale
from qpolicy_fpga.plan.random_networks import evenly_spaced, trained_like
from qpolicy_ros.policy import find_policy, load_policy


def codes_equal(thresholds, high):
    """Whether the scale that is found gives the codes of ``thresholds``; there is one."""
    scale = find_scale(thresholds, high)
    assert scale is not None
    assert max(scale.factors) < 1 << FACTOR_BITS
    for row, top, factor, offset in zip(
        thresholds, high, scale.factors, scale.offsets, strict=True
    ):
        sums = np.arange(int(top) + 1)
        codes = np.clip((sums * factor + offset) >> scale.shift, 0, len(row))
        if not np.array_equal(codes, np.searchsorted(row, sums, side="right")):
            return False
    return True


@pytest.mark.parametrize("task", ["halfcheetah", "walker2d", "ant", "humanoid"])
def test_a_linear_quantiser_s_thresholds_are_exact(task):
    network = trained_like(task)
    layer = make_layer(network, len(network.weights) - 1, network.core_bits)
    assert codes_equal(layer.thresholds, layer.high)


def test_a_trained_policy_s_are_exact():
    network = load_policy(find_policy("halfcheetah/paper")).network
    layer = make_layer(network, len(network.weights) - 1, network.core_bits)
    assert codes_equal(layer.thresholds, layer.high)


@pytest.mark.parametrize(
    ("row", "high"),
    [
        ([0, 0, 0], 9),  # always the highest code
        ([10, 10, 10], 9),  # always the lowest
        ([0, 5, 10], 9),
        ([4, 4, 4], 9),  # several codes at one sum
        ([0, 0, 1], 0),  # a neuron without weights
    ],
)
def test_thresholds_at_the_ends_are_exact(row, high):
    assert codes_equal(np.array([row]), np.array([high]))


def test_one_threshold_off_the_line_has_no_scale():
    row = np.arange(10, 110, 10)
    assert find_scale(row[None], np.array([120])) is not None
    row[5] += 5
    assert find_scale(row[None], np.array([120])) is None


def test_sums_wider_than_the_dsp_have_no_scale():
    assert find_scale(np.array([[1, 2, 3]]), np.array([1 << 17])) is None


def test_a_last_layer_with_wide_sums_is_multiplied():
    network = evenly_spaced(12, (32,), 5, 4, 5, 8)
    design = build(network, [Form(16, 1), Form(1, 5, stream=True)], 100.0)
    assert design.layers[1].tail == "scale"
