"""Regression onto a teacher's actions: its two losses, and what spreads are for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from actor_builders import random_actor

from qpolicy_ros.policy import find_policy, load_policy
from qpolicy_training.quant.fast_quant import fast_forward
from qpolicy_training.quant.quant_actor import ActorSpec
from qpolicy_training.recipes.config import DistillConfig
from qpolicy_training.recipes.regress import Lesson, _divergence, _square, adam, fit
from qpolicy_training.recipes.teacher import Teacher
from qpolicy_training.recipes.teacher_run import Spreads

CHECKPOINT = Path(__file__).parents[2] / "training" / "checkpoints" / "hopper-fp32.safetensors"
SPEC = ActorSpec(4, 2, (16, 16), 8, 4, 8)


def batch(rows=64):
    generator = torch.Generator().manual_seed(3)
    output, meant = (torch.randn(rows, 3, generator=generator) * 2 for _ in range(2))
    spreads = torch.rand(rows, 3, generator=generator) + 0.05
    return output, meant, spreads


def test_the_square_losss_gradient_is_autograds():
    output, meant, _ = batch()
    given = output.clone().requires_grad_()
    wanted = (torch.tanh(given) - torch.tanh(meant)).square().mean()
    loss, gradient = _square(output, torch.tanh(meant))
    assert loss == pytest.approx(wanted.item(), rel=1e-5)
    torch.testing.assert_close(gradient, torch.autograd.grad(wanted, given)[0])


def test_the_divergences_gradient_is_that_of_hubers_loss_in_spreads():
    output, meant, spreads = batch()
    given = output.clone().requires_grad_()
    error = (given - meant) / spreads
    wanted = torch.nn.functional.huber_loss(error, torch.zeros_like(error), delta=4.0)
    loss, gradient = _divergence(output, torch.tanh(meant), spreads)
    assert loss == pytest.approx(wanted.item(), rel=1e-3)
    torch.testing.assert_close(
        gradient, torch.autograd.grad(wanted, given)[0], rtol=1e-3, atol=1e-5
    )


def test_divergence_is_that_of_normal_distributions_where_errors_are_small():
    output, meant, spreads = batch()
    output = meant + 0.3 * spreads
    normal = torch.distributions.Normal
    wanted = torch.distributions.kl_divergence(normal(output, spreads), normal(meant, spreads))
    loss, _ = _divergence(output, torch.tanh(meant), spreads)
    assert loss == pytest.approx(wanted.mean().item(), rel=1e-3)


def test_an_action_at_the_limit_is_no_infinity():
    labels = torch.tensor([[1.0, -1.0]])
    loss, gradient = _divergence(torch.zeros(1, 2), labels, torch.full((1, 2), 0.1))
    assert np.isfinite(loss)
    assert bool(torch.isfinite(gradient).all())


def test_small_spreads_draw_the_students_effort():
    """Two actions that one narrow student cannot both learn: the exact one comes out better."""
    torch.manual_seed(2)
    inputs = torch.randn(2048, SPEC.observations)
    labels = torch.tanh(torch.sin(3 * inputs[:, :2]) + inputs[:, 2:])
    config = DistillConfig(round_updates=600, batch=128, learning_rate=1e-2)
    errors = []
    for exact in range(2):
        spreads = torch.full_like(labels, 1.0)
        spreads[:, exact] = 0.1
        student = random_actor(dataclasses.replace(SPEC, hidden=(8,), b_core=3))
        lesson = Lesson(inputs, labels, spreads)
        fit(student, adam(student, config), lesson, config, np.random.default_rng(0), (0, 1))
        with torch.no_grad():
            error = (torch.tanh(fast_forward(student, inputs)[0]) - labels).square().mean(0)
        errors.append(error)
    assert errors[0][0] < errors[1][0]
    assert errors[1][1] < errors[0][1]


def test_more_of_a_lesson_keeps_its_spreads():
    one = Lesson(torch.zeros(2, 4), torch.zeros(2, 3), torch.ones(2, 3))
    both = one.with_more(one)
    assert [tuple(part.shape) for part in both] == [(4, 4), (4, 3), (4, 3)]
    assert one._replace(spreads=None).with_more(one._replace(spreads=None)).spreads is None


def test_spreads_are_those_of_the_runs_exploration_head():
    spreads = Spreads(CHECKPOINT, "Hopper-v4", (11, 3))
    found = spreads(np.random.default_rng(0).normal(size=(50, 11)).astype(np.float32))
    assert found.shape == (50, 3)
    # The head's range of log standard deviations is -5 to 2.
    assert bool(((found > np.exp(-5)) & (found < np.exp(2))).all())
    assert len(torch.unique(found)) > 50


def test_how_far_a_checkpoint_is_from_its_teacher():
    checkpoint = CHECKPOINT.with_name("halfcheetah-fp32.safetensors")
    spreads = Spreads(checkpoint, "HalfCheetah-v4", (17, 6))
    policy = load_policy(find_policy("halfcheetah/fp32"))
    seen = np.random.default_rng(0).normal(size=(200, 17)).astype(np.float32)
    shares = Teacher.of(policy.baseline).shares(seen)
    assert spreads.difference(seen, shares) < 1e-3, "it is the policy that was shipped"
    assert spreads.difference(seen, -shares) > 2.0
