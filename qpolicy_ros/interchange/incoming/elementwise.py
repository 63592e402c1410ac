"""Functions of one value, as a chain of steps, and which known activation a chain is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy.activations import CLIP, activate

Array = npt.NDArray[np.float64]

_GRID = np.concatenate([np.linspace(-12, 12, 2401), [-80.0, -40.0, -20.0, 20.0, 40.0, 80.0]])
_FAR = 1e4
_CLOSE = 1e-6


@dataclass(frozen=True, eq=False)
class Affine:
    """``x * scale + shift``; each ``(width,)`` or one number."""

    scale: Array
    shift: Array

    def apply(self, x: Array) -> Array:
        """Return the function's values."""
        return x * self.scale + self.shift

    @property
    def uniform(self) -> bool:
        """Whether it is one function for every value of a layer."""
        return _same(self.scale) and _same(self.shift)


@dataclass(frozen=True, eq=False)
class Cut:
    """``min(max(x, low), high)``; each ``(width,)`` or one number."""

    low: Array
    high: Array

    def apply(self, x: Array) -> Array:
        """Return the function's values."""
        return np.minimum(np.maximum(x, self.low), self.high)

    @property
    def uniform(self) -> bool:
        """As ``Affine.uniform``."""
        return _same(self.low) and _same(self.high)


@dataclass(frozen=True, eq=False)
class Known:
    """An activation that a baseline has."""

    step: tuple[Any, ...]
    uniform = True

    def apply(self, x: Array) -> Array:
        """Return the function's values."""
        return np.asarray(activate(self.step, np.array(x, np.float64)), np.float64)


@dataclass(frozen=True, eq=False)
class Other:
    """Any other function; what it is called in the source stands in an error."""

    function: Callable[[Array], Array]
    label: str
    uniform: bool = True

    def apply(self, x: Array) -> Array:
        """Return the function's values."""
        with np.errstate(all="ignore"):
            return np.asarray(self.function(x), np.float64)


Element = Affine | Cut | Known | Other


def composed(elements: Sequence[Element], x: Array) -> Array:
    """Return ``x`` after all elements."""
    with np.errstate(all="ignore"):
        for element in elements:
            x = element.apply(x)
    return x


def merged(elements: Sequence[Element]) -> list[Element]:
    """The same chain, neighbours of one kind as one, and without those that do nothing."""
    result: list[Element] = []
    for element in elements:
        last = result[-1] if result else None
        if isinstance(element, Affine) and isinstance(last, Affine):
            shift = last.shift * element.scale + element.shift
            result[-1] = Affine(last.scale * element.scale, shift)
        elif isinstance(element, Cut) and isinstance(last, Cut):
            result[-1] = Cut(element.apply(last.low), element.apply(last.high))
        else:
            result.append(element)
    return [
        e for e in result if not (isinstance(e, Affine) and _is(e.scale, 1) and _is(e.shift, 0))
    ]


@dataclass
class Shape:
    """A chain taken apart: an affine step, activations, an affine step."""

    before: Affine | None
    steps: list[tuple[Any, ...]]
    after: Affine | None


def identify(elements: Sequence[Element]) -> Shape | None:
    """Find the activations in a chain; None where it has others than a baseline has."""
    chain = merged(elements)
    before = chain[0] if chain and isinstance(chain[0], Affine) else None
    rest = chain[1:] if before else chain
    after = rest[-1] if rest and isinstance(rest[-1], Affine) else None
    middle = rest[:-1] if after else rest
    if all(isinstance(e, Known) for e in middle):
        return Shape(before, [e.step for e in middle if isinstance(e, Known)], after)
    for first, last in ((0, 0), (1, 0), (0, 1), (1, 1)):
        if (first and not before) or (last and not after):
            continue
        part = chain[first : len(chain) - last]
        step = _recognised(part)
        if step is not None:
            return Shape(before if first else None, [step], after if last else None)
    split = _known_pieces(middle)
    return None if split is None else Shape(before, split, after)


def _known_pieces(middle: Sequence[Element]) -> list[tuple[Any, ...]] | None:
    """Each element an activation of its own, where each is one."""
    steps = []
    for element in middle:
        step = element.step if isinstance(element, Known) else _recognised([element])
        if step is None:
            return None
        steps.append(step)
    return steps


def _recognised(elements: Sequence[Element]) -> tuple[Any, ...] | None:
    """The one activation that a chain of uniform elements computes, found by its values."""
    if not elements or not all(element.uniform for element in elements):
        return None
    scalar = [_first_column(element) for element in elements]
    values = composed(scalar, _GRID)
    if not np.isfinite(values).all():
        return None
    far = composed(scalar, np.array([-_FAR, -40.0, 0.0, _FAR, -1.0]))
    for step in _candidates(far):
        expected = np.asarray(activate(step, _GRID.copy()), np.float64)
        if (np.abs(values - expected) <= _CLOSE * (1 + np.abs(expected))).all():
            return step
    return None


def _candidates(far: Array) -> list[tuple[Any, ...]]:
    """Activations to compare with, their numbers taken from values at -1e4, -40, 0, 1e4 and -1."""
    lowest, low, middle, highest, below = (float(value) for value in far)
    steps: list[tuple[Any, ...]] = [
        ("relu",), ("tanh",), ("silu",), ("gelu",), ("gelu_tanh",), ("selu",), ("sigmoid",),
    ]  # fmt: skip
    if math.isfinite(below) and below < 0:
        steps.append(("leaky_relu", _short(-below)))
    if math.isfinite(low) and low < 0:
        steps.append(("elu", _short(-low)))
    if math.isfinite(middle) and middle > 0:
        steps.append(("softplus", _short(math.log(2) / middle)))
    if math.isfinite(lowest) and math.isfinite(highest) and lowest < highest:
        steps.append((CLIP, _short(lowest), _short(highest)))
    return steps


def _short(value: float) -> float:
    """The decimal that somebody wrote, where float32 or an operation has blurred it."""
    rounded = float(f"{value:.6g}")
    return rounded if math.isclose(rounded, value, rel_tol=1e-6) else value


def _first_column(element: Element) -> Element:
    """A uniform element for one value."""
    if isinstance(element, Affine):
        return Affine(np.array(element.scale.flat[0]), np.array(element.shift.flat[0]))
    if isinstance(element, Cut):
        return Cut(np.array(element.low.flat[0]), np.array(element.high.flat[0]))
    return element


def _same(values: Array) -> bool:
    return bool((values == values.flat[0]).all())


def _is(values: Array, number: float) -> bool:
    return bool((values == number).all())
