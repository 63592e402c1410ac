"""The fast forward and backward pass gives Brevitas' values and gradients."""

from __future__ import annotations

import pytest
import torch
from actor_builders import random_actor, shorten_statistics

from qpolicy_training.quant.fast_quant import actor_forward, fast_forward
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor

SPECS = [
    ActorSpec(17, 6, (64, 64), 8, 3, 8),
    ActorSpec(11, 3, (8, 8), 6, 2, 8),
    ActorSpec(5, 2, (7,), 4, 8, 3),
    ActorSpec(5, 2, (7, 16, 9), 3, 5, 2),
    ActorSpec(5, 2, (7, 16, 9), 3, 4, 2, power_of_two=True),
    ActorSpec(11, 3, (16, 16), 8, 2, 8, power_of_two=True),
]


@torch.no_grad()
def without_ties(actor: QuantActor, x: torch.Tensor) -> torch.Tensor:
    """Rows in which no value lies where float32 summation order decides a code or a gradient.

    Where a sum is zero but for Brevitas' rounding noise, the sign of that noise decides its
    gradient. With power-of-two scales there is no noise.
    """
    if actor.spec.power_of_two:
        return x[:512]
    keep = torch.ones(len(x), dtype=torch.bool)
    q = actor.input(x)
    for layer, quantiser in zip(actor.layers, actor.quantisers()[1:], strict=True):
        h = layer(q)
        q = quantiser(h)
        steps = h / q.scale
        distance = torch.minimum(((steps % 1) - 0.5).abs(), steps.abs())
        keep &= ((distance > 1e-3) | (h == 0)).all(dim=1)
    return x[keep]


def outputs_and_gradients(forward, actor, x):
    generator = torch.Generator().manual_seed(5)
    x = x.clone().requires_grad_()
    u, features = forward(x)
    weights = [torch.randn(t.shape, generator=generator) for t in (u, features)]
    loss = (u * weights[0]).sum() + (features * weights[1]).sum()
    gradients = torch.autograd.grad(loss, [x, *actor.flat_parameters()])
    return (u.detach(), features.detach()), gradients


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_values_equal_brevitas(spec):
    actor = random_actor(spec)
    x = without_ties(actor, torch.randn(20_000, spec.observations) * 2)
    assert len(x) >= 256
    with torch.no_grad():
        for ours, theirs in zip(fast_forward(actor, x), actor(x), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_gradients_equal_brevitas(spec):
    actor = random_actor(spec).train()
    x = without_ties(actor, torch.randn(20_000, spec.observations) * 2)[:256]
    _, expected = outputs_and_gradients(actor, actor, x)
    _, found = outputs_and_gradients(lambda x: fast_forward(actor, x), actor, x)
    for ours, theirs in zip(found, expected, strict=True):
        # A matrix: relative to its largest entry. A range: its sum over batch and layer cancels.
        bound = (1e-4 if theirs.ndim == 0 else 1e-5) * theirs.abs().max()
        assert (ours - theirs).abs().max() <= bound


def test_gradient_of_the_features_alone():
    actor = random_actor(SPECS[0]).train()
    x = torch.randn(256, 17)
    gradients = torch.autograd.grad(
        fast_forward(actor, x)[1].sum(), actor.flat_parameters(), allow_unused=True
    )
    last = [3, 6, 9]  # range, weight and bias of the output layer
    assert all((g is None) == (i in last) for i, g in enumerate(gradients))


def test_refused_while_statistics_are_collected():
    with pytest.raises(RuntimeError, match="statistics"):
        fast_forward(QuantActor(SPECS[0]), torch.randn(8, 17))


def test_actor_forward_trains_through_the_statistics_phase(monkeypatch):
    shorten_statistics(monkeypatch, 30)
    actor = QuantActor(SPECS[0]).train()
    for _ in range(31):
        actor_forward(actor, torch.randn(32, 17))
    assert actor.calibrated
    u, _ = actor_forward(actor, torch.randn(32, 17))
    assert type(u.grad_fn).__name__ == "_ForwardBackward"


def test_training_on_the_fast_path_learns():
    actor = random_actor(ActorSpec(5, 2, (32, 32), 8, 3, 8)).train()
    optimiser = torch.optim.Adam(actor.parameters(), lr=3e-3)
    x = torch.randn(256, 5)
    target = torch.stack([x[:, 0] - x[:, 1], x[:, 2].abs()], dim=1)
    losses = []
    for _ in range(200):
        loss = (fast_forward(actor, x)[0] - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.15 * losses[0]


def test_a_step_of_a_fused_optimiser_is_seen():
    # Torch's version counters do not see it, which a cache of quantised weights would trust.
    actor = random_actor(SPECS[0]).train()
    optimiser = torch.optim.Adam(actor.parameters(), lr=0.1, fused=True)
    x = torch.randn(2000, 17)
    fast_forward(actor, x)[0].sum().backward()
    optimiser.step()
    x = without_ties(actor, x)
    assert len(x) > 10
    with torch.no_grad():
        assert torch.equal(fast_forward(actor, x)[0], actor(x)[0])
