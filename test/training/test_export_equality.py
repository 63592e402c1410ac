"""Exported networks equal the snapped module, code by code, on random actors."""

from __future__ import annotations

import dataclasses
from itertools import cycle, islice

import numpy as np
import pytest
import torch
from actor_builders import random_actor, random_statistics

from qpolicy_ros.policy import accumulator_bounds, engine_kinds, make_engine
from qpolicy_training.quant.equality import (
    brevitas_disagreement_ppm,
    compare_accumulators,
    compare_with_snapped,
    sample_observations,
)
from qpolicy_training.quant.export import export_network, export_snapped
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor, set_range
from qpolicy_training.quant.snapped import snap

NARROW = [(1,), (7,), (16,), (7, 16), (16, 1), (1, 7, 16), (16, 16, 16), (7, 1, 7)]
WIDE = [(256,), (256, 256), (16, 256, 7)]
# Every width from 2 to 8 bits for each of input, core and output, mixed.
BITS = [(2, 3, 8), (3, 2, 7), (4, 8, 6), (5, 4, 5), (6, 5, 4), (7, 6, 3), (8, 7, 2), (8, 2, 8)]


def specs():
    bits = cycle(BITS)
    for power_of_two in (False, True):
        for hidden in NARROW:
            for b_in, b_core, b_out in islice(bits, 5):
                yield ActorSpec(5, 3, hidden, b_in, b_core, b_out, power_of_two)
        for hidden in WIDE:
            for b_in, b_core, b_out in islice(bits, 3):
                yield ActorSpec(17, 6, hidden, b_in, b_core, b_out, power_of_two)


def label(spec: ActorSpec) -> str:
    widths = "-".join(map(str, spec.hidden))
    scales = "pot" if spec.power_of_two else "free"
    return f"{widths}_in{spec.b_in}_core{spec.b_core}_out{spec.b_out}_{scales}"


def exported(actor: QuantActor, mean, std):
    snapped = snap(actor, mean, std)
    ones, zeros = np.ones(actor.spec.actions), np.zeros(actor.spec.actions)
    return snapped, export_snapped(snapped, ones, zeros)


@pytest.mark.parametrize("spec", list(specs()), ids=label)
def test_every_code_equals_the_snapped_module(spec):
    actor = random_actor(spec, seed=len(label(spec)))
    mean, std = random_statistics(spec.observations)
    snapped, network = exported(actor, mean, std)
    observations = sample_observations(mean, std, 2000, seed=1)
    result = compare_with_snapped(network, snapped, observations)
    assert result.equal, result.mismatches
    codes = sum((spec.observations, *spec.hidden, spec.actions))
    assert result.compared == 2000 * codes * len(engine_kinds())
    thresholds = compare_accumulators(network, snapped)
    assert thresholds.equal, thresholds.mismatches


def test_bits_and_widths_of_the_cases_cover_the_whole_range():
    cases = list(specs())
    for field in ("b_in", "b_core", "b_out"):
        assert {getattr(spec, field) for spec in cases} == set(range(2, 9))
    assert {width for spec in cases for width in spec.hidden} == {1, 7, 16, 256}
    assert {len(spec.hidden) for spec in cases} == {1, 2, 3}


def test_sums_beyond_float32_are_exact():
    spec = ActorSpec(1200, 2, (4,), 8, 8, 8)
    actor = random_actor(spec)
    with torch.no_grad():
        actor.layers[0].weight.uniform_(0.9, 1.0)  # codes near 127: sums reach 2**24
    mean, std = random_statistics(1200)
    snapped, network = exported(actor, mean, std)
    assert snapped.layers[0].weight.dtype == torch.float64
    assert compare_with_snapped(network, snapped, sample_observations(mean, std, 500, 0)).equal
    assert compare_accumulators(network, snapped).equal


def test_dead_neurons_get_thresholds_that_are_never_or_always_reached():
    actor = random_actor(ActorSpec(5, 2, (16,), 4, 3, 8))
    with torch.no_grad():
        actor.layers[0].bias[0] = -1e3
        actor.layers[0].bias[1] = 1e3
        actor.layers[0].weight[2] = 0.0
    mean, std = random_statistics(5)
    snapped, network = exported(actor, mean, std)
    low, high = accumulator_bounds(network.weights[0], *network.input_range)
    assert (network.thresholds[0][0] == high[0] + 1).all()
    assert (network.thresholds[0][1] == low[1]).all()
    assert (low[2], high[2]) == (0, 0)
    assert set(network.thresholds[0][2]) <= {0, 1}
    assert compare_with_snapped(network, snapped, sample_observations(mean, std, 2000, 0)).equal
    assert compare_accumulators(network, snapped).equal


def test_a_layer_of_zero_weights():
    actor = random_actor(ActorSpec(5, 2, (7, 7), 4, 3, 8))
    with torch.no_grad():
        actor.layers[1].weight.zero_()
    mean, std = random_statistics(5)
    snapped, network = exported(actor, mean, std)
    assert compare_with_snapped(network, snapped, sample_observations(mean, std, 500, 0)).equal


def test_constant_inputs_have_a_finite_gain():
    actor = random_actor(ActorSpec(5, 2, (16,), 8, 3, 8))
    mean, std = random_statistics(5)
    std[[1, 3]] = 0.0
    snapped, network = exported(actor, mean, std)
    assert np.isfinite(network.gain).all()
    assert (network.gain > 0).all()
    observations = sample_observations(mean, std, 2000, 0)
    result = compare_with_snapped(network, snapped, observations)
    assert result.equal
    assert (snapped.codes(observations)[0][:, [1, 3]] == 0).all()


