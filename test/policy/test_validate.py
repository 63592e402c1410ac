"""Every rule of a policy, broken one at a time."""

from __future__ import annotations

import numpy as np
import pytest
from policy_builders import make_contract, random_baseline, random_network, random_observations

from qpolicy_ros.policy import (
    ActionChannel,
    Baseline,
    Channel,
    Contract,
    IntegerNetwork,
    PolicyError,
    make_artifact,
)


def changed(part, **changes):
    return type(part)(**{**vars(part), **changes})


def make(contract=None, baseline=None, network=None):
    return make_artifact(
        contract or make_contract(),
        baseline or random_baseline(),
        network or random_network(),
        {},
        random_observations(0, 2, 4),
    )


def replaced(layers, index, edit):
    """A copy of a tuple of arrays where ``edit`` has changed one."""
    copies = [layer.copy() for layer in layers]
    result = edit(copies[index])
    if result is not None:
        copies[index] = result
    return tuple(copies)


def put(position, value):
    def edit(array):
        array[position] = value

    return edit


VALUES = tuple(Channel(f"value_{i}") for i in range(4))
MOTORS = (ActionChannel("a", -1.0, 1.0, 0.0), ActionChannel("b", -1.0, 1.0, 0.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": ""}, "task: '' is not a name"),
        ({"env_id": None}, "env_id: None is not a name"),
        ({"task": "a\nb"}, r"task: 'a\\nb' is not a name"),
        ({"task": "\x1b[2J"}, r"task: '\\x1b\[2J' is not a name"),
        ({"env_id": "\ud800"}, r"env_id: '\\ud800' is not a name"),
        ({"period": 0.0}, "period: 0.0 s is not above 0"),
        ({"period": float("nan")}, "period: nan is not a finite number"),
        ({"observation": ()}, "observation: 0 values"),
        ({"observation": (*VALUES[:3], VALUES[0])}, "'value_0' appears twice"),
        ({"observation": (*VALUES[:3], Channel("x", ""))}, r"observation\[3\].source"),
        ({"action": (MOTORS[0], MOTORS[0])}, "'a' appears twice"),
        ({"action": (MOTORS[0], ActionChannel("b", 1.0, 1.0, 1.0))}, "not ascending"),
        ({"action": (MOTORS[0], ActionChannel("b", -1.0, float("inf"), 0.0))}, "inf is not"),
        ({"action": (MOTORS[0], ActionChannel("b", -1.0, 1e39, 0.0))}, "fits float32"),
        ({"action": (MOTORS[0], ActionChannel("b", -1.0, 1.0, 1.5))}, "1.5 is outside"),
    ],
)
def test_contract(changes, message):
    with pytest.raises(PolicyError, match=message):
        make(contract=changed(make_contract(), **changes))


def network_with(**edits) -> IntegerNetwork:
    network = random_network()
    return changed(
        network,
        **{
            name: replaced(getattr(network, name), *edit)
            if isinstance(edit, tuple)
            else edit(network)
            for name, edit in edits.items()
        },
    )


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"input_bits": lambda _: 1}, "bits.input: 1 is not a bit-width from 2 to 8"),
        ({"core_bits": lambda _: 9}, "bits.core"),
        ({"output_bits": lambda _: 5.0}, "bits.output"),
        ({"mean": lambda n: n.mean[:3]}, r"integer.mean: shape \(3,\), expected \(4,\)"),
        ({"mean": lambda n: n.mean.astype(np.float64)}, "integer.mean: dtype float64"),
        ({"mean": lambda n: n.mean * np.float32("nan")}, r"integer.mean: value nan at \[0\]"),
        ({"gain": lambda n: -n.gain}, "integer.gain: .* is not above 0"),
        ({"gain": lambda n: n.gain * np.float32(0)}, "integer.gain: .* is not above 0"),
        ({"gain": lambda n: n.gain * np.float32("inf")}, "integer.gain: value inf"),
        ({"weights": (0, put((1, 2), 4))}, r"weight.0: value 4 at \[1, 2\] does not fit 3 bits"),
        ({"weights": (2, put((1, 7), -5))}, r"weight.2: value -5 at \[1, 7\] does not fit"),
        ({"weights": (1, lambda w: w[:, :7])}, r"weight.1: shape \(8, 7\)"),
        ({"weights": (2, lambda w: w[:1])}, "weight.2: 1 outputs, expected 2"),
        ({"weights": (0, lambda w: w.astype(np.int16))}, "weight.0: dtype int16"),
        ({"weights": (0, lambda w: w[0])}, "weight.0: shape .* expected two axes"),
        ({"weights": lambda _: ()}, "integer.weight: 0 layers"),
        ({"thresholds": lambda n: n.thresholds[:2]}, "threshold: 2 layers, but 3"),
        ({"thresholds": (0, lambda t: t[:, :6])}, r"threshold.0: shape \(8, 6\)"),
        ({"thresholds": (0, lambda t: t.astype(np.int64))}, "threshold.0: dtype int64"),
        ({"thresholds": (1, lambda t: t[:, ::-1])}, "threshold.1: .* below its left"),
        (
            {"thresholds": (0, put((3, 0), -10_000))},
            r"threshold.0: value -10000 at \[3, 0\] is out",
        ),
        ({"thresholds": (2, put((1, -1), 10_000))}, "threshold.2: value 10000 at .* is outside"),
        ({"table": lambda n: n.table[:, :31]}, "integer.table: shape"),
        ({"table": lambda n: n.table * np.float32("nan")}, "integer.table: value nan"),
        ({"table": lambda n: n.table + np.float32(1)}, "integer.table: .* outside the action lim"),
    ],
)
def test_network(edits, message):
    with pytest.raises(PolicyError, match=message):
        make(network=network_with(**edits))


