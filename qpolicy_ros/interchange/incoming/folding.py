"""Operators on constants, computed beforehand in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpolicy_ros.interchange.incoming.graph import Node

_MOST = 1 << 26  # values that an operator may make

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "max": np.maximum,
    "min": np.minimum,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "neg": np.negative,
    "abs": np.abs,
    "tanh": np.tanh,
    "square": np.square,
    "reciprocal": lambda x: 1 / x,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "identity": lambda x: x,
    "cast": lambda x: x,
    "detach": lambda x: x,
    "contiguous": lambda x: x,
    "dropout": lambda x, *_: x,
    "softplus": lambda x: np.logaddexp(0, x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


def fold(node: Node, inputs: list[Any]) -> Any:
    """Return what an operator gives of constants; left out inputs are None.

    Raises:
        ValueError, KeyError: it is none of those here, or its inputs do not fit each other.
    """
    attributes = node.attributes
    given = [value for value in inputs if value is not None]
    if node.op in _FUNCTIONS:
        with np.errstate(all="ignore"):
            return _bounded(_FUNCTIONS[node.op](*given))
    if node.op == "transpose":
        return np.transpose(given[0], attributes.get("perm"))
    if node.op in {"reshape", "flatten", "squeeze", "unsqueeze"}:
        # What matters is the order of the values; a matrix stays one.
        shape = given[1].astype(int).ravel() if node.op == "reshape" and len(given) > 1 else None
        shape = attributes.get("shape", shape)
        return given[0] if shape is None else given[0].reshape(shape)
    if node.op == "expand":
        return given[0]
    if node.op == "concat":
        return np.concatenate(given, axis=int(attributes.get("axis", 0)))
    if node.op == "clip":
        low = inputs[1] if len(inputs) > 1 else attributes.get("min")
        high = inputs[2] if len(inputs) > 2 else attributes.get("max")
        return np.clip(given[0], low, high)
    if node.op == "matmul":
        return _bounded(given[0] @ given[1])
    if node.op == "gather":
        return given[0][np.asarray(attributes["index"]).astype(int)]
    raise ValueError(f"{node.op} of constants is not known here")


def _bounded(values: Any) -> Any:
    if np.size(values) > _MOST:
        raise ValueError("it is too large")
    return values
