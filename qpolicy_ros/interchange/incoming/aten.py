"""PyTorch's operators as neutral ones, for TorchScript and torch.export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from qpolicy_ros.interchange.incoming.graph import Node

Tensor = str
"""A tensor goes by its name here; other arguments as they are."""


class Call:
    """One call of an operator.

    Args:
        op: its name without namespace and overload, such as ``linear``.
        arguments: names of tensors, numbers, lists and None, in the operator's order.
        outputs: names of tensors.
        fixed: takes a number or a tensor's name and returns a tensor's name.
        ranks: how many axes a tensor has, where it is known.
    """

    def __init__(
        self,
        op: str,
        arguments: Sequence[Any],
        outputs: Sequence[str],
        fixed: Callable[[Any], str],
        rank: int,
    ) -> None:
        self.op, self.arguments, self.outputs = op, list(arguments), tuple(outputs)
        self._fixed, self._rank = fixed, rank

    def get(self, place: int, otherwise: Any = None) -> Any:
        """An argument, or ``otherwise`` where it is left out."""
        value = self.arguments[place] if len(self.arguments) > place else None
        return otherwise if value is None else value

    def node(self, op: str, *tensors: Any, **attributes: Any) -> Node:
        """The neutral operator; numbers among ``tensors`` become constants."""
        while tensors and tensors[-1] is None:
            tensors = tensors[:-1]
        names = tuple("" if value is None else self._fixed(value) for value in tensors)
        return Node(op, names, self.outputs, attributes, f"aten::{self.op}")

    def along_values(self, axis: int) -> bool:
        """Whether an axis is that of the values, not of the batch."""
        return axis in {-1, self._rank - 1} if self._rank else axis != 0


def _scaled(op: str) -> Callable[[Call], Node]:
    """``add`` and ``sub`` with their ``alpha``, which is 1 wherever we saw it."""

    def make(call: Call) -> Node:
        if float(call.get(2, 1)) != 1:
            raise ValueError(f"{call.op} with alpha {call.get(2)}")
        first, second = call.get(0), call.get(1)
        if call.op == "rsub":
            first, second = second, first
        return call.node(op, first, second)

    return make


def _clamp(call: Call) -> Node:
    low, high = call.get(1), call.get(2)
    if call.op in {"clamp_max", "clamp_max_"}:
        low, high = None, low
    if call.op.startswith("hardtanh"):
        low, high = (-1.0 if low is None else low), (1.0 if high is None else high)
    if call.op.startswith("relu6"):
        low, high = 0.0, 6.0
    return call.node("clip", call.get(0), low, high)


def _elu(call: Call) -> Node:
    if float(call.get(2, 1)) != 1 or float(call.get(3, 1)) != 1:
        raise ValueError("elu with a scale of its own")
    return call.node("elu", call.get(0), alpha=float(call.get(1, 1.0)))


def _slice(call: Call) -> Node:
    start, stop, step = call.get(2, 0), call.get(3, 2**62), call.get(4, 1)
    feature = call.along_values(int(call.get(1, 0)))
    return call.node("slice", call.get(0), start=start, stop=stop, step=step, feature_axis=feature)


def _split(call: Call) -> Node:
    value, sizes = call.get(0), call.get(1)
    feature = call.along_values(int(call.get(2, 0)))
    attributes: dict[str, Any] = {"feature_axis": feature}
    if call.op.startswith("split") and isinstance(sizes, list):
        attributes["sizes"] = sizes
    elif call.op.startswith("split"):
        attributes["sizes"] = [int(sizes)] * len(call.outputs)
    return call.node("split", value, **attributes)


def _norm(call: Call) -> Node:
    value, shape, scale, shift = (call.get(place) for place in range(4))
    if isinstance(shape, list) and len(shape) != 1:
        raise ValueError(f"layer_norm over {len(shape)} axes")
    return call.node("layer_norm", value, scale, shift, epsilon=float(call.get(4, 1e-5)))


def _batch_norm(call: Call) -> Node:
    value, scale, shift, mean, variance = (call.get(place) for place in range(5))
    eps = call.get(7 if call.op == "batch_norm" else 6, 1e-5)
    return call.node("batch_norm", value, scale, shift, mean, variance, epsilon=float(eps))


def _addmm(call: Call) -> Node:
    if float(call.get(3, 1)) != 1 or float(call.get(4, 1)) != 1:
        raise ValueError("addmm with factors of its own")
    return call.node("gemm", call.get(1), call.get(2), call.get(0))


def _gather(call: Call) -> Node:
    index = call.get(2)
    feature = call.along_values(int(call.get(1, 0)))
    return call.node("gather", call.get(0), index=index, feature_axis=feature)


def _plain(op: str, count: int = 1) -> Callable[[Call], Node]:
    return lambda call: call.node(op, *(call.get(place) for place in range(count)))


def _dropout(call: Call) -> Node:
    if call.get(2):
        raise ValueError("dropout that is switched on")
    return call.node("identity", call.get(0))


_FIRST = [
    "identity", "contiguous", "detach", "clone", "alias", "to", "view", "reshape", "flatten",
    "unsqueeze", "squeeze", "expand", "expand_as", "_to_copy", "lift_fresh_copy", "type_as",
    "view_as", "unflatten", "_unsafe_view", "float", "atleast_2d",
]  # fmt: skip
_ELEMENTWISE = [
    "tanh", "sigmoid", "selu", "silu", "erf", "exp", "log", "log1p", "expm1", "sqrt", "rsqrt",
    "reciprocal", "abs", "sign", "square", "neg", "mish", "relu",
]  # fmt: skip

#: PyTorch's name -> the neutral node of a call.
OPERATORS: dict[str, Callable[[Call], Node]] = {
    **{name: _plain("identity") for name in _FIRST},
    **{name: _plain(name) for name in _ELEMENTWISE},
    **{f"{name}_": _plain(name) for name in _ELEMENTWISE},
    "linear": _plain("linear", 3),
    "matmul": _plain("matmul", 2),
    "mm": _plain("matmul", 2),
    "addmm": _addmm,
    "t": _plain("transpose"),
    "numpy_T": _plain("transpose"),
    "transpose": _plain("transpose"),
    "permute": _plain("transpose"),
    "add": _scaled("add"),
    "add_": _scaled("add"),
    "sub": _scaled("sub"),
    "sub_": _scaled("sub"),
    "rsub": _scaled("sub"),
    "mul": _plain("mul", 2),
    "mul_": _plain("mul", 2),
    "div": _plain("div", 2),
    "div_": _plain("div", 2),
    "pow": _plain("pow", 2),
    "maximum": _plain("max", 2),
    "minimum": _plain("min", 2),
    "clamp": _clamp,
    "clamp_": _clamp,
    "clip": _clamp,
    "clamp_min": _clamp,
    "clamp_max": _clamp,
    "hardtanh": _clamp,
    "hardtanh_": _clamp,
    "relu6": _clamp,
    "leaky_relu": lambda c: c.node("leaky_relu", c.get(0), alpha=float(c.get(1, 0.01))),
    "leaky_relu_": lambda c: c.node("leaky_relu", c.get(0), alpha=float(c.get(1, 0.01))),
    "elu": _elu,
    "elu_": _elu,
    "gelu": lambda c: c.node("gelu", c.get(0), approximate=c.get(1, "none")),
    "softplus": lambda c: c.node("softplus", c.get(0), beta=float(c.get(1, 1.0))),
    "hardswish": _plain("hard_swish"),
    "hardsigmoid": _plain("hard_sigmoid"),
    "softsign": _plain("softsign"),
    "layer_norm": _norm,
    "native_layer_norm": _norm,
    "batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "mean": lambda c: c.node("reduce_mean", c.get(0)),
    "dropout": _dropout,
    "feature_dropout": _dropout,
    "slice": _slice,
    "chunk": _split,
    "split": _split,
    "split_with_sizes": _split,
    "select": _gather,
    "index_select": _gather,
    "cat": lambda c: c.node("concat", *c.get(0)),
    "concat": lambda c: c.node("concat", *c.get(0)),
    "where": _plain("where", 3),
    "gt": _plain("greater", 2),
    "lt": _plain("less", 2),
    "ge": _plain("greater_or_equal", 2),
    "le": _plain("less_or_equal", 2),
    "size": _plain("shape"),
    "sym_size": _plain("shape"),
}


def constant(value: Any) -> np.ndarray[Any, Any]:
    """A number or a list of numbers as a tensor."""
    return np.asarray(value, np.float64)
