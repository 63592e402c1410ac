"""What a tensor of a graph is, seen from the observation: a flow through layers, or less."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qpolicy_ros.interchange.incoming.elementwise import Affine, Cut, Element

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Base:
    """Where a chain of functions of one value begins: the input, a layer, a normalisation.

    Attributes:
        width: how many values it has.
        parent: the flow that it is computed from; None for the input.
        weight, bias: of a layer, ``(width, in)`` and ``(width,)``.
        eps, scale, shift: of a layer normalisation.
    """

    width: int
    parent: Flow | None = None
    weight: Array | None = None
    bias: Array | None = None
    eps: float = 0.0
    scale: Array | None = None
    shift: Array | None = None


@dataclass(frozen=True, eq=False)
class Flow:
    """A base with functions of one value after it."""

    base: Base
    steps: tuple[Element, ...] = ()

    @property
    def width(self) -> int:
        """How many values it has."""
        return self.base.width

    def then(self, step: Element) -> Flow:
        """The same flow with one more function."""
        return Flow(self.base, (*self.steps, step))


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean over a flow's values, or over the squares of its centred values."""

    of: Flow
    squares: bool = False


@dataclass(frozen=True, eq=False)
class Centred:
    """A flow less its own mean; ``squared``: and that squared."""

    of: Flow
    squared: bool = False


@dataclass(frozen=True, eq=False)
class Spread:
    """``var + eps`` of a flow, its root, or the root's inverse, by ``power``: 1, 0.5, -0.5."""

    of: Flow
    eps: float
    power: float


class Shapes:
    """What is computed of shapes alone: it decides nothing where the width stays."""


Value = Flow | Mean | Centred | Spread | Shapes | Array


def uniform_tail(tail: Sequence[Element]) -> bool:
    """Whether every function of a chain is one function for all values."""
    return all(step.uniform for step in tail)


def common_prefix(first: Flow, second: Flow) -> int:
    """How many functions two flows of one base share from its beginning; -1: another base."""
    if first.base is not second.base:
        return -1
    count = 0
    for one, other in zip(first.steps, second.steps, strict=False):
        if one is not other:
            break
        count += 1
    return count


def picked(flow: Flow, index: npt.NDArray[np.intp]) -> Flow:
    """Some values of a flow, by their places."""
    base = flow.base
    if base.weight is not None and base.bias is not None:
        chosen = Base(len(index), base.parent, base.weight[index], base.bias[index])
    elif base.parent is None:
        chosen = Base(len(index), Flow(base), np.eye(base.width)[index], np.zeros(len(index)))
    else:  # of a normalisation: a layer that picks
        eye = np.eye(base.width)[index]
        return Flow(Base(len(index), flow, eye, np.zeros(len(index))))
    return Flow(chosen, tuple(_picked(step, index, base.width) for step in flow.steps))


def _picked(step: Element, index: npt.NDArray[np.intp], width: int) -> Element:
    def part(values: Array) -> Array:
        return np.broadcast_to(values, (width,))[index]

    if isinstance(step, Affine):
        return Affine(part(step.scale), part(step.shift))
    if isinstance(step, Cut):
        return Cut(part(step.low), part(step.high))
    return step


def joined(flows: Sequence[Flow]) -> Flow | None:
    """Flows side by side, where one layer can compute all of them; None where none can."""
    rows = []
    for flow in flows:
        if not all(isinstance(step, Affine) for step in flow.steps):
            return None
        rows.append(_as_layer(flow))
    parents = [parent for parent, _, _ in rows]
    if any(common_prefix(parents[0], other) != len(parents[0].steps) for other in parents) or any(
        len(other.steps) != len(parents[0].steps) for other in parents
    ):
        return None
    weight = np.concatenate([weight for _, weight, _ in rows])
    bias = np.concatenate([bias for _, _, bias in rows])
    return Flow(Base(len(bias), parents[0], weight, bias))


def _as_layer(flow: Flow) -> tuple[Flow, Array, Array]:
    """A flow of affine functions as parent, weight and bias."""
    base = flow.base
    if base.weight is not None and base.bias is not None and base.parent is not None:
        parent, weight, bias = base.parent, base.weight, base.bias
    else:
        parent, weight, bias = Flow(base), np.eye(base.width), np.zeros(base.width)
    for step in flow.steps:
        assert isinstance(step, Affine)
        weight = weight * np.broadcast_to(step.scale, bias.shape)[:, None]
        bias = bias * step.scale + step.shift
    return parent, weight, bias
