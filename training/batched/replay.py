"""Replay buffers of all runs in the accelerator's memory, one ring a group of runs.

A row is observation, next observation, action, reward and whether the task ended: packed, so that
sampling is one gather a group. All rings advance together, ``envs`` rows at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from qpolicy_training.batched.layout import Layout

Replay = dict[str, Any]


class Transitions(NamedTuple):
    """One step of every training environment, padded: ``(runs, envs, ...)``."""

    observation: jax.Array
    following: jax.Array
    action: jax.Array
    reward: jax.Array
    terminated: jax.Array


class Batch(NamedTuple):
    """Sampled rows; observations are normalised, by group; the rest ``(runs, batch, ...)``."""

    observation: list[jax.Array]
    following: list[jax.Array]
    action: jax.Array
    reward: jax.Array
    terminated: jax.Array


def init_replay(layout: Layout, rows: int) -> Replay:
    """Empty rings of ``rows`` (a multiple of the environments a run)."""
    return {
        "rows": tuple(
            jnp.zeros((g.stop - g.start, rows, 2 * g.observations + g.actions + 2), jnp.float32)
            for g in layout.groups
        ),
        "written": jnp.zeros((), jnp.int32),
        "own": jnp.zeros((), jnp.int32),
    }


def insert(layout: Layout, replay: Replay, new: Transitions) -> Replay:
    """Write one step of every environment behind the last."""
    envs = new.reward.shape[1]
    rows = replay["rows"][0].shape[1]
    if rows % envs:
        raise ValueError(f"rows: {rows} is no multiple of {envs} environments a run")
    at = replay["written"] % rows
    rings = []
    for g, ring in zip(layout.groups, replay["rows"], strict=True):
        s = slice(g.start, g.stop)
        packed = jnp.concatenate(
            (
                new.observation[s, :, : g.observations],
                new.following[s, :, : g.observations],
                new.action[s, :, : g.actions],
                new.reward[s, :, None],
                new.terminated[s, :, None],
            ),
            axis=-1,
        )
        rings.append(jax.lax.dynamic_update_slice(ring, packed, (0, at, 0)))
    return {
        "rows": tuple(rings),
        "written": replay["written"] + envs,
        "own": replay["own"] + envs,
    }


def sample(
    layout: Layout, replay: Replay, norm: dict[str, jax.Array], key: jax.Array, batch: int,
    share: float,
) -> Batch:  # fmt: skip
    """``batch`` rows a run; ``share`` of them from the rows that the run has written itself."""
    rows = replay["rows"][0].shape[1]
    size = jnp.minimum(replay["written"], rows)
    newest = jnp.clip(replay["own"], 1, size)
    recent = round(batch * share)
    draw = jax.random.uniform(key, (layout.runs, batch))
    back = jnp.where(jnp.arange(batch) < recent, newest, size) * draw
    index = (replay["written"] - 1 - back.astype(jnp.int32)) % rows
    seen, following, action, reward, ended = [], [], [], [], []
    for g, ring in zip(layout.groups, replay["rows"], strict=True):
        n, m = g.observations, g.actions
        taken = jax.vmap(lambda data, i: data[i])(ring, index[g.start : g.stop])
        mean = norm["mean"][g.start : g.stop, None, :n]
        std = norm["std"][g.start : g.stop, None, :n]
        seen.append(_normalised(taken[..., :n], mean, std))
        following.append(_normalised(taken[..., n : 2 * n], mean, std))
        wide = ((0, 0), (0, 0), (0, layout.widest - m))
        action.append(jnp.pad(taken[..., 2 * n : 2 * n + m], wide))
        reward.append(taken[..., -2])
        ended.append(taken[..., -1])
    join = jnp.concatenate
    return Batch(seen, following, join(action), join(reward), join(ended))


CLIP, STD_FLOOR = 10.0, 1e-3  # of RunningNormaliser


def _normalised(x: jax.Array, mean: jax.Array, std: jax.Array) -> jax.Array:
    return jnp.clip((x - mean) / std, -CLIP, CLIP)


def normalised(layout: Layout, norm: dict[str, jax.Array], x: jax.Array) -> list[jax.Array]:
    """Normalised observations by group of padded ones ``(runs, k, longest)``."""
    return layout.split(_normalised(x, norm["mean"][:, None], norm["std"][:, None]))


def init_norm(layout: Layout) -> dict[str, jax.Array]:
    """Running statistics of padded observations, ``(runs, longest)``."""
    zeros = jnp.zeros((layout.runs, layout.longest))
    return {"mean": zeros, "m2": zeros + 0.0, "std": jnp.ones_like(zeros), "count": jnp.zeros(())}


def update_norm(norm: dict[str, jax.Array], x: jax.Array) -> dict[str, jax.Array]:
    """Add observations ``(runs, k, longest)`` to mean and variance (Chan et al. 1983)."""
    count = norm["count"] + x.shape[1]
    mean = x.mean(1)
    gap = mean - norm["mean"]
    share = x.shape[1] / count
    m2 = norm["m2"] + ((x - mean[:, None]) ** 2).sum(1) + gap**2 * norm["count"] * share
    std = jnp.maximum(jnp.sqrt(m2 / count), STD_FLOOR)
    # A padded value is always zero and keeps a standard deviation of one.
    std = jnp.where(m2 + jnp.abs(norm["mean"]) + jnp.abs(mean) == 0.0, 1.0, std)
    return {"mean": norm["mean"] + gap * share, "m2": m2, "std": std, "count": count}


def tail(source: Layout, target: Layout, replay: Replay, parents: Sequence[int], rows: int,
         kept: int) -> Replay:  # fmt: skip
    """Rings of ``rows`` for the runs of ``target`` that begin with their parents' last ``kept``."""
    old = replay["rows"][0].shape[1]
    index = (replay["written"] - kept + jnp.arange(kept)) % old
    rings = []
    for ring, of, to in zip(replay["rows"], source.groups, target.groups, strict=True):
        local = jnp.asarray([parents[i] - of.start for i in range(to.start, to.stop)])
        new = jnp.zeros((len(local), rows, ring.shape[2]), jnp.float32)
        rings.append(new.at[:, :kept].set(ring[local[:, None], index[None]]))
    written = jnp.asarray(kept, jnp.int32)
    return {"rows": tuple(rings), "written": written, "own": jnp.zeros((), jnp.int32)}
