"""Direct search: small random changes of a quantised student, kept where its integers play better.

The last step for small networks, which have few hundred weights and play an episode in a twentieth
of a second: no gradient, no critic, no exploration noise, what is measured is what ships. A change
of one proposal is a handful of: biases moved, an input scaled or shifted, a range scaled, a
weight one code up or down. It plays a short piece of an episode, then more and more episodes on
the seeds that the best so far has played, and drops out as soon as it is behind. What was kept is
tried once more in the same direction. Seeds change every few changes kept, so that nobody stays
who was lucky on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from qpolicy_training.experience.normaliser import RunningNormaliser
from qpolicy_training.quant.fast_quant import activation_step, weight_step
from qpolicy_training.quant.integer_policy import integer_policy
from qpolicy_training.quant.quant_actor import QuantActor
from qpolicy_training.recipes.config import SearchConfig
from qpolicy_training.runs.checkpoint import CHECKPOINT_SECONDS, require_own
from qpolicy_training.runs.folder import Run
from qpolicy_training.runs.state import load_state, restoring, save_state

if TYPE_CHECKING:  # a student of a recording needs no simulator
    from qpolicy_ros.sim.environment import Simulated
    from qpolicy_ros.sim.rollout import Policy
    from qpolicy_training.experience.task_env import TrainingEnv

SEARCH_SEED = 6_000_000
_SEEDS_APART = 10_000  # from one set of episodes to the next
_ENDLESS = 1_000_000  # steps of an episode that ends by itself
_SHORT = 4  # the first test is this part of an episode
_KEPT = 6  # changes kept before the episodes change
_KINDS = ("bias", "input", "range", "weight")
_SHARES = (0.4, 0.2, 0.1, 0.3)
_GROWTH, _DECAY, _LEAST, _MOST = 1.3, 0.985, 0.01, 1.0

Point = list[np.ndarray]
"""Ranges, weights and biases as ``flat_parameters`` has them, then mean and std of the input."""


class _Search:
    """The best point so far, how it plays, and how far changes go."""

    def __init__(
        self,
        actor: QuantActor,
        normaliser: RunningNormaliser,
        env: TrainingEnv,
        simulation: Simulated,
        config: SearchConfig,
    ) -> None:
        self._actor, self._env, self._simulation, self._config = actor, env, simulation, config
        self._parameters = actor.flat_parameters()
        self._layers = len(actor.spec.hidden) + 1
        self.best: Point = [p.detach().numpy().copy() for p in self._parameters]
        self.best += [normaliser.mean.copy(), normaliser.std.copy()]
        self.direction: Point | None = None
        self.reach = {"bias": 0.4, "input": 0.08, "range": 0.06}
        self.kept = 0
        self._won: tuple[float, list[list[float]]] = (0.0, [])  # what the last winner played
        self.measure()

    def measure(self) -> None:
        """Play the best point on the episodes of now."""
        first = SEARCH_SEED + _SEEDS_APART * (self.kept // _KEPT)
        count = self._config.episodes
        cuts = [max(count // 16, 1), max(count // 4, 2), max(count, 3)]
        self._rungs = [
            range(first + low, first + high)
            for low, high in zip([0, *cuts[:-1]], cuts, strict=True)
        ]
        policy = self.policy(self.best)
        self._short = self._piece(policy)
        self._returns = [self._play(policy, seeds) for seeds in self._rungs]

    def policy(self, point: Point) -> Policy:
        """The integer engine of ``point``."""
        with torch.no_grad():
            for parameter, value in zip(self._parameters, point, strict=False):
                parameter.copy_(torch.from_numpy(value))
        normaliser = RunningNormaliser.fixed(point[-2], point[-1])
        return integer_policy(self._actor, normaliser, self._env)

    def _play(self, policy: Policy, seeds: range) -> list[float]:
        return [_episode(policy, self._simulation, seed) for seed in seeds]

    def _piece(self, policy: Policy) -> float:
        """Return of the first part of the first episode."""
        steps = (self._simulation.step_limit or _ENDLESS) // _SHORT
        return _episode(policy, self._simulation, self._rungs[0][0], steps)

    def propose(self, rng: np.random.Generator) -> tuple[Point, set[str]]:
        """A change of the best point, and which kinds of change are in it."""
        if self.direction is not None:
            step, self.direction = self.direction, None
            return [np.asarray(a + b, a.dtype) for a, b in zip(self.best, step, strict=True)], set()
        point = [value.copy() for value in self.best]
        kinds = rng.choice(_KINDS, rng.integers(1, 5), p=_SHARES).tolist()
        for kind in kinds:
            self._change(point, kind, rng)
        return point, set(kinds)

    def _change(self, point: Point, kind: str, rng: np.random.Generator) -> None:
        layers, spec = self._layers, self._actor.spec
        layer, pot = int(rng.integers(layers)), spec.power_of_two
        if kind == "bias":
            bits = spec.b_out if layer == layers - 1 else spec.b_core
            step = activation_step(
                float(point[layer + 1]), bits, signed=layer == layers - 1, power_of_two=pot
            )
            values = point[2 * layers + 1 + layer]
            chosen = rng.random(values.size) < rng.choice([1 / values.size, 0.05, 0.3])
            values += chosen * rng.normal(size=values.size) * self.reach[kind] * step.size
        elif kind == "input":
            place = int(rng.integers(point[-1].size))
            change = rng.normal() * self.reach[kind]
            if rng.random() < 0.5:
                point[-1][place] *= np.exp(change)
            else:
                point[-2][place] += change * point[-1][place]
        elif kind == "range":
            place = int(rng.integers(layers + 1))
            scale = np.exp(rng.normal() * self.reach[kind])
            point[place] = np.asarray(point[place] * scale, np.float32)
        else:
            weights = point[layers + 1 + layer]
            largest = float(np.abs(weights).max())
            step = weight_step(largest, spec.b_core, power_of_two=pot)
            levels = 2 ** (spec.b_core - 1) - 1
            at = tuple(int(rng.integers(size)) for size in weights.shape)
            code = np.rint(weights[at] / step.size) + rng.choice([-1, 1])
            alone = np.count_nonzero(np.abs(weights) == largest) == 1
            if not (alone and abs(weights[at]) == largest):  # that one sets the step
                weights[at] = np.clip(code, -levels, levels) * step.size
                self._limit(weights[at[0]], at[1], layer, largest if alone else None, rng)

    def _limit(
        self,
        row: np.ndarray,
        new: int,
        layer: int,
        kept: float | None,
        rng: np.random.Generator,
    ) -> None:
        """Drop an input of a neuron that has one too many since it has ``new``.

        The weight of magnitude ``kept`` sets the step and stays.
        """
        most = self._actor.spec.fan_in[layer] if self._actor.spec.fan_in else 0
        used = np.flatnonzero(row)
        if most and used.size > most:
            others = [int(at) for at in used if at != new and abs(row[at]) != kept]
            row[rng.choice(others or [new])] = 0.0

    def better(self, point: Point) -> bool:
        """Whether ``point`` beats the best; what it played is kept where it does."""
        policy = self.policy(point)
        piece = self._piece(policy)
        if piece < self._short - abs(self._short) / 100:
            return False
        played: list[list[float]] = []
        for index, seeds in enumerate(self._rungs):
            played.append(self._play(policy, seeds))
            ours, best = np.concatenate(played), np.concatenate(self._returns[: index + 1])
            # Rungs allow for the noise of few episodes; the last asks for a little more than none.
            slack = (-1e-3, -3e-4, 3e-4)[index] * abs(float(best.mean()))
            if ours.mean() <= best.mean() + slack:
                return False
        self._won = piece, played
        return True

    def keep(self, point: Point, kinds: set[str]) -> None:
        """Take ``point``, which was ``better``, for the best."""
        weights = range(self._layers + 1, 2 * self._layers + 1)
        self.direction = [
            np.zeros_like(new) if index in weights else np.asarray(new - old, new.dtype)
            for index, (new, old) in enumerate(zip(point, self.best, strict=True))
        ]
        self.best = point
        self.kept += 1
        self.spread(kinds, _GROWTH)
        if self.kept % _KEPT:
            self._short, self._returns = self._won
        else:
            self.measure()

    def spread(self, kinds: set[str], factor: float) -> None:
        """Let changes of these kinds reach further, or less far."""
        for kind in kinds & self.reach.keys():
            self.reach[kind] = float(np.clip(self.reach[kind] * factor, _LEAST, _MOST))


def _episode(policy: Policy, simulation: Simulated, seed: int, steps: int = _ENDLESS) -> float:
    """Return of an episode, or of its first ``steps``."""
    observation, total = simulation.reset(seed), 0.0
    for _ in range(steps):
        observation, reward, terminated, truncated = simulation.step(policy(observation))
        total += reward
        if terminated or truncated:
            break
    return total


def search(
    actor: QuantActor,
    normaliser: RunningNormaliser,
    env: TrainingEnv,
    simulation: Simulated,
    run: Run,
    config: SearchConfig,
    *,
    seed: int,
    evaluate: Callable[[int, RunningNormaliser], float],
    finish: bool = False,
) -> None:
    """Search from ``actor`` and ``normaliser`` by episodes of ``simulation``.

    Goes on from the run's checkpoint if there is one; ``finish``: only restore that.
    ``evaluate(proposals, normaliser)`` plays the actor, which has the best point's parameters, on
    held-out seeds, and keeps the best snapshots. Every proposal has random numbers of its own, so
    that a run that was killed finds what an unbroken one does.
    """
    state = _Search(actor, normaliser, env, simulation, config)
    done = _resume(run, state)
    with run.progress(config.proposals, done) as progress:
        while done < config.proposals and not finish:
            point, kinds = state.propose(np.random.default_rng((seed, done)))
            if state.better(point):
                state.keep(point, kinds)
            else:
                state.spread(kinds, _DECAY)
            done += 1
            last = done == config.proposals
            if done % config.evaluate_every == 0 or last:
                state.policy(state.best)
                best = RunningNormaliser.fixed(state.best[-2], state.best[-1])
                run.record(done, evaluate(done, best))
            progress.update(done)
            if last or time.monotonic() - run.saved > CHECKPOINT_SECONDS:
                _save(run, state, done)


def _save(run: Run, state: _Search, done: int) -> None:
    points = {"best": state.best, "direction": state.direction or []}
    tensors = {
        f"{name}.{index}": torch.from_numpy(np.array(value))
        for name, point in points.items()
        for index, value in enumerate(point)
    }
    meta = {
        "step": done,
        "kept": state.kept,
        "reach": state.reach,
        **run.saved_facts(),
        "hash": run.hash,
        "config": run.config,
    }
    save_state(run.checkpoint_path, tensors, meta)
    run.saved = time.monotonic()
    run.log.flush()


def _resume(run: Run, state: _Search) -> int:
    """Restore the checkpoint if there is one; returns how many changes were tried."""
    if not run.checkpoint_path.exists():
        return 0
    tensors, meta = load_state(run.checkpoint_path)
    require_own(run, run.checkpoint_path, meta)
    with restoring(run.checkpoint_path):
        count = len(state.best)
        state.best = [tensors[f"best.{index}"].numpy() for index in range(count)]
        if "direction.0" in tensors:
            state.direction = [tensors[f"direction.{index}"].numpy() for index in range(count)]
        state.kept, state.reach = int(meta["kept"]), dict(meta["reach"])
        run.restore_facts(meta)
        run.resumes.append({"step": int(meta["step"]), "kind": "exact"})
    state.measure()
    return int(meta["step"])
