"""Every engine and instruction set gives the same bits as the NumPy engine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_builders import random_network, random_observations

from qpolicy_ros.policy import ObservationError, engine_kinds, make_engine

pytestmark = pytest.mark.skipif("c" not in engine_kinds(), reason="the C kernel is not built")

WIDTHS = st.sampled_from([1, 7, 16, 17, 33, 256])
BITS = st.integers(2, 8)


def instruction_sets() -> list[str]:
    if "c" not in engine_kinds():
        return []
    from qpolicy_ros.policy._kernel import instruction_sets as names  # noqa: PLC0415

    return names()


def c_engine(network, instructions=""):
    from qpolicy_ros.policy.c_engine import CEngine  # noqa: PLC0415

    return CEngine(network, instructions)


networks = st.builds(
    random_network,
    seed=st.integers(0, 2**31),
    inputs=WIDTHS,
    hidden=st.lists(WIDTHS, min_size=1, max_size=3),
    outputs=st.sampled_from([1, 3, 17]),
    input_bits=BITS,
    core_bits=BITS,
    output_bits=BITS,
    extreme=st.booleans(),
)


def observations_of(network, seed: int, count: int) -> np.ndarray:
    """Usual ones, and the codes' corners, which drive accumulators to their ends."""
    inputs = network.mean.size
    usual = random_observations(seed, count, inputs)
    signs = np.random.default_rng(seed).choice([-1e9, 0.0, 1e9], (count, inputs))
    one_sided = np.concatenate([np.full((1, inputs), -1e9), np.full((1, inputs), 1e9)])
    return np.concatenate([usual, signs, one_sided]).astype(np.float32)


@pytest.mark.parametrize("instructions", instruction_sets())
@settings(max_examples=60, deadline=None, derandomize=True)
@given(network=networks, seed=st.integers(0, 2**31))
def test_all_codes_equal_numpys(instructions, network, seed):
    observations = observations_of(network, seed, 20)

    expected = make_engine(network, "numpy").codes_batch(observations)
    found = c_engine(network, instructions).codes_batch(observations)

    for layer, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_array_equal(ours, theirs, f"layer {layer}")


@pytest.mark.parametrize("instructions", instruction_sets())
@pytest.mark.parametrize("shape", [(11, (16, 16), 3), (376, (256, 256), 17)])
@pytest.mark.parametrize("core_bits", [2, 3, 8])
def test_the_papers_shapes_equal_numpys(instructions, shape, core_bits):
    inputs, hidden, outputs = shape
    network = random_network(4, inputs, hidden, outputs, 8, core_bits, 8)
    observations = observations_of(network, 5, 200)

    expected = make_engine(network, "numpy").codes_batch(observations)
    found = c_engine(network, instructions).codes_batch(observations)

    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    scale=st.floats(2.0**-100, 2.0**100, width=32),
    values=st.lists(
        st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=16, max_size=16
    ),
)
def test_input_codes_equal_for_any_float(scale, values):
    base = random_network(0, 16, (4,), 2, input_bits=8)
    network = type(base)(**{**vars(base), "gain": np.full(16, scale, np.float32)})
    observation = np.array(values, np.float32)

    expected = make_engine(network, "numpy").trace(observation)[0]
    for instructions in instruction_sets():
        np.testing.assert_array_equal(
            c_engine(network, instructions).trace(observation)[0], expected
        )


def test_input_codes_equal_at_every_half():
    # Values whose product with the gain lies on or beside a rounding tie.
    base = random_network(0, 1, (4,), 2, input_bits=8)
    network = type(base)(
        **{**vars(base), "mean": np.zeros(1, np.float32), "gain": np.ones(1, np.float32)}
    )
    halves = np.arange(-130, 130, dtype=np.float32) + np.float32(0.5)
    beside = [np.nextafter(halves, np.float32(direction)) for direction in (-999, 999)]
    observations = np.concatenate([halves, *beside])[:, None].astype(np.float32)

    expected = np.clip(np.rint(observations), -128, 127)
    for instructions in instruction_sets():
        found = c_engine(network, instructions).codes_batch(observations)[0]
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", engine_kinds())
def test_batch_equals_one_at_a_time(kind):
    network = random_network(8, 17, (33, 16), 6, 8, 3, 8)
    observations = random_observations(9, 300, 17)
    engine = make_engine(network, kind)

    np.testing.assert_array_equal(
        engine.act_batch(observations), [engine.act(row) for row in observations]
    )
    traces = [engine.trace(row) for row in observations]
    for layer, codes in enumerate(engine.codes_batch(observations)):
        np.testing.assert_array_equal(codes, [trace[layer] for trace in traces])


