"""The NumPy engine against arithmetic done by hand and with Python's integers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from policy_builders import random_network, random_observations

from qpolicy_ros.policy import IntegerNetwork, ObservationError, engine_kinds, make_engine


@pytest.fixture
def tiny() -> IntegerNetwork:
    """Two inputs, two hidden neurons of 2 bits, one output of 2 bits; small enough for a head."""
    return IntegerNetwork(
        mean=np.array([1.0, 0.0], np.float32),
        gain=np.array([2.0, 1.0], np.float32),
        input_bits=3,
        core_bits=2,
        output_bits=2,
        weights=(np.array([[1, -1], [-2, 1]], np.int8), np.array([[1, -2]], np.int8)),
        thresholds=(
            np.array([[0, 2, 4], [-3, 1, 11]], np.int32),
            np.array([[-2, 1, 3]], np.int32),
        ),
        table=np.array([[-0.9, -0.3, 0.25, 0.75]], np.float32),
    )


def by_hand(network: IntegerNetwork, observation: np.ndarray) -> list[list[int]]:
    """The contract word for word, in Python integers."""
    low, high = network.input_range
    scaled = (observation - network.mean) * network.gain
    codes = [[int(min(max(float(np.rint(value)), low), high)) for value in scaled]]
    for weight, threshold in zip(network.weights, network.thresholds, strict=True):
        sums = [sum(int(w) * q for w, q in zip(row, codes[-1], strict=True)) for row in weight]
        codes.append(
            [sum(total >= int(t) for t in row) for total, row in zip(sums, threshold, strict=True)]
        )
    codes[-1] = [network.output_min + count for count in codes[-1]]
    return codes


def test_every_code_of_a_network_worked_by_hand(tiny):
    # q = [rint((2 - 1) * 2), rint(-1)] = [2, -1]
    # sums [2 + 1, -4 - 1] = [3, -5]: counts [2, 0]; last sum 2: count 2, code -2 + 2 = 0.
    trace = make_engine(tiny, "numpy").trace(np.array([2.0, -1.0], np.float32))

    assert [codes.tolist() for codes in trace] == [[2, -1], [2, 0], [0]]


def test_action_comes_from_the_table(tiny):
    action = make_engine(tiny, "numpy").act(np.array([2.0, -1.0], np.float32))

    assert action.dtype == np.float32
    assert action.tolist() == [0.25]


def test_sum_equal_to_a_threshold_counts(tiny):
    # q = [1, 1]: sums [0, -1]; the first neuron's threshold 0 is reached.
    trace = make_engine(tiny, "numpy").trace(np.array([1.5, 1.0], np.float32))

    assert trace[1].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("value", "code"),
    [(0.5, 0), (1.5, 2), (-0.5, 0), (-1.5, -2), (2.5, 2), (2.500001, 3), (99, 3), (-99, -4)],
)
def test_input_code_rounds_half_to_even_and_clips(tiny, value, code):
    trace = make_engine(tiny, "numpy").trace(np.array([1.0, value], np.float32))

    assert trace[0].tolist() == [0, code]


def test_scaling_is_float32_not_float64():
    # float64 would give 0.5000000100000001 and code 1; float32's product is exactly 0.5.
    gain, value = np.float32(0.1), np.float32(5.0)
    assert float(gain) * float(value) > 0.5
    assert gain * value == np.float32(0.5)
    base = random_network(inputs=1, hidden=(1,), outputs=1)
    network = IntegerNetwork(
        **{**vars(base), "mean": np.zeros(1, np.float32), "gain": np.array([gain])}
    )

    assert make_engine(network, "numpy").trace(np.array([value]))[0].tolist() == [0]


@pytest.mark.parametrize("kind", ["numpy", "auto"])
def test_value_that_overflows_float32_is_clipped_in_silence(tiny, kind):
    largest = np.finfo(np.float32).max
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trace = make_engine(tiny, kind).trace(np.array([largest, -largest], np.float32))

    assert trace[0].tolist() == [3, -4]


@pytest.mark.parametrize("bits", [(2, 2, 2), (8, 8, 8), (8, 2, 6), (3, 7, 4)])
@pytest.mark.parametrize("extreme", [False, True])
def test_codes_equal_python_integers(bits, extreme):
    names = ("input_bits", "core_bits", "output_bits")
    network = random_network(
        5, 19, (23, 12), 3, **dict(zip(names, bits, strict=True)), extreme=extreme
    )
    engine = make_engine(network, "numpy")

    for observation in random_observations(6, 20, 19):
        assert [codes.tolist() for codes in engine.trace(observation)] == by_hand(
            network, observation
        )


@pytest.mark.parametrize("kind", engine_kinds())
def test_accumulators_beyond_2_to_24_are_exact(kind):
    # Hidden neuron 0 hands the input code on, 0 to 255; the others always give 255. The last sum
    # is that code on top of 127 * 255 * 1000, where float32 knows even numbers only.
    base, codes = 127 * 255 * 1000, np.arange(-128, 128)
    assert base > 1 << 24
    first = np.zeros((1001, 1), np.int8)
    first[0] = 1
    last = np.full((1, 1001), 127, np.int8)
    last[0, 0] = 1
    thresholds = np.zeros((1001, 255), np.int32)
    thresholds[0] = codes[1:]
    network = IntegerNetwork(
        mean=np.zeros(1, np.float32),
        gain=np.ones(1, np.float32),
        input_bits=8,
        core_bits=8,
        output_bits=8,
        weights=(first, last),
        thresholds=(thresholds, (base + np.arange(1, 256))[None, :].astype(np.int32)),
        table=np.zeros((1, 256), np.float32),
    )
    engine = make_engine(network, kind)

    found = [engine.trace(np.array([code], np.float32))[-1][0] for code in codes]

    assert found == codes.tolist()
    np.testing.assert_array_equal(
        engine.codes_batch(codes[:, None].astype(np.float32))[-1][:, 0], codes
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("method", ["act", "trace"])
def test_value_that_is_not_finite_is_refused_by_index(tiny, value, method):
    engine = make_engine(tiny, "numpy")

    with pytest.raises(ObservationError, match=r"value 1: .* is not finite") as caught:
        getattr(engine, method)(np.array([0.0, value], np.float32))

    assert (caught.value.reason, caught.value.index) == ("non_finite", 1)
