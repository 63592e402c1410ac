"""How runs of different tasks share arrays: padded vectors, first layers by group.

Every array has the run as its leading axis. Actions are padded with zeros to the longest. Vectors
of observations differ too much for that (11 and 376 values), so runs are grouped: what has the
observation's length in its shape is a tuple with one array a group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qpolicy_training.batched.plan import NARROW

FIRST = "first"
"""Key of the parameters that are a tuple over groups."""


@dataclass(frozen=True)
class Group:
    """Runs ``start`` to ``stop`` with ``observations`` and ``actions`` values at most."""

    start: int
    stop: int
    observations: int
    actions: int


@dataclass(frozen=True)
class Layout:
    """Lengths of every run's observation and action; runs of a group are neighbours."""

    observations: tuple[int, ...]
    actions: tuple[int, ...]

    @property
    def runs(self) -> int:
        """Number of runs."""
        return len(self.observations)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Runs that share first layers and replay; ``ValueError`` where one is not in one piece."""
        keys = [0 if n <= NARROW else n for n in self.observations]
        groups = []
        for key in dict.fromkeys(keys):
            members = [i for i, k in enumerate(keys) if k == key]
            start, stop = members[0], members[-1] + 1
            if len(members) != stop - start:
                raise ValueError(f"runs {members} of one group are not neighbours; sort by task")
            longest = max(self.observations[start:stop])
            groups.append(Group(start, stop, longest, max(self.actions[start:stop])))
        return tuple(groups)

    @property
    def longest(self) -> int:
        """Length of the padded observation."""
        return max(self.observations)

    @property
    def widest(self) -> int:
        """Length of the padded action."""
        return max(self.actions)

    def action_mask(self) -> np.ndarray:
        """Which values of the padded action a run has, float32 ``(runs, widest)``."""
        return (np.arange(self.widest) < np.array(self.actions)[:, None]).astype(np.float32)

    def split(self, observations: jax.Array) -> list[jax.Array]:
        """Padded ``(runs, ..., longest)`` into one array a group, each of its own length."""
        return [observations[g.start : g.stop, ..., : g.observations] for g in self.groups]


def take_runs(tree: Any, source: Layout, target: Layout, parents: Sequence[int]) -> Any:
    """The parameters of each run's parent: ``parents[i]`` of ``source`` is that of run i."""
    chosen = jnp.asarray(parents)
    local = [
        jnp.asarray([parents[i] - of.start for i in range(to.start, to.stop)])
        for of, to in zip(source.groups, target.groups, strict=True)
    ]

    def take(node: Any, key: str = "") -> Any:
        if isinstance(node, dict):
            return {name: take(child, name) for name, child in node.items()}
        if key == FIRST:
            return tuple(x[index] for x, index in zip(node, local, strict=True))
        if isinstance(node, tuple):
            return tuple(take(child) for child in node)
        return node[chosen]

    return take(tree)


def run_of(tree: Any, layout: Layout, run: int, convert: Callable[[Any], Any] = np.asarray) -> Any:
    """One run's part of a tree of arrays, without the leading axis; ``first`` is its group's."""
    index = next(i for i, g in enumerate(layout.groups) if g.start <= run < g.stop)

    def pick(node: Any, key: str = "") -> Any:
        if isinstance(node, dict):
            return {name: pick(child, name) for name, child in node.items()}
        if key == FIRST:
            return convert(node[index][run - layout.groups[index].start])
        if isinstance(node, tuple):
            return tuple(pick(child) for child in node)
        return convert(node[run])

    return pick(tree)
