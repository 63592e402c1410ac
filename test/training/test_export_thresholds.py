"""The search for thresholds on staircases of every shape, and what export refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from actor_builders import random_actor, random_statistics

from qpolicy_ros.policy import PolicyError
from qpolicy_training.quant.export import EXHAUSTIVE, export_network, find_thresholds
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor
from qpolicy_training.quant.snapped import snap


def search(count, low, high, levels):
    return find_thresholds(count, np.array(low), np.array(high), levels, "hidden 0")


def staircase(*steps: float):
    """Count of ``steps`` at or below the accumulator, for one neuron."""
    edges = torch.tensor(steps, dtype=torch.float64)
    return lambda acc: (acc[..., None] >= edges).sum(-1).double()


def test_thresholds_are_where_the_staircase_rises():
    rows, negated = search(staircase(-5, 0, 0, 9), [-20], [20], 4)
    assert rows.tolist() == [[-5, 0, 0, 9]]
    assert not negated.any()


def test_thresholds_outside_are_clamped_to_always_and_never():
    rows, _ = search(staircase(-100, -20, 20, 21, 100), [-20], [20], 5)
    assert rows.tolist() == [[-20, -20, 20, 21, 21]]


def test_a_falling_tail_is_searched_on_the_negated_accumulator():
    rising = staircase(3, 7)
    rows, negated = search(lambda acc: rising(-acc), [-20], [15], 2)
    assert negated.tolist() == [True]
    assert rows.tolist() == [[3, 7]]


def test_a_falling_neuron_among_rising_ones():
    def count(acc):
        return torch.clamp(torch.round(acc * torch.tensor([0.5, -0.5, 0.5])), 0, 3)

    low, high = [-10, -10, 2], [10, 10, 2]
    rows, negated = search(count, low, high, 3)
    assert negated.tolist() == [False, True, False]
    assert rows[0].tolist() == rows[1].tolist() == [2, 3, 6]  # 0.5 rounds to 0, 1.5 to 2
    assert rows[2].tolist() == [2, 3, 3]  # the only accumulator gives 1


def test_every_accumulator_of_a_fine_staircase():
    acc = torch.arange(-3000, 3001, dtype=torch.float64)

    def count(values):
        return torch.clamp(torch.round(values.float() * 0.0171 - 3.3), 0, 255).double()

    rows, _ = search(count, [-3000], [3000], 255)
    found = np.searchsorted(rows[0], acc.numpy(), side="right")
    assert (found == count(acc[:, None])[:, 0].numpy()).all()


def test_ranges_beyond_exhaustive_search():
    rows, _ = search(staircase(-(2**30), 12_345_678, 2**30 - 1), [-(2**30)], [2**30 - 2], 3)
    assert EXHAUSTIVE < 2**31
    assert rows.tolist() == [[-(2**30), 12_345_678, 2**30 - 1]]


@pytest.mark.parametrize("bump", [-7, 0, 19])
def test_a_tail_that_is_not_monotone_is_refused_by_layer_and_neuron(bump):
    def count(acc):
        codes = torch.clamp(acc + 10, 0, 30)
        codes[..., 1] -= 2 * (acc[..., 1] == bump)
        return codes

    with pytest.raises(PolicyError, match=r"layer hidden 0, neuron 1: .*monotone"):
        search(count, [-10, -10], [20, 20], 30)


def test_an_actor_in_its_statistics_phase_is_refused():
    actor = QuantActor(ActorSpec(5, 2, (16,), 8, 3, 8))
    with pytest.raises(PolicyError, match="statistics"):
        snap(actor, *random_statistics(5))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["mean", "std"])
def test_normalisation_that_is_not_finite_is_refused(field, value):
    actor = random_actor(ActorSpec(5, 2, (16,), 8, 3, 8))
    mean, std = random_statistics(5)
    {"mean": mean, "std": std}[field][2] = value
    with pytest.raises(PolicyError, match=f"{field}: value 2 is {value}"):
        snap(actor, mean, std)


def test_normalisation_of_another_length_is_refused():
    actor = random_actor(ActorSpec(5, 2, (16,), 8, 3, 8))
    with pytest.raises(PolicyError, match="5 inputs"):
        snap(actor, *random_statistics(4))


def test_diverged_weights_are_refused_by_layer():
    actor = random_actor(ActorSpec(5, 2, (16, 16), 8, 3, 8))
    with torch.no_grad():
        actor.layers[1].weight[0, 0] = float("nan")
    with pytest.raises(PolicyError, match="layer hidden 1: weight"):
        export_network(actor, *random_statistics(5), np.ones(2), np.zeros(2))