def test_ties_go_where_torch_sends_them():
    # Input step 1, weight codes 1 and 3 of step 1, activation step 4: acc / 4 is a tie at every
    # odd multiple of 2, and rounds half to even there.
    actor = QuantActor(ActorSpec(2, 1, (1,), 8, 3, 8)).eval()
    with torch.no_grad():
        actor.layers[0].weight.copy_(torch.tensor([[1.0, 3.0]]))
        actor.layers[0].bias.zero_()
    for quantiser, largest in zip(actor.quantisers(), (128.0, 28.0, 1.0), strict=True):
        set_range(quantiser, largest, power_of_two=False)
    _, network = exported(actor, np.zeros(2), np.ones(2))
    assert network.weights[0].tolist() == [[1, 3]]
    assert network.thresholds[0].tolist() == [[3, 6, 11, 14, 19, 22, 27]]
    engine = make_engine(network)
    for accumulator in range(-10, 40):
        x = np.array([accumulator, 0], np.float32)
        expected = actor.activations[0](torch.tensor([[float(accumulator)]])).int().item()
        assert engine.trace(x)[1][0] == expected


def test_input_ties_round_half_to_even():
    actor = random_actor(ActorSpec(1, 1, (1,), 4, 3, 8))
    set_range(actor.input, 8.0, power_of_two=False)  # step 1
    network = export_network(actor, np.zeros(1), np.ones(1), np.ones(1), np.zeros(1))
    x = np.arange(-9, 9, dtype=np.float32)[:, None] + np.float32(0.5)
    codes = make_engine(network).codes_batch(x)[0][:, 0]
    assert codes.tolist() == np.clip(np.rint(x[:, 0]), -8, 7).astype(int).tolist()
    assert codes[9] == 0  # 0.5
    assert codes[10] == 2  # 1.5


def test_table_is_tanh_of_the_output_values_in_the_action_range():
    actor = random_actor(ActorSpec(5, 2, (16,), 8, 3, 8))
    mean, std = random_statistics(5)
    scale, bias = np.array([0.4, 2.0], np.float32), np.array([0.0, 1.0], np.float32)
    network = export_network(actor, mean, std, scale, bias)
    x = torch.from_numpy(sample_observations(mean, std, 200, 0))
    u, _ = actor((x - torch.from_numpy(mean)) / torch.from_numpy(std))
    expected = torch.tanh(u).detach().numpy() * scale + bias
    found = make_engine(network).act_batch(x.numpy())
    assert np.median(np.abs(found - expected)) < 1e-6
    assert (network.table >= bias[:, None] - scale[:, None]).all()
    assert (network.table <= bias[:, None] + scale[:, None]).all()


def test_export_does_not_disturb_training():
    actor = random_actor(ActorSpec(5, 2, (16,), 8, 3, 8)).train()
    before = actor.get_extra_state()
    exported(actor, *random_statistics(5))
    assert actor.training
    assert torch.equal(actor.get_extra_state(), before)


def test_snapped_module_keeps_what_it_was_made_from():
    actor = random_actor(ActorSpec(5, 2, (16,), 8, 3, 8))
    mean, std = random_statistics(5)
    snapped, network = exported(actor, mean, std)
    set_range(actor.activations[0], 100.0, power_of_two=False)
    assert compare_accumulators(network, snapped).equal


def test_plain_brevitas_graph_disagreement_is_reported(capsys):
    spec = ActorSpec(17, 6, (256, 256), 8, 8, 8)
    actor = random_actor(spec)
    mean, std = random_statistics(17)
    snapped = snap(actor, mean, std)
    observations = sample_observations(mean, std, 5000, 0)
    ppm = brevitas_disagreement_ppm(actor, snapped, observations, std)
    with capsys.disabled():
        print(f"\nplain Brevitas graph, codes that differ, ppm: {ppm}")  # noqa: T201 the report
    assert list(ppm) == ["input", "hidden 0", "hidden 1", "output"]
    assert all(0.0 <= value < 50_000 for value in ppm.values())


# The checks themselves must be able to fail.


@pytest.fixture
def planted():
    actor = random_actor(ActorSpec(5, 3, (16, 7), 6, 3, 8))
    mean, std = random_statistics(5)
    snapped, network = exported(actor, mean, std)
    return snapped, network, sample_observations(mean, std, 2000, 0)


@pytest.mark.parametrize("offset", [-1, 1])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_one_threshold_off_by_one_is_found(planted, layer, offset):
    snapped, network, _ = planted
    low, high = accumulator_bounds(network.weights[layer], *network.layer_input_range(layer))
    thresholds = network.thresholds[layer]
    inside = (thresholds > low[:, None] + 1) & (thresholds < high[:, None])
    thresholds[tuple(np.argwhere(inside)[0])] += offset
    result = compare_accumulators(network, snapped)
    assert not result.equal
    wrong = [name for name, count in result.mismatches.items() if count]
    assert wrong == [snapped.layers[layer].name]


def test_one_wrong_weight_is_found(planted):
    snapped, network, observations = planted
    network.weights[0][3, 2] += 1 if network.weights[0][3, 2] < 3 else -1
    assert not compare_accumulators(network, snapped).equal
    assert not compare_with_snapped(network, snapped, observations).equal


def test_a_wrong_gain_is_found_in_the_input_codes(planted):
    snapped, network, observations = planted
    gain = network.gain * np.float32(1.001)
    wrong = dataclasses.replace(network, gain=gain)
    result = compare_with_snapped(wrong, snapped, observations)
    assert result.mismatches["input"] > 0
