"""The Brevitas actor: what it quantises to, its statistics phase, its change of bit-widths."""

from __future__ import annotations

import pytest
import torch
from actor_builders import finish_statistics, random_actor, shorten_statistics

from qpolicy_training.quant.quant_actor import (
    ActorSpec,
    QuantActor,
    calibrate,
    clip_weights,
    from_float,
    with_bits,
)

SPEC = ActorSpec(5, 2, (16, 16), b_in=6, b_core=3, b_out=8)


def normalised(rows: int = 256, seed: int = 1) -> torch.Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("field", "value"), [("b_in", 1), ("b_core", 9), ("b_out", 0)])
def test_bits_outside_2_to_8_are_refused_by_name(field, value):
    bits = {"b_in": 8, "b_core": 3, "b_out": 8, field: value}
    with pytest.raises(ValueError, match=f"{field}: {value} bits"):
        ActorSpec(5, 2, (16,), **bits)


@pytest.mark.parametrize("hidden", [(), (0,), (16, -1)])
def test_empty_layers_are_refused(hidden):
    with pytest.raises(ValueError, match="layer sizes"):
        ActorSpec(5, 2, hidden, 8, 3, 8)


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_weights_are_narrow_range_integers(bits):
    actor = random_actor(ActorSpec(5, 2, (16,), 8, bits, 8))
    codes = actor.layers[0].quant_weight().int()
    assert codes.abs().max() == 2 ** (bits - 1) - 1


def test_features_are_the_quantised_last_hidden_layer():
    actor = random_actor(SPEC)
    _, features = actor(normalised())
    codes = features / actor.activations[-1].act_quant.scale()
    assert features.shape == (256, 16)
    assert codes.min() == 0
    assert torch.allclose(codes, codes.round(), atol=1e-5)
    assert codes.round().max() == 7


def test_statistics_phase_ends_after_300_training_batches():
    actor = QuantActor(SPEC).train()
    for _ in range(300):
        actor(normalised(8))
    assert not actor.calibrated
    actor(normalised(8))
    assert actor.calibrated


@pytest.mark.parametrize("batches", [0, 5, 30, 35])
def test_resume_from_state_dict_continues_the_statistics_exactly(batches, monkeypatch):
    shorten_statistics(monkeypatch, 30)
    torch.manual_seed(3)
    actor = QuantActor(SPEC).train()
    for i in range(batches):
        actor(normalised(8, seed=i))
    resumed = QuantActor(SPEC).train()
    resumed.load_state_dict(actor.state_dict())
    for i in range(batches, batches + 10):
        assert torch.equal(resumed(normalised(8, i))[0], actor(normalised(8, i))[0])
    assert torch.equal(resumed.get_extra_state(), actor.get_extra_state())


@pytest.mark.parametrize("calibrated", [False, True])
def test_loading_keeps_the_parameters_that_an_optimiser_holds(calibrated):
    actor = QuantActor(SPEC).train()
    assert not actor.calibrated
    parameters = list(actor.parameters())
    actor.load_state_dict((random_actor(SPEC) if calibrated else QuantActor(SPEC)).state_dict())
    assert actor.calibrated == calibrated
    for found in (list(actor.parameters()), actor.flat_parameters()):
        assert {id(p) for p in found} == {id(p) for p in parameters}


def test_a_calibrated_actor_computes_the_same_in_both_modes():
    actor = QuantActor(SPEC).train()
    actor(normalised())
    finish_statistics(actor)
    state = actor.get_extra_state()
    trained, _ = actor.train()(normalised())
    evaluated, _ = actor.eval()(normalised())
    assert not actor.training
    assert torch.equal(trained, evaluated)
    reloaded = QuantActor(SPEC).eval()
    reloaded.load_state_dict(actor.state_dict())
    assert torch.equal(reloaded(normalised())[0], evaluated)
    assert torch.equal(actor.get_extra_state(), state)


def test_calibration_beats_the_full_range_in_squared_error():
    actor = random_actor(ActorSpec(5, 2, (16,), 3, 3, 8))
    x = normalised(4096)
    calibrate(actor, x)
    fitted = (actor.input(x).value - x).square().mean()
    actor.scalings()[0].value.data.fill_(x.abs().max())
    full = (actor.input(x).value - x).square().mean()
    assert fitted < 0.8 * full


def test_clipping_weights_lowers_the_error_of_two_bit_weights():
    weight = torch.randn(64, 64)
    weight[0, 0] = 8.0  # one outlier rounds nearly all others to zero

    def error(values: torch.Tensor) -> float:
        step = values.abs().max()
        return float(((values / step).round() * step - weight).square().mean())

    assert error(clip_weights(weight, 2)) < 0.7 * error(weight)


def test_same_bits_rebuild_the_same_function():
    actor = random_actor(SPEC)
    copy = with_bits(actor, SPEC)
    assert torch.equal(copy(normalised())[0], actor(normalised())[0])


def test_lowering_bits_step_by_step_stays_close():
    fine = random_actor(ActorSpec(5, 2, (64, 64), 8, 8, 8))
    x = normalised(1024)
    calibrate(fine, x)
    target, _ = fine(x)
    lower = with_bits(fine, ActorSpec(5, 2, (64, 64), 8, 4, 8), x)
    error = (lower(x)[0] - target).std() / target.std()
    assert error < 0.35
    assert lower.spec.b_core == 4


def test_with_bits_refuses_other_layer_sizes():
    with pytest.raises(ValueError, match="only bit-widths may change"):
        with_bits(random_actor(SPEC), ActorSpec(5, 2, (16, 8), 6, 3, 8))


def test_post_training_quantisation_at_8_bits_follows_the_float_network():
    torch.manual_seed(0)
    linears = [torch.nn.Linear(5, 32), torch.nn.Linear(32, 2)]
    x = normalised(1024)
    expected = linears[1](linears[0](x).relu())
    actor = from_float(
        [layer.weight for layer in linears],
        [layer.bias for layer in linears],
        ActorSpec(5, 2, (32,), 8, 8, 8),
        x,
    )
    assert ((actor(x)[0] - expected).std() / expected.std()) < 0.05
