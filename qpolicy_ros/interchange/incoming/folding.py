"""Operators on constants, computed beforehand in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

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
    makers: dict[str, Callable[[], Any]] = {
        "transpose": lambda: np.transpose(given[0], attributes.get("perm")),
        "reshape": lambda: _reshaped(given, attributes),
        # What matters is the order of the values; a matrix stays one.
        **dict.fromkeys(("flatten", "squeeze", "unsqueeze", "expand"), lambda: given[0]),
        "concat": lambda: np.concatenate(given, axis=int(attributes.get("axis", 0))),
        "clip": lambda: _clipped(inputs, attributes),
        "matmul": lambda: given[0] @ given[1],
        "gather": lambda: given[0][np.asarray(attributes["index"]).astype(int)],
    }
    if node.op not in makers:
        raise ValueError(f"{node.op} of constants is not known here")
    return _bounded(makers[node.op]())


def _reshaped(given: list[Any], attributes: dict[str, Any]) -> Any:
    shape = given[1].astype(int).ravel() if len(given) > 1 else attributes.get("shape")
    return given[0] if shape is None else given[0].reshape(shape)


def _clipped(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    low = inputs[1] if len(inputs) > 1 else attributes.get("min")
    high = inputs[2] if len(inputs) > 2 else attributes.get("max")
    return np.clip(inputs[0], low, high)


def _bounded(values: Any) -> Any:
    if np.size(values) > _MOST:
        raise ValueError("it is too large")
    return values
