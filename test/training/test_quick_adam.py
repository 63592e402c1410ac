"""`QuickAdam.quick_step` is `torch.optim.Adam`'s step, bit for bit."""

import torch

from qpolicy_training.quant.fan_in import keep_choice
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor
from qpolicy_training.rl.quick_adam import QuickAdam
from qpolicy_training.runs.state import adam_state, restore_adam

SHAPES = ((7, 3), (7,), ())


def tensors() -> list[torch.Tensor]:
    """Parameters, the same at every call."""
    torch.manual_seed(0)
    return [torch.randn(shape, requires_grad=True) for shape in SHAPES]


def give_gradients(parameters: list[torch.Tensor], seed: int, last: bool = True) -> None:
    """New gradients, for the last parameter only if asked for."""
    torch.manual_seed(seed)
    for index, parameter in enumerate(parameters):
        given = last or index + 1 < len(parameters)
        parameter.grad = torch.randn(parameter.shape) if given else None


def assert_same(ours: QuickAdam, peer: torch.optim.Adam) -> None:
    """Parameters and moments are equal."""
    for mine, other in zip(*(o.param_groups[0]["params"] for o in (ours, peer)), strict=True):
        assert torch.equal(mine, other)
    mine, other = adam_state("adam", ours), adam_state("adam", peer)
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[name], other[name]) for name in mine)


def test_steps_are_those_of_torch_with_a_rate_that_changes():
    ours, peer = QuickAdam(tensors(), 1e-2), torch.optim.Adam(tensors(), 1e-2, fused=True)
    for step in range(20):
        for optimiser in (ours, peer):
            give_gradients(optimiser.param_groups[0]["params"], step)
            optimiser.param_groups[0]["lr"] = 1e-2 / (step + 1)
        ours.quick_step()
        peer.step()
    assert_same(ours, peer)


def test_a_parameter_may_get_its_first_gradient_late_and_miss_one():
    ours, peer = QuickAdam(tensors(), 1e-2), torch.optim.Adam(tensors(), 1e-2, fused=True)
    for step in range(12):
        for optimiser in (ours, peer):
            give_gradients(optimiser.param_groups[0]["params"], step, last=step in (4, 5, 9, 10))
        ours.quick_step()
        peer.step()
    assert_same(ours, peer)


def test_it_goes_on_from_a_restored_state():
    ours, peer = QuickAdam(tensors(), 1e-2), torch.optim.Adam(tensors(), 1e-2, fused=True)
    for step in range(6):
        for optimiser in (ours, peer):
            give_gradients(optimiser.param_groups[0]["params"], step)
        ours.quick_step()
        peer.step()
        if step == 2:
            kept = {name: value.clone() for name, value in adam_state("adam", ours).items()}
            restore_adam("adam", ours, kept)
    assert_same(ours, peer)


def test_another_parameter_gets_the_gradient():
    ours, peer = QuickAdam(tensors(), 1e-2), torch.optim.Adam(tensors(), 1e-2, fused=True)
    for step in range(6):
        for optimiser in (ours, peer):
            parameters = optimiser.param_groups[0]["params"]
            give_gradients(parameters, step)
            parameters[step % 2].grad = None
        ours.quick_step()
        peer.step()
    assert_same(ours, peer)


def test_hooks_run():
    """By hooks of the optimiser the inputs that do not count stay at 0."""
    actor = QuantActor(ActorSpec(5, 2, (8, 8), 4, 2, fan_in=(2, 2, 0)))
    optimiser = QuickAdam(actor.parameters(), 1e-2)
    keep_choice(optimiser, actor)
    weight = next(parameter for parameter in actor.parameters() if parameter.shape == (8, 5))
    zeros, before = weight == 0, weight.detach().clone()
    assert zeros.any()
    for _ in range(3):
        for parameter in actor.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimiser.quick_step()
    assert torch.equal(weight == 0, zeros)
    assert not torch.equal(weight, before)
