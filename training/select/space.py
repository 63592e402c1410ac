"""The joint space of widths and bits: a sample over it, and what lies beside a shape."""

from __future__ import annotations

from collections.abc import Collection
from itertools import product

import numpy as np

from qpolicy_training.select.config import Axes, Shape

AXES = ("hidden", "b_core", "b_in", "b_out")


def grid(axes: Axes) -> list[Shape]:
    """Every shape of the axes."""
    return [axes.shape(*values) for values in product(*(getattr(axes, name) for name in AXES))]


def spread_sample(axes: Axes, count: int, sizes: tuple[int, int], seed: int) -> list[Shape]:
    """Return ``count`` shapes that differ in all axes at once, from the smallest to the largest.

    The grid is sorted by bit operations and cut into ``count`` strata of equal length; one shape is
    drawn from each. ``sizes``: observations and actions of the task.
    """
    shapes = sorted(grid(axes), key=lambda shape: (shape.bit_operations(*sizes), shape))
    rng = np.random.default_rng(seed)
    strata = np.array_split(np.arange(len(shapes)), min(count, len(shapes)))
    return [shapes[int(rng.choice(stratum))] for stratum in strata]


def neighbours(axes: Axes, shape: Shape, known: Collection[Shape]) -> list[Shape]:
    """Shapes at most one step away on every axis, diagonals included, without ``known`` ones."""
    options = []
    for name in AXES:
        values = getattr(axes, name)
        value = shape.hidden[0] if name == "hidden" else getattr(shape, name)
        index = values.index(value)
        options.append(values[max(index - 1, 0) : index + 2])
    found = [axes.shape(*values) for values in product(*options)]
    return [other for other in found if other not in known]
