"""The fast learner follows the rule of the plain one."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from actor_builders import random_actor
from plain_sac import PlainLearner

from qpolicy_ros.policy import PolicyError
from qpolicy_training.experience.replay import Batch
from qpolicy_training.quant.fast_quant import QuantisedOnce, actor_forward, fast_forward
from qpolicy_training.quant.processor import products_dtype
from qpolicy_training.quant.quant_actor import ActorSpec
from qpolicy_training.recipes.teacher import TeacherConfig
from qpolicy_training.recipes.teacher_run import adopt_critics
from qpolicy_training.rl.config import SacConfig
from qpolicy_training.rl.fast_sac import FastLearner
from qpolicy_training.rl.learners import better, make_learner
from qpolicy_training.rl.networks import Fp32Actor, GaussianHead, TwinCritic
from qpolicy_training.rl.twin_critic import FlatTwinCritic
from qpolicy_training.runs.config import config_hash
from qpolicy_training.runs.state import load_state, save_state

# With scales that are powers of two no product is rounded, so no code depends on how it is summed.
SPEC = ActorSpec(11, 3, (24, 24), 6, 3, power_of_two=True)
CONFIG = SacConfig(critic_width=48)
SIZES = (11, 3, 24)


def batch(count: int = 64) -> Batch:
    return Batch(
        observation=torch.randn(count, 11),
        action=torch.rand(count, 3) * 2 - 1,
        reward=torch.randn(count),
        next_observation=torch.randn(count, 11),
        terminated=(torch.rand(count) < 0.1).float(),
    )


def learners(kind: str, config: SacConfig = CONFIG) -> tuple[PlainLearner, FastLearner]:
    """The plain and the fast learner at float32, from the same parameters."""
    made = []
    for build in (PlainLearner, FastLearner):
        torch.manual_seed(7)
        actor = random_actor(SPEC) if kind == "quantised" else Fp32Actor(11, 3, (24, 24))
        more = {"dtype": torch.float32} if build is FastLearner else {}
        made.append(build(actor, SIZES, config, **more))
    plain, fast = made
    if kind == "quantised":
        plain.forward = lambda normalised: actor_forward(plain.actor, normalised)
    fast.restore(plain.tensors(), 0)
    return plain, fast


@pytest.mark.parametrize("width", [48, 64])  # torch takes the critics' passes, or C
@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("kind", ["fp32", "quantised"])
def test_float32_products_follow_the_plain_learner(kind, norm, width):
    config = SacConfig(critic_width=width, critic_norm=norm)
    plain, fast = learners(kind, config)
    # A quantised actor turns a rounding error into another code: compared as long as it has not.
    for step in range(6 if kind == "fp32" else 2):
        torch.manual_seed(step)
        data = batch()
        losses = []
        for learner in (plain, fast):
            torch.manual_seed(100 + step)
            losses.append(learner.update(data))
        assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    found = fast.tensors()
    for name, value in plain.tensors().items():
        if "adam" not in name:
            # Adam divides by the gradient's size: where that is rounding noise, so is the step.
            assert torch.allclose(found[name], value, atol=3e-4), name


@pytest.mark.parametrize("width", [48, 64])
@pytest.mark.parametrize("norm", ["none", "layer"])
def test_scaled_rewards_are_the_same_values_in_another_unit(norm, width, tmp_path):
    """A run may go on from critics of another scale."""
    losses, log_alphas = [], []
    file = tmp_path / "checkpoint.safetensors"
    for scale in (1.0, 0.25):  # a power of two, so nothing is rounded
        torch.manual_seed(7)
        config = SacConfig(critic_width=width, critic_norm=norm, reward_scale=scale)
        learner = FastLearner(Fp32Actor(11, 3, (24, 24)), SIZES, config, dtype=torch.float32)
        assert learner.log_alpha.item() == pytest.approx(math.log(scale))
        if scale == 1.0:
            learner.update(batch())
            save_state(file, learner.tensors(), {"config": {"task": "hopper"}})
        adopt_critics(learner, file, "Hopper-v4", SIZES[:2])
        log_alphas.append(learner.log_alpha.item())
        torch.manual_seed(8)
        learner.actor.load_state_dict(Fp32Actor(11, 3, (24, 24)).state_dict())
        learner.head.load_state_dict(GaussianHead(24, 3).state_dict())
        learner.changed()
        losses.append(learner.update(batch()))
    assert losses[1] == pytest.approx(losses[0] / 16, rel=1e-6)
    assert log_alphas[1] - log_alphas[0] == pytest.approx(math.log(0.25))
    tensors, meta = load_state(file)
    save_state(file, tensors | {"reward_scale": torch.tensor(math.nan)}, meta)
    with pytest.raises(PolicyError, match="reward_scale: nan; give an undamaged checkpoint"):
        adopt_critics(learner, file, "Hopper-v4", SIZES[:2])
    save_state(file, tensors | {"reward_scale": torch.ones(2)}, meta)
    with pytest.raises(PolicyError, match=r"checkpoint\.safetensors"):
        adopt_critics(learner, file, "Hopper-v4", SIZES[:2])


def test_critics_of_the_same_scale_are_taken_bit_for_bit(tmp_path):
    config = SacConfig(critic_width=48, reward_scale=0.1)
    made = [FastLearner(Fp32Actor(11, 3, (24, 24)), SIZES, config) for _ in range(2)]
    file = tmp_path / "checkpoint.safetensors"
    save_state(file, made[0].tensors(), {"config": {"task": "hopper"}})
    adopt_critics(made[1], file, "Hopper-v4", SIZES[:2])
    for ours, theirs in zip(made[1].critic.parameters(), made[0].critic.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("norm", [False, True])
def test_gradients_of_the_critics_equal_autograds(norm):
    torch.manual_seed(1)
    critic = TwinCritic(11, 3, 48, norm=norm)
    data, d_q, d_value = batch(), torch.randn(2, 64), torch.randn(2, 64)
    action = data.action.clone().requires_grad_()
    q = critic(data.observation, action)
    expected = torch.autograd.grad(q, list(critic.parameters()), d_q, retain_graph=True)
    (d_action,) = torch.autograd.grad(q, action, d_value)
    names = [name for name, _ in critic.named_parameters()]
    flat = FlatTwinCritic(critic, torch.float32)
    with torch.no_grad():
        done = flat.forward(data.observation, data.action)
        assert torch.allclose(done.q, q, rtol=1e-5, atol=1e-6)
        flat.backward(done, d_q)
        assert torch.allclose(flat.action_gradient(done, d_value, 3), d_action, atol=1e-5)
        flat.flat.copy_(flat.gradient)  # the critic's parameters are views of it
    for name, wanted, parameter in zip(names, expected, critic.parameters(), strict=True):
        assert torch.allclose(parameter, wanted, rtol=1e-4, atol=1e-4), name


@pytest.mark.parametrize("norm", [False, True])
def test_bfloat16_gradients_are_near(norm):
    torch.manual_seed(1)
    data, d_q = batch(256), torch.randn(2, 256)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(2)
        flat = FlatTwinCritic(TwinCritic(11, 3, 48, norm=norm), dtype)
        with torch.no_grad():
            flat.backward(flat.forward(data.observation, data.action), d_q)
        found.append(flat.gradient)
    assert torch.nn.functional.cosine_similarity(found[0], found[1], dim=0) > 0.999


@pytest.mark.parametrize("b_core", [2, 3, 7, 8])
def test_quantised_forward_is_exact_at_every_precision(b_core):
    actor = random_actor(dataclasses.replace(SPEC, b_in=8, b_core=b_core))
    x = torch.randn(512, 11) * 2
    once = QuantisedOnce(actor, torch.bfloat16)
    with torch.no_grad():
        for ours, theirs in zip(once(x), fast_forward(actor, x), strict=True):
            assert torch.equal(ours, theirs)


def test_new_parameters_are_seen_once_they_are_told():
    actor = random_actor(SPEC)
    once = QuantisedOnce(actor, torch.bfloat16)
    x = torch.randn(64, 11)
    with torch.no_grad():
        once(x)
        actor.layers[0].weight.mul_(-1.0)
        once.changed()
        assert torch.equal(once(x)[0], fast_forward(actor, x)[0])


def test_products_name_the_run_and_the_learner_takes_them():
    fast = dataclasses.replace(CONFIG, products="bfloat16")
    assert config_hash(TeacherConfig("hopper", 1)) == "5acea9d55da3"
    assert config_hash(TeacherConfig("hopper", 1, sac=fast)) != config_hash(
        TeacherConfig("hopper", 1, sac=CONFIG)
    )
    actor = Fp32Actor(11, 3, (24, 24))
    for config in (fast, CONFIG):
        learner = make_learner(actor, SIZES, config)
        assert type(learner) is FastLearner
        assert learner._passes._dtype == products_dtype(config.products)


@pytest.mark.parametrize(
    ("processor", "dtype", "by_bytes"),
    [
        ({"avx512_bf16": True, "avx512_vnni": True}, torch.bfloat16, True),
        ({"avx512_bf16": False, "avx512_vnni": True}, torch.float32, True),
        ({"avx512_bf16": False, "avx512_vnni": False}, torch.float32, False),
    ],
)
def test_products_are_never_emulated(monkeypatch, processor, dtype, by_bytes):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor, raising=False)
    assert products_dtype("float32") == torch.float32
    learner = make_learner(
        Fp32Actor(11, 3, (24, 24)), SIZES, dataclasses.replace(CONFIG, products="bfloat16")
    )
    assert learner._passes._dtype == products_dtype("bfloat16") == dtype
    multiplied = []
    monkeypatch.setattr(torch, "_int_mm", lambda a, b: multiplied.append(a) or a.int() @ b.int())
    actor, x = random_actor(SPEC), torch.randn(64, 11)
    with torch.no_grad():
        action = QuantisedOnce(actor, dtype)(x)[0]
        assert bool(multiplied) == by_bytes
        assert torch.equal(action, fast_forward(actor, x)[0])


def test_a_restored_learner_goes_on_exactly():
    first = FastLearner(random_actor(SPEC), SIZES, CONFIG)
    second = FastLearner(random_actor(SPEC), SIZES, CONFIG)
    for _ in range(4):
        first.update(batch())
    second.restore({name: value.clone() for name, value in first.tensors().items()}, first.updates)
    for step in range(4):
        torch.manual_seed(step)
        data = batch()
        losses = []
        for learner in (first, second):
            torch.manual_seed(50 + step)
            losses.append(learner.update(data))
        assert losses[0] == losses[1]


@pytest.mark.parametrize("build", [PlainLearner, FastLearner])
def test_the_average_is_that_of_the_actors_past_and_resumes(build):
    config = dataclasses.replace(CONFIG, average=4, policy_frequency=1)
    torch.manual_seed(3)
    first = build(Fp32Actor(11, 3, (24, 24)), SIZES, config)
    weight = first.actor.mean.weight
    expected = weight.detach().clone()
    for _ in range(5):
        first.update(batch())
        expected += (weight.detach() - expected) / 4
    second = build(Fp32Actor(11, 3, (24, 24)), SIZES, config)
    second.restore({name: value.clone() for name, value in first.tensors().items()}, first.updates)
    second.swap_average()
    assert torch.allclose(second.actor.mean.weight, expected, atol=1e-6)


@pytest.mark.parametrize(("returns", "kept"), [((1.0, 2.0), "average"), ((2.0, 1.0), "actor")])
def test_the_better_of_actor_and_average_is_kept_and_training_goes_on_with_the_actor(returns, kept):
    learner = PlainLearner(
        Fp32Actor(11, 3, (24, 24)), SIZES, dataclasses.replace(CONFIG, average=4)
    )
    learner.average = [mean + 1.0 for mean in learner.average]
    own = learner.actor.mean.bias.detach().clone()
    scores = iter(returns)
    with better(learner, lambda: next(scores)) as mean:
        assert mean == 2.0
        shown = learner.actor.mean.bias.detach().clone()
    assert torch.equal(shown, own + 1.0 if kept == "average" else own)
    assert torch.equal(learner.actor.mean.bias, own)
    assert torch.equal(learner.average[-1], own + 1.0)


def test_without_an_average_the_actor_alone_plays():
    learner = make_learner(Fp32Actor(11, 3, (24, 24)), SIZES, CONFIG)
    with better(learner, lambda: 5.0) as mean:
        assert mean == 5.0
