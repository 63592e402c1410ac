"""Critics of all runs: residual networks with layer normalisation that predict quantiles.

Architecture after BRO (Nauman et al. 2024, arXiv 2405.16158), without learned scales in the
normalisation; quantile regression with pooled, truncated targets after TQC (Kuznetsov et al. 2020,
arXiv 2005.04269). Parameters: ``first`` ``(runs, critics, observations, width)`` by group,
``action`` ``(runs, critics, actions, width)``, ``blocks`` pairs of ``(runs, critics, width,
width)``, ``last`` ``(runs, critics, width, quantiles)`` and a bias each.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient

from qpolicy_training.batched.layout import FIRST, Layout
from qpolicy_training.batched.plan import CriticSize

Params = dict[str, Any]


def init_critics(rng: np.random.Generator, layout: Layout, size: CriticSize) -> Params:
    """New critics, uniform in ``1 / sqrt(fan-in)``."""
    runs, width = layout.runs, size.width

    def draw(fan_in: np.ndarray | int, *shape: int) -> np.ndarray:
        bound = 1.0 / np.sqrt(np.asarray(fan_in, np.float64))
        bound = bound.reshape(-1, *[1] * (len(shape) - 1))
        return (rng.uniform(-1.0, 1.0, shape) * bound).astype(np.float32)

    fan_in = np.array(layout.observations) + np.array(layout.actions)
    first = tuple(
        jnp.asarray(
            draw(fan_in[g.start : g.stop], g.stop - g.start, size.count, g.observations, width)
        )
        for g in layout.groups
    )
    square = (runs, size.count, width, width)
    return {
        FIRST: first,
        "action": jnp.asarray(draw(fan_in, runs, size.count, layout.widest, width)),
        "first_bias": jnp.zeros((runs, size.count, width)),
        "blocks": tuple(jnp.asarray(draw(width, *square)) for _ in range(2 * size.blocks)),
        "block_bias": tuple(jnp.zeros((runs, size.count, width)) for _ in range(2 * size.blocks)),
        "last": jnp.asarray(draw(width, runs, size.count, width, size.quantiles)),
        "last_bias": jnp.zeros((runs, size.count, size.quantiles)),
    }


def quantiles(
    params: Params, xs: list[jax.Array], action: jax.Array, dtype: jnp.dtype
) -> jax.Array:
    """Quantiles of the return, float32 ``(runs, critics, batch, quantiles)``.

    ``xs`` are normalised observations by group, ``action`` ``(runs, batch, actions)``; products
    take inputs of ``dtype``.
    """
    count = params["action"].shape[1]

    def product(x: jax.Array, w: jax.Array) -> jax.Array:
        return jnp.einsum("rcbi,rcio->rcbo", x.astype(dtype), w.astype(dtype))

    def spread(x: jax.Array) -> jax.Array:
        return jnp.broadcast_to(x[:, None], (len(x), count, *x.shape[1:]))

    parts = [product(spread(x), w) for x, w in zip(xs, params[FIRST], strict=True)]
    h = jnp.concatenate(parts) + product(spread(action), params["action"])
    h = jax.nn.relu(_normalise(h, params["first_bias"])).astype(dtype)
    weights, biases = params["blocks"], params["block_bias"]
    for i in range(0, len(weights), 2):
        inner = jax.nn.relu(_normalise(product(h, weights[i]), biases[i])).astype(dtype)
        outer = _normalise(product(inner, weights[i + 1]), biases[i + 1])
        h = (h.astype(jnp.float32) + outer).astype(dtype)
    z = jnp.einsum(
        "rcbi,rcio->rcbo", h, params["last"].astype(dtype), preferred_element_type=jnp.float32
    )
    return z + params["last_bias"][:, :, None]


def _normalise(h: jax.Array, bias: jax.Array) -> jax.Array:
    h = h.astype(jnp.float32) + bias[:, :, None]
    centred = h - h.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


def target_weights(drop_quantiles: np.ndarray, count: int, size: int) -> np.ndarray:
    """Weights ``(runs, count * size)`` of sorted pooled quantiles: the largest are left out.

    ``drop_quantiles`` ``(runs,)`` is how many a critic of ``size`` quantiles.
    """
    kept = count * (size - np.asarray(drop_quantiles))[:, None]
    return ((np.arange(count * size) < kept) / kept).astype(np.float32)


def quantile_loss(
    predicted: jax.Array, target: jax.Array, weights: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Loss whose gradient is that of the quantile Huber loss, and that loss ``(runs,)``.

    ``predicted`` ``(runs, critics, batch, quantiles)``; ``target`` ``(runs, batch, atoms)`` with
    ``weights`` ``(runs, atoms)`` that sum to one. The gradient is written out, so that the pairs
    are met once.
    """
    size = predicted.shape[-1]
    middle = (jnp.arange(size, dtype=jnp.float32) + 0.5) / size
    gap = stop_gradient(target[:, None, :, None, :] - predicted[..., None])
    share = jnp.abs(middle[:, None] - (gap < 0)) * weights[:, None, None, None, :]
    gradient = -(share * jnp.clip(gap, -1.0, 1.0)).sum(-1)
    size_of = jnp.abs(gap)
    huber = jnp.where(size_of <= 1.0, 0.5 * gap**2, size_of - 0.5)
    value = (share * huber).sum(-1).mean((1, 2, 3))
    batch = predicted.shape[2]
    return (stop_gradient(gradient) * predicted).sum() / (batch * math.sqrt(size)), value
