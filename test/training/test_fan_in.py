"""Neurons of few inputs: chosen while distilling, kept afterwards, zeros in what is exported."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from actor_builders import random_actor, random_statistics

from qpolicy_ros.policy import PolicyError
from qpolicy_training.cli.options import fan_in_of
from qpolicy_training.experience.normaliser import RunningNormaliser
from qpolicy_training.experience.replay import Batch
from qpolicy_training.quant.equality import compare_accumulators, compare_with_snapped
from qpolicy_training.quant.export import export_snapped
from qpolicy_training.quant.fan_in import Choice, keep_choice
from qpolicy_training.quant.qat_file import QatPolicy, load_qat, save_qat
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor, calibrate, with_bits
from qpolicy_training.quant.snapped import snap
from qpolicy_training.recipes.config import DistillConfig, SearchConfig
from qpolicy_training.recipes.regress import Lesson, adam, fit
from qpolicy_training.recipes.search import _Search
from qpolicy_training.rl.config import SacConfig
from qpolicy_training.rl.learners import make_learner

SPEC = ActorSpec(11, 3, (24, 16), 6, 2, fan_in=(1, 3, 5))
CONFIG = DistillConfig(round_updates=60, batch=32, learning_rate=3e-2)


def most_inputs(actor):
    return tuple(int((layer.weight != 0).sum(dim=1).max()) for layer in actor.layers)


def student(seed=0):
    torch.manual_seed(seed)
    actor = QuantActor(SPEC)
    calibrate(actor, torch.randn(256, 11))
    return actor


def data(rows=512):
    torch.manual_seed(5)
    inputs = torch.randn(rows, 11)
    return Lesson(inputs, torch.tanh(inputs[:, :3] - inputs[:, 3:6]))


def test_a_new_actor_has_the_fan_in_asked_for():
    assert most_inputs(QuantActor(SPEC)) == SPEC.fan_in
    assert most_inputs(QuantActor(dataclasses.replace(SPEC, fan_in=(0, 2, 0)))) == (11, 2, 16)


def test_distillation_keeps_the_fan_in_and_chooses_other_inputs():
    actor = student()
    before = [layer.weight != 0 for layer in actor.layers]
    optimiser = adam(actor, CONFIG)
    Choice(actor, optimiser)
    fit(actor, optimiser, data(), CONFIG, np.random.default_rng(0), (0, 1))
    assert most_inputs(actor) == SPEC.fan_in
    assert any(
        bool(((layer.weight != 0) & ~chosen).any())
        for layer, chosen in zip(actor.layers, before, strict=True)
    )


def test_a_choice_goes_on_from_its_tensors_as_if_unbroken():
    actor, other = student(), student()
    optimiser, inputs = adam(actor, CONFIG), data()
    choice = Choice(actor, optimiser)
    fit(actor, optimiser, inputs, CONFIG, np.random.default_rng(0), (0, 2))
    other.load_state_dict(actor.state_dict())
    resumed = adam(other, CONFIG)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    Choice(other, resumed).restore({name: t.clone() for name, t in choice.tensors().items()})
    for each, its in ((actor, optimiser), (other, resumed)):
        fit(each, its, inputs, CONFIG, np.random.default_rng(1), (1, 2))
    for ours, theirs in zip(actor.flat_parameters(), other.flat_parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_fewer_bits_leave_the_zeros():
    fine = random_actor(dataclasses.replace(SPEC, b_core=4))
    lower = with_bits(fine, SPEC, torch.randn(256, 11))
    assert most_inputs(lower) == SPEC.fan_in


@pytest.mark.parametrize("products", ["float32", "bfloat16"])
def test_rl_changes_weights_that_count_and_no_others(products):
    actor = student()
    before = [layer.weight.detach().clone() for layer in actor.layers]
    config = SacConfig(critic_width=16, products=products)
    learner = make_learner(actor, (11, 3, 16), config)
    keep_choice(learner.policy_optimiser, actor)
    for _ in range(8):
        learner.update(
            Batch(
                observation=torch.randn(32, 11),
                action=torch.rand(32, 3) * 2 - 1,
                reward=torch.randn(32),
                next_observation=torch.randn(32, 11),
                terminated=torch.zeros(32),
            )
        )
    for layer, was in zip(actor.layers, before, strict=True):
        assert torch.equal(layer.weight != 0, was != 0)
        assert not torch.equal(layer.weight, was)


def test_search_moves_inputs_and_adds_none():
    actor = student()
    search = object.__new__(_Search)  # without a simulation: changes alone
    search._actor, search._layers = actor, len(actor.layers)
    search.reach = {}
    normaliser = RunningNormaliser(11)
    point = [p.detach().numpy().copy() for p in actor.flat_parameters()]
    point += [normaliser.mean.copy(), normaliser.std.copy()]
    before = [value.copy() for value in point]
    rng = np.random.default_rng(0)
    for _ in range(400):
        search._change(point, "weight", rng)
    weights = slice(len(actor.layers) + 1, 2 * len(actor.layers) + 1)
    for new, old, most in zip(point[weights], before[weights], SPEC.fan_in, strict=True):
        assert (new != 0).sum(axis=1).max() <= most
        assert ((new != 0) & (old == 0)).any()
        assert np.abs(new).max() == np.abs(old).max()  # sets the step
    assert SearchConfig().proposals  # the recipe that this belongs to


def test_the_exported_network_has_the_zeros_and_equals_torch():
    actor = student()
    mean, std = random_statistics(11)
    snapped = snap(actor, mean, std)
    network = export_snapped(snapped, np.ones(3, np.float32), np.zeros(3, np.float32))
    for weight, most in zip(network.weights, SPEC.fan_in, strict=True):
        assert (weight != 0).sum(axis=1).max() <= most
    assert compare_accumulators(network, snapped).equal
    observations = np.random.default_rng(0).normal(size=(500, 11)).astype(np.float32)
    assert compare_with_snapped(network, snapped, observations).equal


def test_the_trained_module_s_file_keeps_the_fan_in(tmp_path):
    actor, (mean, std) = student(), random_statistics(11)
    path = tmp_path / "few.qat.safetensors"
    save_qat(QatPolicy("toy", actor, mean, std, np.zeros((4, 11), np.float32), {}), path)
    loaded = load_qat(path).actor
    assert loaded.spec == SPEC
    assert most_inputs(loaded) == SPEC.fan_in


@pytest.mark.parametrize(
    ("given", "expected"),
    [((), ()), ((0,), ()), ((3,), (3, 3, 0)), ((1, 3), (1, 3, 0)), ((1, 3, 36), (1, 3, 36))],
)
def test_one_number_is_for_all_hidden_layers(given, expected):
    assert fan_in_of(given, (64, 32)) == expected


@pytest.mark.parametrize("given", [(1, 2, 3, 4), (-1,)])
def test_another_count_of_numbers_or_one_below_0_is_refused(given):
    with pytest.raises(PolicyError, match=r"--fan-in: \(.*give one number for all"):
        fan_in_of(given, (64, 32))


def test_more_inputs_than_a_layer_has_are_refused():
    with pytest.raises(PolicyError, match="fan_in: 25 in layer 1, which has 24 inputs"):
        dataclasses.replace(SPEC, fan_in=(1, 25, 5))