@pytest.mark.parametrize("end", ["low", "high"])
def test_threshold_may_lie_at_its_clamp_but_not_beyond(end):
    from qpolicy_ros.policy import accumulator_bounds  # noqa: PLC0415

    network = random_network()
    low, high = accumulator_bounds(network.weights[0], *network.input_range)
    ends = {"low": ((0, 0), low[0], -1), "high": ((0, -1), high[0] + 1, 1)}
    position, value, beyond = ends[end]

    make(network=network_with(thresholds=(0, put(position, value))))
    with pytest.raises(PolicyError, match="is outside"):
        make(network=network_with(thresholds=(0, put(position, value + beyond))))


def baseline_with(**edits) -> Baseline:
    baseline = random_baseline()
    return changed(baseline, **{name: edit(baseline) for name, edit in edits.items()})


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"std": lambda b: b.std * np.float32(0)}, "baseline.std: .* is not above 0"),
        ({"mean": lambda b: b.mean[:2]}, "baseline.mean: shape"),
        ({"clip": lambda _: 0.0}, "baseline.clip: 0.0 is not above 0"),
        ({"clip": lambda _: float("inf")}, "baseline.clip: inf"),
        ({"biases": lambda b: b.biases[:2]}, "baseline.bias: 2 layers, but 3"),
        ({"biases": lambda b: (*b.biases[:2], b.biases[0])}, "baseline.bias.2: shape"),
        (
            {"weights": lambda b: (b.weights[0] * np.float32("nan"), *b.weights[1:])},
            "weight.0: val",
        ),
        ({"weights": lambda b: b.weights[:2]}, "baseline.weight.1: 8 outputs, expected 2"),
        ({"weights": lambda b: tuple(w * np.float32(1e20) for w in b.weights)}, "exceed float32"),
        ({"scale": lambda b: b.scale[:1]}, "baseline.action_scale: shape"),
        ({"bias": lambda b: b.bias + np.float32("inf")}, "baseline.action_bias: value inf"),
    ],
)
def test_baseline(edits, message):
    with pytest.raises(PolicyError, match=message):
        make(baseline=baseline_with(**edits))


@pytest.mark.parametrize("count", [0, 4097])
def test_number_of_golden_vectors(count):
    with pytest.raises(PolicyError, match=f"golden.observations: {count} vectors"):
        make_artifact(
            make_contract(), random_baseline(), None, {}, np.zeros((count, 4), np.float32)
        )


def test_weights_whose_sums_pass_int32_cannot_be_built():
    # The widest layer allowed, with the largest codes and weights, still fits.
    width = 16384
    high = width * 255 * 127
    assert high < 2**31 - 1
    contract = Contract("toy", "", VALUES, MOTORS, 0.01)
    network = random_network(hidden=(width + 1, 3))
    with pytest.raises(PolicyError, match=r"expected \(1 to 16384, 4\)"):
        make(contract=contract, network=network)


def nested(depth):
    value = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def make_with(provenance):
    return make_artifact(
        make_contract(), random_baseline(), None, provenance, random_observations(0, 2, 4)
    )


@pytest.mark.parametrize("depth", [1, 32])
def test_provenance_may_be_nested(depth):
    assert make_with(nested(depth)).provenance == nested(depth)


@pytest.mark.parametrize("depth", [33, 900])
def test_provenance_that_no_reader_can_walk_is_refused(depth):
    with pytest.raises(PolicyError, match="provenance: is nested deeper than 32"):
        make_with(nested(depth))


def test_provenance_that_cannot_be_printed_is_refused():
    with pytest.raises(PolicyError, match=r"provenance: .*surrogates not allowed"):
        make_with({"command": "\ud800"})
