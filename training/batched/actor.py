"""Actors of all runs: plain ReLU networks (teachers) and quantised ones (students).

Parameters of a stack of actors with two hidden layers, ``H`` the largest width::

    first   tuple over groups, (runs, observations, H)
    hidden  (runs, H, H)        last    (runs, H, actions)
    bias    three arrays        head_w, head_b   exploration, (runs, H, actions) and (runs, actions)
    range   (runs, 4)           quantised only: of input, both hidden layers, output

The quantised pass is that of ``quant_actor.py`` (narrow-range weights with the scale of their
largest magnitude, learned ranges of activations) with the gradients of ``fast_quant.py``. It is
taken on codes, so it is exact in float32, tensorfloat32 and, up to 8 bits, bfloat16. Units beyond a
student's width have zero weights at both ends; their gradients are zero, so they stay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import stop_gradient

from qpolicy_training.batched.layout import FIRST, Layout

LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0
SMALLEST_RANGE = 1e-10
Params = dict[str, Any]


class Bits(NamedTuple):
    """Bit-widths of every run, float32 ``(runs,)``: input, weights and hidden layers, output."""

    input: jax.Array
    core: jax.Array
    output: jax.Array


def init_actors(rng: np.random.Generator, layout: Layout, widths: Sequence[int]) -> Params:
    """New actors, uniform in ``1 / sqrt(fan-in)`` as torch has it; ``widths`` of each run."""
    size, actions = max(widths), layout.widest
    shapes = {"hidden": (size, size), "last": (size, actions), "head_w": (size, actions)}
    arrays = {n: np.zeros((layout.runs, *s), np.float32) for n, s in shapes.items()}
    first = [np.zeros((g.stop - g.start, g.observations, size), np.float32) for g in layout.groups]
    bias = [np.zeros((layout.runs, n), np.float32) for n in (size, size, actions)]

    def draw(fan_in: int, *shape: int) -> np.ndarray:
        bound = 1.0 / math.sqrt(fan_in)
        return rng.uniform(-bound, bound, shape).astype(np.float32)

    for run, width in enumerate(widths):
        n, m = layout.observations[run], layout.actions[run]
        index = next(i for i, g in enumerate(layout.groups) if g.start <= run < g.stop)
        first[index][run - layout.groups[index].start, :n, :width] = draw(n, n, width)
        arrays["hidden"][run, :width, :width] = draw(width, width, width)
        arrays["last"][run, :width, :m] = draw(width, width, m)
        arrays["head_w"][run, :width, :m] = draw(width, width, m)
        bias[0][run, :width] = draw(n, width)
        bias[1][run, :width] = draw(width, width)
        bias[2][run, :m] = draw(width, m)
    return {
        FIRST: tuple(jnp.asarray(w) for w in first),
        **{name: jnp.asarray(value) for name, value in arrays.items()},
        "bias": tuple(jnp.asarray(b) for b in bias),
        "head_b": jnp.zeros((layout.runs, actions)),
    }


def plain(params: Params, xs: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Pre-tanh means ``(runs, batch, actions)`` and features ``(runs, batch, H)``.

    ``xs`` are normalised observations ``(runs, batch, n)``, one array a group.
    """
    b = [bias[:, None] for bias in params["bias"]]
    first = [jnp.einsum("rbn,rnh->rbh", x, w) for x, w in zip(xs, params[FIRST], strict=True)]
    h = jax.nn.relu(jnp.concatenate(first) + b[0])
    h = jax.nn.relu(jnp.einsum("rbh,rhk->rbk", h, params["hidden"]) + b[1])
    return jnp.einsum("rbh,rhm->rbm", h, params["last"]) + b[2], h


