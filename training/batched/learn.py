"""What one update of all runs is: soft actor-critic with quantile critics, and distillation.

Haarnoja et al. 2018 (arXiv 1812.05905) with the critics of ``critic.py``. Everything is a pure
function of arrays; the loop compiles it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient

from qpolicy_training.batched import actor as actors
from qpolicy_training.batched.adam import adam, init_adam
from qpolicy_training.batched.critic import (
    init_critics,
    quantile_loss,
    quantiles,
    target_weights,
)
from qpolicy_training.batched.layout import Layout
from qpolicy_training.batched.plan import CriticSize, TaskSettings
from qpolicy_training.batched.replay import Batch, init_norm, sample

State = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What an update knows beside its arrays."""

    layout: Layout
    tasks: tuple[TaskSettings, ...]
    """Of each run."""
    critic: CriticSize
    batch: int
    own_share: float
    """Share of a batch from the run's own rows, the newest; the rest is uniform."""
    dtype: Any
    """Of the inputs of the critics' products."""
    quantised: bool
    tau: float = 0.005

    def forward(self, params: actors.Params, state: State, xs: list[jax.Array]) -> Any:
        """Means and features of the actors, quantised or not."""
        if self.quantised:
            return actors.quantised(params, actors.Bits(*state["bits"]), xs)
        return actors.plain(params, xs)

    def values(self, field: str) -> jax.Array:
        """A field of every run's task settings, float32 ``(runs,)``."""
        return jnp.asarray([getattr(t, field) for t in self.tasks], jnp.float32)


def init_state(setting: Setting, widths: Sequence[int], seed: int) -> State:
    """New actors, critics, optimisers and statistics."""
    rng = np.random.default_rng(seed)
    layout = setting.layout
    actor = actors.init_actors(rng, layout, widths)
    critic = init_critics(rng, layout, setting.critic)
    log_alpha = jnp.log(0.3 * setting.values("reward_scale"))
    return {
        "actor": actor,
        "actor_adam": init_adam(actor),
        "critic": critic,
        "critic_adam": init_adam(critic),
        "target": jax.tree.map(jnp.copy, critic),
        "log_alpha": log_alpha,
        "alpha_adam": init_adam(log_alpha),
        "norm": init_norm(layout),
        "key": jax.random.key_data(jax.random.key(seed)),
    }


