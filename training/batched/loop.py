"""Acting, learning and evaluating at once: while processes simulate, the accelerator learns.

One turn of the loop: what the environments did goes into the replay, the actors choose actions,
updates are queued behind that, and the actions go out while these run. A snapshot of the actors
plays held-out episodes in slots of its own meanwhile; the best snapshots of each run are kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qpolicy_training.batched import actor as actors
from qpolicy_training.batched.layout import Layout, run_of
from qpolicy_training.batched.learn import Setting, State
from qpolicy_training.batched.pool import PhysicsPool
from qpolicy_training.batched.replay import Transitions, insert, normalised, update_norm

COMPETE_SEED = 1_000_000
FINAL_SEED = 2_000_000
KEPT = 4
"""Snapshots that each run keeps."""


@dataclass(order=True)
class Candidate:
    """A snapshot of one run: mean held-out return, when, and its arrays."""

    mean: float
    seconds: float
    updates: int = field(compare=False)
    steps: int = field(compare=False)
    params: Any = field(compare=False, repr=False)
    final: list[float] = field(default_factory=list, compare=False)


@dataclass
class Counts:
    """What the loop has done."""

    turns: int = 0
    steps: int = 0
    updates: int = 0
    calls: int = 1


def act(
    setting: Setting, state: State, played: State, observation: jax.Array, key: jax.Array,
    loudness: jax.Array,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """Actions ``(runs, slots, actions)``: explored by the actors, the mean of what is ``played``.

    ``loudness`` ``(envs,)`` multiplies the exploration of each training slot.
    """
    envs = loudness.shape[0]
    key, used = jax.random.split(jax.random.wrap_key_data(key))
    xs = normalised(setting.layout, state["norm"], observation[:, :envs])
    mean, features = setting.forward(state["actor"], state, xs)
    noise = jax.random.normal(used, mean.shape) * loudness[:, None]
    mask = jnp.asarray(setting.layout.action_mask())
    explored, _ = actors.sample(state["actor"], mean, features, noise, mask)
    xs = normalised(setting.layout, played["norm"], observation[:, envs:])
    mean, _ = setting.forward(played["actor"], played, xs)
    return jnp.concatenate((explored, jnp.tanh(mean)), axis=1), jax.random.key_data(key)


def absorb(
    setting: Setting, state_norm: Any, replay: Any, new: Transitions, *, frozen: bool
) -> tuple[Any, Any]:
    """Replay with ``new`` and, unless ``frozen``, statistics that have seen it."""
    norm = state_norm if frozen else update_norm(state_norm, new.observation)
    return norm, insert(setting.layout, replay, new)


class Session:
    """One phase's runs with their environments."""

    def __init__(
        self, setting: Setting, state: State, replay: Any, pool: PhysicsPool, *, seed: int,
        frozen: bool, most_calls: int, record: Callable[[dict[str, Any]], None],
    ) -> None:  # fmt: skip
        """``frozen``: observation statistics stay; ``record`` takes each evaluation's row."""
        self.setting, self.state, self.replay, self.pool = setting, state, replay, pool
        self.counts = Counts()
        self.candidates: list[list[Candidate]] = [[] for _ in range(setting.layout.runs)]
        self.collecting = True
        self.metrics: dict[str, Any] = {}
        self.loudness = np.ones(pool.envs, np.float32)
        self._rng = np.random.default_rng(seed)
        self._key = jax.random.key_data(jax.random.key(seed + 1))
        self._act = jax.jit(partial(act, setting))
        self._absorb = jax.jit(partial(absorb, setting, frozen=frozen), donate_argnums=(0, 1))
        self._copy = jax.jit(lambda tree: jax.tree.map(lambda x: x + 0, tree))
        self._most_calls, self._record = most_calls, record
        self._began = time.monotonic()
        self._waits = np.zeros(2)
        self._due: Transitions | None = None
        self._playing = False
        self._snapshot()

    def seconds(self) -> float:
        """Since the session was made."""
        return time.monotonic() - self._began

    def turn(self, learn: Callable[[State, Any], Any] | None, updates: int, *,
             random: bool = False, evaluate: bool = True) -> None:  # fmt: skip
        """One step of every environment and, with ``learn``, updates of ``updates`` each call."""
        pool, envs = self.pool, self.pool.envs
        if self._due is not None:
            self.state["norm"], self.replay = self._absorb(
                self.state["norm"], self.replay, self._due
            )
        observation = np.array(pool.observation)
        actions, self._key = self._act(
            {"actor": self.state["actor"], "norm": self.state["norm"], **self._bits()},
            self._played, jax.device_put(observation), self._key, self.loudness,
        )  # fmt: skip
        if learn is not None:
            for _ in range(self.counts.calls):
                self.state, self.metrics = learn(self.state, self.replay)
                self.counts.updates += updates
        before = time.monotonic()
        chosen = np.array(actions)
        if random:
            chosen[:, :envs] = self._rng.uniform(-1.0, 1.0, chosen[:, :envs].shape)
            chosen[:, :envs] *= self.setting.layout.action_mask()[:, None]
        waited = time.monotonic()
        pool.action[:] = chosen
        pool.go()
        gone = time.monotonic()
        pool.wait()
        self._waits += waited - before, time.monotonic() - gone
        self._due = Transitions(
            jax.device_put(observation[:, :envs]),
            jax.device_put(np.array(pool.following[:, :envs])),
            jax.device_put(chosen[:, :envs]),
            jax.device_put(np.array(pool.reward[:, :envs])),
            jax.device_put(np.array(pool.terminated[:, :envs])),
        )
        self.counts.turns += 1
        self.counts.steps += envs
        if evaluate:
            self._evaluate()
        if self.counts.turns % 100 == 0:
            self._balance(learning=learn is not None)

    def _bits(self) -> dict[str, Any]:
        return {"bits": self.state["bits"]} if "bits" in self.state else {}

    def _snapshot(self) -> None:
        norm = {name: self.state["norm"][name] for name in ("mean", "std")}
        played = {"actor": self.state["actor"], "norm": norm, **self._bits()}
        self._played = self._copy(played)

    def _balance(self, *, learning: bool) -> None:
        """More calls a turn while the accelerator idles, fewer while environments wait for it."""
        accelerator, physics = self._waits / 100
        self._waits[:] = 0.0
        if not learning:
            return
        if accelerator < 0.15 * physics:
            self.counts.calls = min(self.counts.calls + 1, self._most_calls)
        elif physics < 0.3 * accelerator:
            self.counts.calls = max(self.counts.calls - 1, 1)
        self.speeds = {"wait_accelerator_ms": 1e3 * accelerator, "wait_physics_ms": 1e3 * physics}

    def _evaluate(self) -> None:
        pool, envs = self.pool, self.pool.envs
        if self._playing:
            if pool.active[:, envs:].any() or (pool.seed[:, envs:] >= 0).any():
                return
            self._close_evaluation(pool.finished[:, envs:].copy(), pool.length[:, envs:].copy())
        self._snapshot()
        self._started = (self.seconds(), self.counts.updates, self.counts.steps)
        pool.seed[:, envs:] = COMPETE_SEED + np.arange(pool.seed.shape[1] - envs)
        self._playing = True

    def _close_evaluation(self, returns: np.ndarray, lengths: np.ndarray) -> None:
        seconds, updates, steps = self._started
        means = returns.mean(1)
        row = {
            "seconds": seconds, "updates": updates, "steps": steps, "returns": means.tolist(),
            "lengths": lengths.mean(1).tolist(), "calls": self.counts.calls,
            **getattr(self, "speeds", {}),
            **{name: np.asarray(value).tolist() for name, value in self.metrics.items()},
        }  # fmt: skip
        self._record(row)
        if not self.collecting:
            return
        host = jax.tree.map(np.asarray, self._played)
        for run, kept in enumerate(self.candidates):
            if not math.isfinite(means[run]):
                continue
            if len(kept) < KEPT or means[run] > kept[-1].mean:
                params = run_of(host["actor"], self.setting.layout, run, np.copy)
                n = self.setting.layout.observations[run]
                params |= {k: host["norm"][k][run, :n].copy() for k in ("mean", "std")}
                kept.append(Candidate(float(means[run]), seconds, updates, steps, params))
                kept.sort(reverse=True)
                del kept[KEPT:]

    def forget(self) -> None:
        """Drop the snapshots so far, and the evaluation that is under way."""
        self.candidates = [[] for _ in self.candidates]
        self.pool.active[:, self.pool.envs :] = 0
        self.pool.seed[:, self.pool.envs :] = -1
        self._playing = False

    def finals(self, episodes: int, deadline: float) -> None:
        """Let each run's snapshots play further held-out episodes, in all slots; best first.

        Stops at ``deadline`` (of ``time.monotonic``) with what has been played till then.
        """
        pool, layout = self.pool, self.setting.layout
        slots = pool.seed.shape[1]
        first = FINAL_SEED
        while first < FINAL_SEED + episodes and time.monotonic() < deadline:
            for place in range(KEPT):
                stack = self._stacked(place)
                pool.active[:] = 0
                pool.seed[:] = first + np.arange(slots)
                pool.go()
                pool.wait()
                while pool.active.any():
                    if time.monotonic() > deadline:
                        return
                    actions = self._means(stack, jax.device_put(np.array(pool.observation)))
                    pool.action[:] = np.asarray(actions)
                    pool.go()
                    pool.wait()
                for run in range(layout.runs):
                    if place < len(self.candidates[run]):
                        self.candidates[run][place].final += pool.finished[run].tolist()
            first += slots

    def _means(self, played: State, observation: jax.Array) -> jax.Array:
        if not hasattr(self, "_means_compiled"):

            def mean(played: State, observation: jax.Array) -> jax.Array:
                xs = normalised(self.setting.layout, played["norm"], observation)
                return jnp.tanh(self.setting.forward(played["actor"], played, xs)[0])

            self._means_compiled = jax.jit(mean)
        return self._means_compiled(played, observation)

    def _stacked(self, place: int) -> State:
        """The snapshots at ``place`` (or the last there is) of all runs, as one stack."""
        played = jax.tree.map(np.array, self._played)
        layout = self.setting.layout
        for run, kept in enumerate(self.candidates):
            if kept:
                put_run(played, layout, run, kept[min(place, len(kept) - 1)].params)
        return jax.device_put(played)


def put_run(played: Any, layout: Layout, run: int, params: Any) -> None:
    """Write one run's snapshot into a stack of arrays on the host."""
    index = next(i for i, g in enumerate(layout.groups) if g.start <= run < g.stop)
    for name, value in params.items():
        if name in ("mean", "std"):
            played["norm"][name][run, : value.size] = value
        elif name == "first":
            played["actor"][name][index][run - layout.groups[index].start] = value
        elif isinstance(value, tuple):
            for target, part in zip(played["actor"][name], value, strict=True):
                target[run] = part
        else:
            played["actor"][name][run] = value
