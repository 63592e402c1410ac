"""Functions of one value in a graph: of one tensor, with a constant, or of two of one base."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from qpolicy_ros.interchange.incoming.elementwise import (
    Affine,
    Cut,
    Element,
    Known,
    Other,
    composed,
)
from qpolicy_ros.interchange.incoming.graph import Node
from qpolicy_ros.interchange.incoming.values import Flow, common_prefix, uniform_tail
from qpolicy_ros.policy.activations import erf

_KNOWN = {"relu", "tanh", "sigmoid", "selu", "silu"}
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "erf": erf,
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "reciprocal": lambda x: 1 / x,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "abs": np.abs,
    "sign": np.sign,
    "square": np.square,
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
}
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "pow": np.power,
    "greater": np.greater,
    "less": np.less,
    "greater_or_equal": np.greater_equal,
    "less_or_equal": np.less_equal,
}
UNARY = {*_KNOWN, *_FUNCTIONS, "neg", "clip", "leaky_relu", "elu", "gelu", "softplus"}
BINARY = frozenset(_BINARY)


def function(node: Node, inputs: Sequence[Any]) -> Element:
    """Return what an operator of :data:`UNARY` does with a value.

    Raises:
        ValueError: its limits are not fixed.
    """
    op, attributes = node.op, node.attributes
    if op in _KNOWN:
        return Known((op,))
    if op in _FUNCTIONS:
        return Other(_FUNCTIONS[op], node.name)
    gelu = "gelu_tanh" if attributes.get("approximate") == "tanh" else "gelu"
    makers: dict[str, Callable[[], Element]] = {
        "neg": lambda: Affine(np.array(-1.0), np.array(0.0)),
        "leaky_relu": lambda: Known((op, float(attributes["alpha"]))),
        "elu": lambda: Known((op, float(attributes["alpha"]))),
        "gelu": lambda: Known((gelu,)),
        "softplus": lambda: Known((op, float(attributes.get("beta", 1.0)))),
        "clip": lambda: Cut(*(_limit(node, inputs, *each) for each in _LIMITS)),
    }
    return makers[op]()


_LIMITS = ((1, "min", -math.inf), (2, "max", math.inf))


def _limit(node: Node, inputs: Sequence[Any], place: int, key: str, otherwise: float) -> Any:
    value = inputs[place] if len(inputs) > place else None
    if value is None:
        value = node.attributes.get(key)
    if value is None:
        value = otherwise
    if not isinstance(value, (np.ndarray, float, int)):
        raise ValueError(f"its {key} is not fixed")  # noqa: TRY004  of the file, not of a caller
    return np.ravel(np.asarray(value, np.float64))


def with_constant(op: str, values: Any, label: str, *, swapped: bool) -> Element:
    """Return ``x op values``, or ``values op x`` where ``swapped``; ``(width,)`` or one number."""
    one, zero, most = np.array(1.0), np.array(0.0), np.array(math.inf)
    with np.errstate(all="ignore"):
        simple: dict[str, Callable[[], Element]] = {
            "add": lambda: Affine(one, values),
            "sub": lambda: Affine(-one, values) if swapped else Affine(one, -values),
            "mul": lambda: Affine(values, zero),
            "max": lambda: Cut(values, most),
            "min": lambda: Cut(-most, values),
        }
        if not swapped:
            simple["div"] = lambda: Affine(1 / values, zero)
        if op in simple:
            return simple[op]()
    compute, uniform = _BINARY[op], bool((values == values[0]).all())
    if uniform:
        values = values[:1]
    if swapped:
        return Other(lambda x: compute(values, x), label, uniform)
    return Other(lambda x: compute(x, values), label, uniform)


def of_both(op: str, first: Flow, second: Flow, label: str) -> Flow | None:
    """Return ``f(x) op g(x)`` where both are functions of the same values; else None."""
    count = common_prefix(first, second)
    if count < 0:
        return None
    one, other = first.steps[count:], second.steps[count:]
    compute = _BINARY[op]

    def both(x: Any) -> Any:
        return compute(composed(one, x), composed(other, x))

    uniform = uniform_tail(one) and uniform_tail(other)
    return Flow(first.base, (*first.steps[:count], Other(both, label, uniform)))


def where(inputs: Sequence[Any], label: str) -> Flow | None:
    """Return the pick between two functions of the same values by a third; else None."""
    flows = [value for value in inputs if isinstance(value, Flow)]
    fixed = [v for v in inputs if isinstance(v, np.ndarray) and v.size != 1]
    count = min((common_prefix(flows[0], flow) for flow in flows), default=-1)
    if count < 0 or fixed or len(flows) < 2:
        return None

    def part(value: Any, x: Any) -> Any:
        return composed(value.steps[count:], x) if isinstance(value, Flow) else value

    def choose(x: Any) -> Any:
        condition, yes, no = (part(value, x) for value in inputs)
        return np.where(np.asarray(condition, bool), yes, no)

    uniform = all(uniform_tail(flow.steps[count:]) for flow in flows)
    return Flow(flows[0].base, (*flows[0].steps[:count], Other(choose, label, uniform)))