def reinforce(
    setting: Setting, updates: int, state: State, replay: Any, rates: jax.Array
) -> tuple[State, dict[str, jax.Array]]:
    """``updates`` (even) critic updates and half as many of the actor.

    ``rates``: of actor, critic and temperature; a rate of zero leaves that part as it is.
    Metrics are those of the last update, ``(runs,)`` each.
    """

    def pair(carry: State, key: jax.Array) -> tuple[State, dict[str, jax.Array]]:
        keys = jax.random.split(key, 5)
        layout, share = setting.layout, setting.own_share
        for i in (0, 2):
            batch = sample(layout, replay, carry["norm"], keys[i], setting.batch, share)
            carry, loss = _critic_update(setting, carry, batch, keys[i + 1], rates)
        carry, metrics = _actor_update(setting, carry, batch, keys[4], rates)
        return carry, metrics | {"critic_loss": loss}

    return _scan(pair, state, updates // 2)


def distil(
    setting: Setting, updates: int, state: State, replay: Any, teacher: actors.Params,
    rate: jax.Array,
) -> tuple[State, dict[str, jax.Array]]:  # fmt: skip
    """``updates`` steps of regression onto the teachers' actions and exploration."""
    mask = jnp.asarray(setting.layout.action_mask())[:, None]
    actions = mask.sum(-1)

    def step(carry: State, key: jax.Array) -> tuple[State, dict[str, jax.Array]]:
        batch = sample(setting.layout, replay, carry["norm"], key, setting.batch, setting.own_share)
        mean, features = actors.plain(teacher, batch.observation)
        wanted, spread = jnp.tanh(mean), actors.log_std(teacher, features)

        def loss(params: actors.Params) -> tuple[jax.Array, jax.Array]:
            mean, features = setting.forward(params, carry, batch.observation)
            error = ((jnp.tanh(mean) - wanted) ** 2 * mask).sum(-1) / actions
            own = actors.log_std(params, stop_gradient(features))
            return (error + 0.1 * ((own - spread) ** 2 * mask).sum(-1) / actions).mean(1).sum(), (
                error.mean(1)
            )

        grads, error = jax.grad(loss, has_aux=True)(carry["actor"])
        params, moments = adam(carry["actor"], grads, carry["actor_adam"], rate)
        return carry | {"actor": params, "actor_adam": moments}, {"distil_loss": error}

    return _scan(step, state, updates)


def _scan(step: Any, state: State, count: int) -> tuple[State, dict[str, jax.Array]]:
    keys = jax.random.split(jax.random.wrap_key_data(state["key"]), count + 1)
    state, metrics = jax.lax.scan(step, state, keys[1:])
    last = jax.tree.map(lambda x: x[-1], metrics)
    return state | {"key": jax.random.key_data(keys[0])}, last


def _critic_update(
    setting: Setting, state: State, batch: Batch, key: jax.Array, rates: jax.Array
) -> tuple[State, jax.Array]:
    layout, size = setting.layout, setting.critic
    mask = jnp.asarray(layout.action_mask())
    mean, features = setting.forward(state["actor"], state, batch.following)
    noise = jax.random.normal(key, mean.shape)
    action, log_probability = actors.sample(state["actor"], mean, features, noise, mask)
    z = quantiles(state["target"], batch.following, action, setting.dtype)
    atoms = jnp.sort(jnp.moveaxis(z, 1, 2).reshape(layout.runs, setting.batch, -1), axis=-1)
    dropped = np.array([t.drop_quantiles for t in setting.tasks])
    weights = jnp.asarray(target_weights(dropped, size.count, size.quantiles))
    entropy = jnp.exp(state["log_alpha"])[:, None] * log_probability
    future = setting.values("gamma")[:, None] * (1.0 - batch.terminated)
    reward = batch.reward * setting.values("reward_scale")[:, None]
    target = stop_gradient(reward[..., None] + future[..., None] * (atoms - entropy[..., None]))

    def loss(params: Any) -> tuple[jax.Array, jax.Array]:
        predicted = quantiles(params, batch.observation, batch.action, setting.dtype)
        return quantile_loss(predicted, target, weights)

    grads, value = jax.grad(loss, has_aux=True)(state["critic"])
    critic, moments = adam(state["critic"], grads, state["critic_adam"], rates[1])
    moved = jax.tree.map(lambda t, c: t + setting.tau * (c - t), state["target"], critic)
    return state | {"critic": critic, "critic_adam": moments, "target": moved}, value


def _actor_update(
    setting: Setting, state: State, batch: Batch, key: jax.Array, rates: jax.Array
) -> tuple[State, dict[str, jax.Array]]:
    mask = jnp.asarray(setting.layout.action_mask())
    alpha = jnp.exp(state["log_alpha"])

    def loss(params: actors.Params) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        mean, features = setting.forward(params, state, batch.observation)
        noise = jax.random.normal(key, mean.shape)
        action, log_probability = actors.sample(params, mean, features, noise, mask)
        q = quantiles(state["critic"], batch.observation, action, setting.dtype).mean((1, 3))
        total = (alpha[:, None] * log_probability - q).mean(1)
        return total.sum(), (log_probability.mean(1), q.mean(1))

    grads, (log_probability, q) = jax.grad(loss, has_aux=True)(state["actor"])
    actor, moments = adam(state["actor"], grads, state["actor_adam"], rates[0])
    # The temperature's gradient: entropy above its target of -m lowers it.
    gap = log_probability - mask.sum(1) * setting.values("entropy")
    log_alpha, alpha_moments = adam(state["log_alpha"], -alpha * gap, state["alpha_adam"], rates[2])
    metrics = {"q": q, "entropy": -log_probability, "alpha": alpha}
    changed = {"actor": actor, "actor_adam": moments, "log_alpha": log_alpha}
    return state | changed | {"alpha_adam": alpha_moments}, metrics
