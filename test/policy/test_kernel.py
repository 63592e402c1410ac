"""The compiled kernel refuses what would make it read or write where it must not."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from policy_builders import random_network

from qpolicy_ros.policy import engine_kinds, make_engine

pytestmark = pytest.mark.skipif("c" not in engine_kinds(), reason="the C kernel is not built")


def arguments(**changes):
    network = random_network(inputs=4, hidden=(8,), outputs=2)
    parts = {
        "mean": network.mean,
        "gain": network.gain,
        "table": network.table,
        "bits": (network.input_bits, network.core_bits, network.output_bits),
        "weights": network.weights,
        "thresholds": network.thresholds,
    }
    return {**parts, **changes}


def build(**changes):
    from qpolicy_ros.policy._kernel import Kernel  # noqa: PLC0415

    return Kernel(**arguments(**changes))


WEIGHTS = arguments()["weights"]
THRESHOLDS = arguments()["thresholds"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bits": (9, 3, 5)}, "bit-widths"),
        ({"bits": (4, 1, 5)}, "bit-widths"),
        ({"bits": (4, 4, 5)}, "thresholds must be"),
        ({"mean": np.zeros(5, np.float32)}, "same size"),
        ({"mean": np.full(4, np.nan, np.float32)}, "finite"),
        ({"gain": np.zeros(4, np.float32)}, "above 0"),
        ({"gain": np.ones(4, np.float64)}, "buffer of format"),
        ({"table": np.zeros((2, 31), np.float32)}, "table"),
        ({"table": np.zeros(64, np.float32)}, "axes"),
        ({"weights": WEIGHTS[:1]}, "two tuples"),
        ({"weights": (), "thresholds": ()}, "two tuples"),
        ({"weights": (WEIGHTS[0], np.zeros((2, 9), np.int8))}, "width of the layer before"),
        ({"weights": (WEIGHTS[0], np.zeros((2, 8), np.int16))}, "buffer of format"),
        ({"thresholds": (THRESHOLDS[0][:7], THRESHOLDS[1])}, "thresholds must be"),
        ({"thresholds": (THRESHOLDS[0], THRESHOLDS[1][:, ::-1].copy())}, "ascend"),
        ({"thresholds": (THRESHOLDS[0], THRESHOLDS[1].astype(np.float32))}, "buffer of format"),
        ({"instructions": "none"}, "do not work here"),
    ],
)
def test_bad_parts_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


@pytest.mark.parametrize(
    ("observation", "actions"),
    [
        (np.zeros(5, np.float32), np.zeros(2, np.float32)),
        (np.zeros(4, np.float32), np.zeros(1, np.float32)),
        (np.zeros(4, np.float32), np.zeros(2, np.float64)),
        (np.zeros(4, np.float32), np.zeros(4, np.float32)[::2]),
        (np.zeros(4, np.float32), np.frombuffer(bytes(8), np.float32)),
    ],
    ids=["long observation", "short result", "float64 result", "strided result", "read-only"],
)
def test_bad_buffers_are_refused(observation, actions):
    with pytest.raises((ValueError, BufferError)):
        build().act(observation, actions)


def test_batch_with_too_few_result_rows_is_refused():
    with pytest.raises(ValueError, match="wrong length"):
        build().act_batch(np.zeros((3, 4), np.float32), np.zeros((2, 2), np.float32))


def test_kernel_keeps_no_reference_to_its_parts():
    parts = arguments()
    mean = parts["mean"].copy()
    kernel = build(mean=mean)
    before, after = np.zeros(2, np.float32), np.zeros(2, np.float32)
    kernel.act(np.ones(4, np.float32), before)

    mean[:] = 1e9
    kernel.act(np.ones(4, np.float32), after)

    np.testing.assert_array_equal(before, after)


def test_acting_leaks_nothing():
    engine = make_engine(random_network(), "c")
    observation = np.zeros(4, np.float32)
    bad = np.full(4, np.nan, np.float32)
    kernel = build()
    actions = np.zeros(2, np.float32)
    engine.act(observation)
    tracemalloc.start()
    try:
        first, _ = tracemalloc.get_traced_memory()
        for _ in range(2000):
            engine.act(observation)
            kernel.act(bad, actions)
        last, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert last - first < 2000
