"""Any small quantised actor: its exported thresholds are the snapped torch module's."""

from __future__ import annotations

import numpy as np
import torch
from actor_builders import random_actor, random_statistics
from hypothesis import given
from hypothesis import strategies as st

from qpolicy_training.quant.equality import (
    compare_accumulators,
    compare_with_snapped,
    sample_observations,
)
from qpolicy_training.quant.export import export_snapped
from qpolicy_training.quant.quant_actor import ActorSpec
from qpolicy_training.quant.snapped import snap

BITS = st.integers(2, 8)
# Training flushes subnormal numbers to zero, in the whole process.
FLOATS = st.floats(-1.0, 1.0, width=32, allow_subnormal=False)
specs = st.builds(
    ActorSpec,
    st.integers(1, 6),
    st.integers(1, 3),
    st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple),
    BITS,
    BITS,
    BITS,
    st.booleans(),
)


def strange(actor, data):
    """Dead, saturated and constant neurons, and weights of very different sizes."""
    with torch.no_grad():
        for index, layer in enumerate(actor.layers):
            change = data.draw(st.sampled_from(["none", "bias", "zero", "large"]), f"layer {index}")
            row = data.draw(st.integers(0, len(layer.bias) - 1), "neuron")
            if change == "bias":
                layer.bias[row] = data.draw(FLOATS.map(lambda value: 1e4 * value), "bias")
            elif change == "zero":
                layer.weight[row] = 0.0
            elif change == "large":
                layer.weight[row] *= data.draw(FLOATS.map(lambda value: 100.0 * value), "factor")
    return actor


def exported(spec, seed, data):
    actor = strange(random_actor(spec, seed), data)
    mean, std = random_statistics(spec.observations, seed)
    std[data.draw(st.integers(0, len(std) - 1), "input")] *= data.draw(
        st.sampled_from([0.0, 1e-6, 1.0, 1e6]), "spread"
    )
    snapped = snap(actor, mean, std)
    ones = np.ones(spec.actions)
    return snapped, export_snapped(snapped, ones, 0 * ones), sample_observations(mean, std, 50, 1)


@given(specs, st.integers(0, 2**31), st.data())
def test_thresholds_are_the_snapped_module_s(spec, seed, data):
    snapped, network, observations = exported(spec, seed, data)

    thresholds = compare_accumulators(network, snapped)
    codes = compare_with_snapped(network, snapped, observations)

    assert thresholds.equal, thresholds.mismatches
    assert codes.equal, codes.mismatches
