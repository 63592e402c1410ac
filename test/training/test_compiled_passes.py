"""Passes in C: the codes of the integer path, and gradients as near float32's as torch's."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from actor_builders import random_actor

from qpolicy_training.experience.replay import Batch
from qpolicy_training.quant import fast_quant
from qpolicy_training.quant.compiled_actor import CompiledOnce, quantised_once
from qpolicy_training.quant.fast_quant import QuantisedOnce
from qpolicy_training.quant.processor import ACTOR, CRITIC, compiled_passes
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor
from qpolicy_training.rl.compiled_critic import CompiledTwinCritic, flat_twin_critic
from qpolicy_training.rl.config import SacConfig
from qpolicy_training.rl.fast_sac import FastLearner
from qpolicy_training.rl.networks import Fp32Actor, TwinCritic
from qpolicy_training.rl.twin_critic import FlatTwinCritic

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
NEEDED = {"bfloat16": "AVX512-BF16", "float32": "AVX2"}


@pytest.fixture(params=DTYPES)
def dtype(request):
    """Precision of the products of passes in C that this processor runs."""
    if compiled_passes(CRITIC, DTYPES[request.param]) is None:
        pytest.skip(f"needs {NEEDED[request.param]} and a C compiler at installation")
    return DTYPES[request.param]


def compiled_actor(actor: QuantActor, dtype: torch.dtype) -> CompiledOnce:
    return CompiledOnce(actor, dtype, compiled_passes(ACTOR, dtype))


def compiled_critic(critic: TwinCritic, dtype: torch.dtype) -> CompiledTwinCritic:
    return CompiledTwinCritic(critic, dtype, compiled_passes(CRITIC, dtype))


# Odd sizes, the shipped policies', more than one panel, one hidden layer and three.
SPECS = [
    ActorSpec(11, 3, (24, 24), 6, 3, power_of_two=True),
    ActorSpec(11, 3, (16, 16), 6, 2),
    ActorSpec(17, 6, (256, 256), 8, 3),
    ActorSpec(376, 17, (16, 16), 4, 3),
    ActorSpec(9, 5, (40, 72, 33), 8, 7),
    ActorSpec(9, 45, (40,), 8, 8),
]


def apart(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """How far a gradient is off, of its length."""
    return float((found - wanted).norm() / wanted.norm().clamp_min(1e-3))


@pytest.mark.parametrize("spec", SPECS)
def test_codes_are_those_of_the_integer_products(dtype, spec):
    torch.manual_seed(1)
    actor = random_actor(spec)
    compiled, plain = compiled_actor(actor, dtype), QuantisedOnce(actor, dtype)
    with torch.no_grad():
        for rows in (1, 50, 256, 3):
            x = torch.randn(rows, spec.observations) * 3
            assert all(map(torch.equal, compiled.values(x), compiled(x)))
            for ours, theirs in zip(compiled(x), plain(x), strict=True):
                # One rounding of a product that is no integer may fall the other way.
                assert (ours != theirs).float().mean() < 1e-3


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("with_features", [False, True])
def test_gradients_of_the_actor_are_near_those_of_float32(dtype, spec, with_features, monkeypatch):
    # A sum that is 0 lies on the edge of what passes: both add the bias to a sum of integers.
    monkeypatch.setattr(fast_quant, "multiplies_bytes", lambda: True)
    torch.manual_seed(2)
    actor = random_actor(spec)
    x = torch.randn(70, spec.observations) * 2
    d_output = torch.randn(70, spec.actions)
    d_features = torch.randn(70, spec.hidden[-1]) if with_features else None
    found = []
    with torch.no_grad():
        for passes in (QuantisedOnce(actor, torch.float32), compiled_actor(actor, dtype)):
            passes(x)
            passes.backward(d_output, d_features)
            found.append([parameter.grad.clone() for parameter in actor.flat_parameters()])
    ranges = len(spec.hidden) + 2
    for wanted, gradient in zip(found[0][ranges:], found[1][ranges:], strict=True):
        assert apart(gradient, wanted) < 1e-2
    # The gradient of a range is a small difference of large sums.
    assert apart(torch.stack(found[1][:ranges]), torch.stack(found[0][:ranges])) < 5e-2


def test_an_actor_is_packed_again_when_its_parameters_have_changed(dtype):
    actor = random_actor(SPECS[4])
    compiled, x = compiled_actor(actor, dtype), torch.randn(32, 9)
    with torch.no_grad():
        before = compiled(x)[0]
        actor.layers[0].weight.mul_(-1.0)
        assert torch.equal(compiled(x)[0], before)
        compiled.changed()
        assert not torch.equal(compiled(x)[0], before)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize(
    ("observations", "actions", "width", "batch"),
    [(11, 3, 64, 64), (17, 45, 96, 48), (63, 1, 32, 16)],
)
def test_gradients_of_the_critics_are_about_as_near_float32_as_torchs(
    dtype, observations, actions, width, batch, norm
):
    torch.manual_seed(3)
    observation, action = torch.randn(batch, observations), torch.rand(batch, 2 * actions) * 2 - 1
    action = action[:, ::2] if actions == 1 else action[:, :actions]  # rows that do not touch
    d_q = torch.randn(2, batch)
    first = (torch.rand(batch) < 0.5).float()
    chosen = torch.stack((first, 1.0 - first))
    found = []
    with torch.no_grad():
        for kind in ("float32", "torch", "compiled"):
            torch.manual_seed(4)
            critic = TwinCritic(observations, actions, width, norm=norm)
            if kind == "compiled":
                flat = compiled_critic(critic, dtype)
            else:
                flat = FlatTwinCritic(critic, torch.float32 if kind == "float32" else dtype)
            done = flat.forward(observation, action)
            flat.backward(done, d_q)
            found.append((done.q, flat.gradient, flat.action_gradient(done, chosen, actions)))
    exact, torchs, ours = found
    for name, wanted, theirs, gradient in zip(
        ("q", "parameters", "actions"), exact, torchs, ours, strict=True
    ):
        assert apart(gradient, wanted) < 2.0 * apart(theirs, wanted) + 2e-3, name


def test_a_batch_that_no_block_fits_goes_through_torch_and_the_next_one_does_not(dtype):
    torch.manual_seed(5)
    compiled = compiled_critic(TwinCritic(11, 3, 64), dtype)
    torch.manual_seed(5)
    plain = FlatTwinCritic(TwinCritic(11, 3, 64), dtype)
    with torch.no_grad():
        for batch in (32, 30, 16):
            observation, action = torch.randn(batch, 11), torch.rand(batch, 3)
            for flat in (compiled, plain):
                flat.flat.mul_(1.5)
                flat.changed()
            q = compiled.forward(observation, action).q
            expected = plain.forward(observation, action).q
            assert torch.allclose(q, expected, atol=2e-2)


@pytest.mark.parametrize("batch", [32, 30])
def test_values_alone_are_those_of_a_whole_pass_and_leave_the_next_one_whole(dtype, batch):
    def gradients(*, values_first: bool) -> list[torch.Tensor]:
        torch.manual_seed(7)
        critic = compiled_critic(TwinCritic(11, 3, 64, norm=True), dtype)
        observation, action = torch.randn(batch, 11), torch.rand(batch, 3)
        d_q, d_value = torch.randn(2, batch), torch.randn(2, batch)
        found = []
        for _ in range(2):  # the second time around with other parameters
            if values_first:
                found.append(critic.values(observation, action))
            done = critic.forward(observation, action)
            found += [] if values_first else [done.q.clone()]
            critic.backward(done, d_q)
            found += [critic.gradient.clone(), critic.action_gradient(done, d_value, 3)]
            critic.flat.mul_(1.5)
            critic.changed()
        return found

    with torch.no_grad():
        pairs = zip(gradients(values_first=True), gradients(values_first=False), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def test_a_compiled_learner_restored_goes_on_exactly(dtype):
    config = SacConfig(critic_width=64, products="bfloat16")

    def learner() -> FastLearner:
        torch.manual_seed(6)
        return FastLearner(random_actor(SPECS[1]), (11, 3, 16), config, 0, dtype)

    def update(of: FastLearner, step: int) -> float:
        torch.manual_seed(step)
        rows = torch.randn(64, 11)
        return of.update(Batch(rows, torch.rand(64, 3), torch.randn(64), rows + 1, torch.zeros(64)))

    first, second = learner(), learner()
    for step in range(4):
        update(first, step)
    second.restore({name: value.clone() for name, value in first.tensors().items()}, first.updates)
    for step in range(4, 8):
        assert update(first, step) == update(second, step)


def test_what_no_panel_fits_and_other_products_stay_with_torch():
    for dtype in (torch.bfloat16, torch.float32):
        assert type(flat_twin_critic(TwinCritic(11, 3, 48), dtype)) is FlatTwinCritic
        # Sums beyond what float32 holds exactly.
        wide = random_actor(ActorSpec(11, 3, (600,), 8, 8))
        assert type(quantised_once(wide, dtype)) is QuantisedOnce
    assert type(flat_twin_critic(TwinCritic(11, 3, 64), torch.float64)) is FlatTwinCritic
    assert type(quantised_once(random_actor(SPECS[0]), torch.float64)) is QuantisedOnce


def test_a_module_of_other_sources_is_left_alone_and_said(dtype, monkeypatch, capsys):
    module = compiled_passes(CRITIC, dtype)
    old = ModuleType(module.__name__)
    old.__file__, old.available, old.source = module.__file__, 1, "0" * 64
    monkeypatch.setitem(sys.modules, module.__name__, old)
    for _ in range(2):
        assert type(flat_twin_critic(TwinCritic(11, 3, 64), dtype)) is FlatTwinCritic
    said = capsys.readouterr().err
    assert said.count("is not built from the source beside it, so torch takes the passes") == 1
    assert said.endswith("run `pip install -e .` again\n")


def test_without_the_extension_torch_takes_the_passes(monkeypatch):
    for name in DTYPES:
        monkeypatch.setitem(sys.modules, f"{ACTOR}_{name}", None)
        monkeypatch.setitem(sys.modules, f"{CRITIC}_{name}", None)
    for dtype in DTYPES.values():
        assert type(flat_twin_critic(TwinCritic(11, 3, 64), dtype)) is FlatTwinCritic
        assert type(quantised_once(random_actor(SPECS[1]), dtype)) is QuantisedOnce
    FastLearner(Fp32Actor(11, 3, (24, 24)), (11, 3, 24), SacConfig(products="bfloat16"))