def quantised(params: Params, bits: Bits, xs: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """``plain`` of the quantised actors: both results are codes times their step."""
    steps = _activation_steps(params["range"], bits)
    sizes = [len(x) for x in xs]
    per_group = [np.cumsum([0, *sizes])[i : i + 2] for i in range(len(sizes))]
    top = 2.0 ** (bits.input - 1)
    sums, scales = [], []
    for x, w, (start, stop) in zip(xs, params[FIRST], per_group, strict=True):
        codes = _signed(x / steps[0][start:stop], _wide(top[start:stop]))
        weight, scale = _weight(w, bits.core[start:stop])
        sums.append(jnp.einsum("rbn,rnh->rbh", codes, weight))
        scales.append(scale)
    h = _affine(jnp.concatenate(sums), steps[0], jnp.concatenate(scales), params["bias"][0])
    levels = _wide(2.0**bits.core - 1)
    codes = _unsigned(h / steps[1], levels)
    weight, scale = _weight(params["hidden"], bits.core)
    h = _affine(jnp.einsum("rbh,rhk->rbk", codes, weight), steps[1], scale, params["bias"][1])
    codes = _unsigned(h / steps[2], levels)
    features = codes * steps[2]
    weight, scale = _weight(params["last"], bits.core)
    u = _affine(jnp.einsum("rbh,rhm->rbm", codes, weight), steps[2], scale, params["bias"][2])
    return _signed(u / steps[3], _wide(2.0 ** (bits.output - 1))) * steps[3], features


def sample(
    params: Params, mean: jax.Array, features: jax.Array, noise: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Squashed-Gaussian actions ``(runs, batch, actions)`` and log-probabilities ``(runs, batch)``.

    ``noise`` is standard normal; ``mask`` ``(runs, actions)`` the values that a run has.
    """
    std_log = log_std(params, features)
    pre_tanh = mean + jnp.exp(std_log) * noise
    gaussian = -0.5 * noise**2 - std_log - 0.5 * math.log(2 * math.pi)
    slope = 2.0 * (math.log(2.0) - pre_tanh - jax.nn.softplus(-2.0 * pre_tanh))
    keep = mask[:, None]
    return jnp.tanh(pre_tanh) * keep, ((gaussian - slope) * keep).sum(-1)


def log_std(params: Params, features: jax.Array) -> jax.Array:
    """Log standard deviation of exploration, ``(runs, batch, actions)``."""
    raw = jnp.einsum("rbh,rhm->rbm", features, params["head_w"]) + params["head_b"][:, None]
    return LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (jnp.tanh(raw) + 1.0)


def requantise(params: Params, bits: Bits, changed: jax.Array, xs: list[jax.Array]) -> Params:
    """New bit-widths for the runs ``changed``, bool ``(runs,)``; the others keep all they have.

    Weights are clipped to the range with the least error at their bits, then activation ranges are
    fitted on normalised observations ``xs``, from the input to the output.
    """
    count = [len(x) for x in xs]
    edges = np.cumsum([0, *count])
    new = dict(params)
    new[FIRST] = tuple(
        _clip_weights(w, bits.core[a:b], changed[a:b])
        for w, a, b in zip(params[FIRST], edges[:-1], edges[1:], strict=True)
    )
    for name in ("hidden", "last"):
        new[name] = _clip_weights(params[name], bits.core, changed)
    ranges = params.get("range", jnp.ones((len(changed), 4)))
    top, levels = 2.0 ** (bits.input - 1), 2.0**bits.core - 1
    fitted = [
        _fit_range(x, top[a:b], top[a:b] - 1, top[a:b])
        for x, a, b in zip(xs, edges[:-1], edges[1:], strict=True)
    ]
    ranges = ranges.at[:, 0].set(jnp.where(changed, jnp.concatenate(fitted), ranges[:, 0]))
    for layer in (1, 2, 3):
        h = _before(new | {"range": ranges}, bits, xs, layer)
        if layer < 3:
            best = _fit_range(jax.nn.relu(h), jnp.zeros_like(levels), levels, levels)
        else:
            out = 2.0 ** (bits.output - 1)
            best = _fit_range(h, out, out - 1, out)
        ranges = ranges.at[:, layer].set(jnp.where(changed, best, ranges[:, layer]))
    return new | {"range": ranges}


def _before(params: Params, bits: Bits, xs: list[jax.Array], layer: int) -> jax.Array:
    """Sums of a layer (1 to 3), in float, before its quantiser."""
    steps = _activation_steps(params["range"], bits)
    edges = np.cumsum([0, *[len(x) for x in xs]])
    top = 2.0 ** (bits.input - 1)
    parts, scales = [], []
    for x, w, a, b in zip(xs, params[FIRST], edges[:-1], edges[1:], strict=True):
        weight, scale = _weight(w, bits.core[a:b])
        codes = _signed(x / steps[0][a:b], _wide(top[a:b]))
        parts.append(jnp.einsum("rbn,rnh->rbh", codes, weight))
        scales.append(scale)
    h = _affine(jnp.concatenate(parts), steps[0], jnp.concatenate(scales), params["bias"][0])
    for i, name in ((1, "hidden"), (2, "last")):
        if layer == i:
            return h
        codes = _unsigned(h / steps[i], _wide(2.0**bits.core - 1))
        weight, scale = _weight(params[name], bits.core)
        h = _affine(jnp.einsum("rbh,rhk->rbk", codes, weight), steps[i], scale, params["bias"][i])
    return h


def _wide(values: jax.Array) -> jax.Array:
    return values[:, None, None]


def _activation_steps(ranges: jax.Array, bits: Bits) -> list[jax.Array]:
    core = 2.0**bits.core - 1
    levels = jnp.stack([2.0 ** (bits.input - 1), core, core, 2.0 ** (bits.output - 1)], axis=1)
    steps = jnp.maximum(jnp.abs(ranges), SMALLEST_RANGE) / levels
    return [_wide(steps[:, i]) for i in range(4)]


def _passed(scaled: jax.Array, codes: jax.Array, mask: jax.Array) -> jax.Array:
    """``codes``, with the gradient of ``scaled`` where ``mask``."""
    through = jnp.where(mask, scaled, 0.0)
    return stop_gradient(codes - through) + through


def _signed(scaled: jax.Array, top: jax.Array) -> jax.Array:
    codes = jnp.clip(jnp.round(scaled), -top, top - 1)
    return _passed(scaled, codes, (scaled >= -top - 0.5) & (scaled < top - 0.5))


def _unsigned(scaled: jax.Array, levels: jax.Array) -> jax.Array:
    codes = jnp.clip(jnp.round(scaled), 0.0, levels)
    return _passed(scaled, codes, (scaled > 0.0) & (scaled < levels + 0.5))


def _weight(w: jax.Array, bits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Codes of weights ``(runs, in, out)`` and their step ``(runs, 1, 1)``."""
    largest = jnp.maximum(jnp.abs(w).max(axis=(1, 2), keepdims=True), SMALLEST_RANGE)
    scale = largest / _wide(2.0 ** (bits - 1) - 1)
    scaled = w / scale
    return _passed(scaled, jnp.round(scaled), jnp.ones_like(scaled, bool)), scale


def _affine(sums: jax.Array, step: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """Sums of codes in float, with the bias rounded to the accumulator's step."""
    unit = step * scale
    scaled = bias[:, None] / unit
    codes = jnp.clip(jnp.round(scaled), -(2.0**31), 2.0**31)
    return (sums + _passed(scaled, codes, jnp.ones_like(scaled, bool))) * unit


def _clip_weights(w: jax.Array, bits: jax.Array, changed: jax.Array) -> jax.Array:
    largest = jnp.abs(w).max(axis=(1, 2), keepdims=True)
    factors = jnp.linspace(0.2, 1.0, 33)

    def error(factor: jax.Array) -> jax.Array:
        clipped = jnp.clip(w, -largest * factor, largest * factor)
        codes, scale = _weight(clipped, bits)
        return ((codes * scale - w) ** 2).sum((1, 2))

    best = factors[jnp.argmin(jax.lax.map(error, factors), axis=0)]
    limit = largest * _wide(jnp.where(changed, best, 1.0))
    return jnp.clip(w, -limit, limit)


def _fit_range(v: jax.Array, low: jax.Array, high: jax.Array, levels: jax.Array) -> jax.Array:
    """Range with the least squared error on values ``(runs, samples, k)``."""
    largest = jnp.maximum(jnp.abs(v).max(axis=(1, 2)), 1e-6)
    factors = jnp.linspace(0.1, 1.0, 37)

    def error(factor: jax.Array) -> jax.Array:
        step = _wide(largest * factor / levels)
        codes = jnp.clip(jnp.round(v / step), -_wide(low), _wide(high))
        return ((codes * step - v) ** 2).sum((1, 2))

    return largest * factors[jnp.argmin(jax.lax.map(error, factors), axis=0)]
