"""Parts of the batched learner against torch, NumPy and the project's own classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

jax = pytest.importorskip("jax", reason="the extra `batched` is not installed")

import jax.numpy as jnp  # noqa: E402

from qpolicy_training.batched import actor as actors  # noqa: E402
from qpolicy_training.batched.adam import adam, init_adam  # noqa: E402
from qpolicy_training.batched.critic import (  # noqa: E402
    quantile_loss,
    target_weights,
)
from qpolicy_training.batched.layout import Layout, run_of, take_runs  # noqa: E402
from qpolicy_training.batched.replay import (  # noqa: E402
    Transitions,
    init_norm,
    init_replay,
    insert,
    sample,
    tail,
    update_norm,
)
from qpolicy_training.experience.normaliser import RunningNormaliser  # noqa: E402
from qpolicy_training.rl.networks import log_probability_of  # noqa: E402

LAYOUT = Layout((11, 17, 376), (3, 6, 17))


def transitions(number: int, envs: int = 2, layout: Layout = LAYOUT) -> Transitions:
    """A step whose every value is ``number``, padded with zeros."""
    shape = (layout.runs, envs)
    seen = np.zeros((*shape, layout.longest), np.float32)
    for run, size in enumerate(layout.observations):
        seen[run, :, :size] = number
    action = np.full((*shape, layout.widest), number) * layout.action_mask()[:, None]
    reward = np.full(shape, number, np.float32)
    return Transitions(
        jnp.asarray(seen), jnp.asarray(seen + 0.5), jnp.asarray(action, jnp.float32),
        jnp.asarray(reward), jnp.zeros(shape),
    )  # fmt: skip


def test_groups_keep_long_observations_apart():
    assert [(g.start, g.stop, g.observations) for g in LAYOUT.groups] == [(0, 2, 17), (2, 3, 376)]


def test_a_group_in_two_pieces_is_refused():
    with pytest.raises(ValueError, match="not neighbours"):
        _ = Layout((11, 376, 17), (3, 17, 6)).groups


def test_students_take_the_parameters_of_their_parents():
    params = actors.init_actors(np.random.default_rng(0), LAYOUT, [4, 4, 4])
    target = Layout((17, 17, 11, 376), (6, 6, 3, 17))
    taken = take_runs(params, LAYOUT, target, [1, 1, 0, 2])
    for run, parent in enumerate([1, 1, 0, 2]):
        mine, theirs = run_of(taken, target, run), run_of(params, LAYOUT, parent)
        assert np.array_equal(mine["first"], theirs["first"])
        assert np.array_equal(mine["last"], theirs["last"])


def test_log_probability_is_that_of_the_torch_learner():
    rng = np.random.default_rng(0)
    layout = Layout((11,), (3,))
    params = actors.init_actors(rng, layout, [8])
    mean, noise = (rng.standard_normal((1, 5, 3)).astype(np.float32) for _ in range(2))
    features = rng.standard_normal((1, 5, 8)).astype(np.float32)
    _, found = actors.sample(params, mean, features, noise, jnp.ones((1, 3)))
    spread = torch.tensor(np.array(actors.log_std(params, features)))[0]
    before = torch.tensor(mean[0]) + spread.exp() * torch.tensor(noise[0])
    wanted = log_probability_of(before, torch.tensor(noise[0]), spread)
    np.testing.assert_allclose(found[0], wanted.numpy(), rtol=1e-4, atol=1e-4)


def test_padded_actions_do_not_count():
    rng = np.random.default_rng(0)
    params = actors.init_actors(rng, LAYOUT, [8, 8, 8])
    mean, noise = (rng.standard_normal((3, 5, 17)).astype(np.float32) for _ in range(2))
    features = rng.standard_normal((3, 5, 8)).astype(np.float32)
    mask = jnp.asarray(LAYOUT.action_mask())
    action, first = actors.sample(params, mean, features, noise, mask)
    mean[0, :, 3:] = 7.0
    _, second = actors.sample(params, mean, features, noise, mask)
    np.testing.assert_array_equal(first[0], second[0])
    assert not np.any(action[0, :, 3:])


def test_adam_is_torchs():
    rng = np.random.default_rng(0)
    start = rng.standard_normal(7).astype(np.float32)
    theirs = torch.tensor(start, requires_grad=True)
    optimiser = torch.optim.Adam([theirs], 1e-2)
    ours, moments = {"x": jnp.asarray(start)}, init_adam({"x": jnp.asarray(start)})
    for _ in range(5):
        gradient = rng.standard_normal(7).astype(np.float32)
        theirs.grad = torch.tensor(gradient)
        optimiser.step()
        ours, moments = adam(ours, {"x": jnp.asarray(gradient)}, moments, jnp.asarray(1e-2))
    np.testing.assert_allclose(ours["x"], theirs.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_gradient_of_the_quantile_loss_is_that_of_its_value():
    rng = np.random.default_rng(0)
    predicted = jnp.asarray(rng.standard_normal((2, 2, 4, 5)), jnp.float32)
    target = jnp.sort(jnp.asarray(3 * rng.standard_normal((2, 4, 10)), jnp.float32))
    weights = jnp.asarray(target_weights(np.array([0, 2]), 2, 5))
    middle = (jnp.arange(5) + 0.5) / 5

    def plain(predicted: jax.Array) -> jax.Array:
        gap = target[:, None, :, None, :] - predicted[..., None]
        huber = jnp.where(jnp.abs(gap) <= 1, 0.5 * gap**2, jnp.abs(gap) - 0.5)
        share = jnp.abs(middle[:, None] - (jax.lax.stop_gradient(gap) < 0))
        return (share * huber * weights[:, None, None, None]).sum() / (4 * np.sqrt(5))

    ours = jax.grad(lambda p: quantile_loss(p, target, weights)[0])(predicted)
    np.testing.assert_allclose(ours, jax.grad(plain)(predicted), rtol=1e-4, atol=1e-6)


def test_the_largest_quantiles_are_dropped():
    weights = target_weights(np.array([0, 5]), 2, 25)
    np.testing.assert_allclose(weights.sum(1), 1.0, rtol=1e-6)
    assert (weights > 0).sum(1).tolist() == [50, 40]
    assert not weights[1, 40:].any()


def test_statistics_are_those_of_the_running_normaliser():
    rng = np.random.default_rng(0)
    layout = Layout((4, 6), (1, 1))
    norm, wanted = init_norm(layout), RunningNormaliser(4)
    for _ in range(6):
        x = np.zeros((2, 3, 6), np.float32)
        x[0, :, :4] = 5 + 2 * rng.standard_normal((3, 4))
        norm = update_norm(norm, jnp.asarray(x))
        for row in x[0, :, :4]:
            wanted.update(row)
    np.testing.assert_allclose(norm["mean"][0, :4], wanted.mean, rtol=1e-5)
    np.testing.assert_allclose(norm["std"][0, :4], wanted.std, rtol=1e-4)
    assert np.all(norm["std"][0, 4:] == 1.0)


def test_a_ring_overwrites_its_oldest_rows():
    replay = init_replay(LAYOUT, 8)
    for number in range(1, 7):
        replay = insert(LAYOUT, replay, transitions(number))
    norm = init_norm(LAYOUT)
    batch = sample(LAYOUT, replay, norm, jax.random.key(0), 256, 0.0)
    assert sorted(set(np.asarray(batch.reward).ravel().tolist())) == [3.0, 4.0, 5.0, 6.0]
    run, row = 2, 11
    number = float(batch.reward[run, row])
    assert np.all(batch.observation[1][0, row] == number)
    assert np.all(batch.following[1][0, row] == number + 0.5)
    assert not np.any(batch.action[0, :, 3:])


def test_students_begin_with_their_teachers_last_rows():
    replay = init_replay(LAYOUT, 8)
    for number in range(1, 7):
        replay = insert(LAYOUT, replay, transitions(number))
    target = Layout((17, 11, 376), (6, 3, 17))
    young = tail(LAYOUT, target, replay, [1, 0, 2], 16, 4)
    young = insert(target, young, transitions(9, layout=target))
    norm = init_norm(target)
    everything = sample(target, young, norm, jax.random.key(0), 256, 0.0)
    assert sorted(set(np.asarray(everything.reward).ravel().tolist())) == [5.0, 6.0, 9.0]
    own = sample(target, young, norm, jax.random.key(0), 256, 1.0)
    assert np.all(own.reward == 9.0)
