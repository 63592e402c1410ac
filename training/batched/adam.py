"""Adam (Kingma & Ba 2015, arXiv 1412.6980) on trees of arrays, one rate for all runs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

Moments = dict[str, Any]
DECAY, SQUARE_DECAY, EPSILON = 0.9, 0.999, 1e-8


def init_adam(params: Any) -> Moments:
    """Moments of no gradient so far."""
    zeros = jax.tree.map(jnp.zeros_like, params)
    return {"mean": zeros, "square": jax.tree.map(jnp.copy, zeros), "count": jnp.zeros(())}


def adam(params: Any, grads: Any, moments: Moments, rate: jax.Array) -> tuple[Any, Moments]:
    """Parameters and moments after one step."""
    count = moments["count"] + 1.0
    mean = jax.tree.map(lambda m, g: DECAY * m + (1 - DECAY) * g, moments["mean"], grads)
    square = jax.tree.map(
        lambda v, g: SQUARE_DECAY * v + (1 - SQUARE_DECAY) * g * g, moments["square"], grads
    )
    step = rate / (1 - DECAY**count)
    unbias = 1.0 / (1 - SQUARE_DECAY**count)
    new = jax.tree.map(
        lambda p, m, v: p - step * m / (jnp.sqrt(v * unbias) + EPSILON), params, mean, square
    )
    return new, {"mean": mean, "square": square, "count": count}