@pytest.mark.parametrize("kind", engine_kinds())
def test_batch_longer_than_a_chunk_is_whole(kind):
    network = random_network(8, 3, (4,), 2)
    observations = random_observations(9, 5000, 3)
    engine = make_engine(network, kind)

    actions = engine.act_batch(observations)

    np.testing.assert_array_equal(actions[-3:], [engine.act(row) for row in observations[-3:]])


@pytest.mark.parametrize("kind", engine_kinds())
def test_empty_batch_gives_no_actions(kind):
    engine = make_engine(random_network(), kind)

    assert engine.act_batch(np.empty((0, 4), np.float32)).shape == (0, 2)


@pytest.mark.parametrize("kind", engine_kinds())
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("index", [0, 36])
def test_not_finite_is_refused_by_index(kind, value, index):
    observation = np.zeros(37, np.float32)
    observation[index] = value
    engine = make_engine(random_network(inputs=37), kind)

    with pytest.raises(ObservationError, match=f"value {index}: {value} is not finite") as caught:
        engine.act(observation)

    assert caught.value.reason == "non_finite"


@pytest.mark.parametrize("kind", engine_kinds())
def test_not_finite_in_a_batch_is_refused_by_row_and_index(kind):
    observations = np.zeros((5, 4), np.float32)
    observations[3, 2] = np.nan
    engine = make_engine(random_network(), kind)

    with pytest.raises(ObservationError, match="observation 3, value 2: nan is not finite"):
        engine.act_batch(observations)


@pytest.mark.parametrize("kind", engine_kinds())
@pytest.mark.parametrize("shape", [(3,), (5,), (0,), (1, 4), (4, 1), ()])
def test_wrong_shape_is_refused(kind, shape):
    engine = make_engine(random_network(), kind)

    with pytest.raises(ObservationError, match="expects 4") as caught:
        engine.act(np.zeros(shape, np.float32))

    assert caught.value.reason == "wrong_length"


@pytest.mark.parametrize("kind", engine_kinds())
@pytest.mark.parametrize(
    "convert",
    [
        lambda row: row.astype(np.float64),
        lambda row: row.tolist(),
        lambda row: np.repeat(row, 2)[::2],
        lambda row: row.astype(">f4"),
        lambda row: np.frombuffer(row.tobytes(), np.float32),
    ],
    ids=["float64", "list", "strided", "big-endian", "read-only"],
)
def test_other_forms_of_an_observation_give_the_same_action(kind, convert):
    engine = make_engine(random_network(), kind)
    observation = random_observations(1, 1, 4)[0]

    np.testing.assert_array_equal(engine.act(convert(observation)), engine.act(observation))


@pytest.mark.parametrize("kind", engine_kinds())
def test_integers_are_values_not_bits(kind):
    # An int32 array has float32's size; its bits must not be taken for floats.
    engine = make_engine(random_network(), kind)
    observation = np.array([3, -2, 40, 7], np.int32)

    np.testing.assert_array_equal(
        engine.act(observation), engine.act(observation.astype(np.float32))
    )


@pytest.mark.parametrize("kind", engine_kinds())
def test_result_belongs_to_the_caller(kind):
    engine = make_engine(random_network(output_bits=8), kind)
    first, second = random_observations(1, 2, 4)
    kept = engine.act(first)
    copy = kept.copy()

    engine.act(second)

    np.testing.assert_array_equal(kept, copy)


@pytest.mark.parametrize("kind", engine_kinds())
def test_input_time_is_reported(kind):
    engine = make_engine(random_network(inputs=376), kind)

    engine.act(np.zeros(376, np.float32))

    assert 0 < engine.quantise_ns < 1_000_000_000
