"""Part 2 passes for a policy and its module, and names what a forger has changed."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_policy import forge, write_tiny_policy

from qpolicy_ros.policy import PolicyError, accumulator_bounds, load_policy, network_bounds
from qpolicy_ros.policy.numpy_engine import NumpyEngine
from qpolicy_ros.verify import neurons
from qpolicy_ros.verify.probe_networks import threshold_probe, weight_probe


@pytest.fixture
def policy(tmp_path):
    return write_tiny_policy(tmp_path)


def module_of(policy):
    return policy.with_suffix(".qat.safetensors")


def failed(policy):
    checks = neurons.check_torch(load_policy(policy), module_of(policy))
    return [check.name for check in checks if not check.passed]


def test_a_policy_passes(policy):
    assert failed(policy) == []
    assert all(check.passed for check in neurons.check_engines(load_policy(policy)))


def test_a_changed_weight_is_found(policy):
    def change(arrays):
        rows, thresholds = arrays["weights"][1], arrays["thresholds"][1]
        neuron, place = np.argwhere(rows != 0)[0]
        rows[neuron, place] = -rows[neuron, place]
        low, high = (bound[neuron] for bound in accumulator_bounds(rows, 0, 3))
        thresholds[neuron] = np.clip(thresholds[neuron], low, high + 1)

    forge(policy, change)
    assert failed(policy) == ["torch: weights, and codes over the accumulators of every neuron"]


def test_a_changed_threshold_is_found(policy):
    low, _ = network_bounds(load_policy(policy).network)[0]

    def change(arrays):
        rows = arrays["thresholds"][0]
        neuron, level = np.argwhere(rows > low[:, None])[0]
        rows[neuron, level] -= 1
        rows[neuron].sort()

    forge(policy, change)
    assert failed(policy) == ["torch: weights, and codes over the accumulators of every neuron"]


def test_a_changed_action_is_found(policy):
    forge(policy, lambda arrays: arrays["table"].__setitem__((0, 5), 0.123))
    assert failed(policy) == ["torch: action table"]


@pytest.mark.parametrize("field", ["mean", "gain"])
def test_a_changed_input_scale_is_found(policy, field):
    def change(arrays):
        arrays[field][3] = np.nextafter(arrays[field][3], np.float32(np.inf))

    forge(policy, change)
    assert failed(policy) == ["torch: mean and gain of the input codes"]


def test_a_missing_module_is_named(policy):
    module_of(policy).unlink()
    with pytest.raises(PolicyError, match=r"tiny.qat.safetensors: file: the trained module is"):
        failed(policy)


def test_the_module_of_another_policy_is_refused(policy, tmp_path):
    other = write_tiny_policy(tmp_path / "other", b_out=5)
    module_of(other).replace(module_of(policy))
    with pytest.raises(PolicyError, match="spec: is for sizes and bits"):
        failed(policy)


@pytest.mark.parametrize("low", [-40_000, 0, 17])
def test_the_threshold_probe_reaches_every_accumulator(low):
    points = np.arange(low, low + 300)
    rows = np.array([[low + 7, low + 100, low + 299]] * 2, np.int32)
    network, observations = threshold_probe(rows, 2, points)
    codes = NumpyEngine(network).codes_batch(observations)
    assert np.array_equal(codes[0] @ network.weights[0][0].astype(int), points)
    wanted = np.searchsorted(rows[0], points, side="right") + network.output_min
    assert np.array_equal(codes[-1][:, 0], wanted)


@pytest.mark.parametrize("signed", [True, False])
def test_the_weight_probe_shows_the_weights(signed):
    weight = np.random.default_rng(0).integers(-127, 128, (5, 9)).astype(np.int8)
    network, observations = weight_probe(weight, signed=signed)
    assert np.array_equal(NumpyEngine(network).codes_batch(observations)[-1], weight.T)
