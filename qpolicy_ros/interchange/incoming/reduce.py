"""From a graph to a network: follow the observation through layers and functions of one value.

A chain of operators between two layers is known by its values, not by its spelling: ``x
sigmoid(x)`` is SiLU whether a source says Sigmoid and Mul or Swish.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from qpolicy_ros.interchange.incoming.elementwise import (
    Affine,
    Cut,
    Element,
    Known,
    Other,
    composed,
)
from qpolicy_ros.interchange.incoming.folding import fold
from qpolicy_ros.interchange.incoming.graph import HELD_BY_NONE, Graph, Network, Node, refused
from qpolicy_ros.interchange.incoming.unwind import unwind
from qpolicy_ros.interchange.incoming.values import (
    Base,
    Centred,
    Flow,
    Mean,
    Shapes,
    Spread,
    Value,
    common_prefix,
    joined,
    picked,
    uniform_tail,
)
from qpolicy_ros.policy.activations import erf

if TYPE_CHECKING:
    from collections.abc import Callable

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
# They leave the values where they are: batch axes come and go.
_SAME = {
    "identity", "cast", "dropout", "reshape", "flatten", "squeeze", "unsqueeze", "expand",
    "contiguous", "detach",
}  # fmt: skip
_SHAPES = {"shape", "size", "constant_of_shape", "range"}


class Reducer:
    """Walks through a graph's nodes once.

    Args:
        graph: what to reduce.
        file: of the source, for errors.
    """

    def __init__(self, graph: Graph, file: object) -> None:
        self._graph, self._file = graph, file
        self._values: dict[str, Value] = {
            name: value.astype(np.float64) if value.dtype.kind in "fiub" else value
            for name, value in graph.constants.items()
        }
        source = Flow(Base(graph.width))
        self._values[graph.input] = source
        for name, (start, count) in graph.parts.items():
            self._values[name] = picked(source, np.arange(start, start + count))

    def network(self, output: str) -> Network:
        """Return what the tensor ``output`` is computed by.

        Raises:
            InputError: an operator is unknown, or the graph is none of layers in a row.
        """
        for node in self._graph.nodes:
            self._check_held(node)
        for node in self._graph.nodes:
            if self._needed(node, output):
                self._compute(node)
        value = self._values.get(output)
        if not isinstance(value, Flow):
            raise self._refused(output, "does not come from the observation by layers in a row")
        return unwind(value, self._file)

    def _needed(self, node: Node, output: str) -> bool:
        """Whether a node takes part in ``output``; others, such as a spread's head, are left."""
        if not hasattr(self, "_wanted"):
            wanted = {output}
            for other in reversed(self._graph.nodes):
                if wanted & set(other.outputs):
                    wanted |= set(other.inputs)
            self._wanted = wanted
        return bool(self._wanted & set(node.outputs))

    def _check_held(self, node: Node) -> None:
        kind = HELD_BY_NONE.get(node.op)
        if kind is not None:
            raise self._refused(node.name, f"is {kind}, which a policy file cannot hold")

    def _compute(self, node: Node) -> None:
        inputs = [self._values.get(name) if name else None for name in node.inputs]
        known = [value for value in inputs if value is not None]
        flows = any(isinstance(value, (Flow, Mean, Centred, Spread)) for value in known)
        if node.op in _SHAPES or (not flows and any(isinstance(v, Shapes) for v in known)):
            self._values.update(dict.fromkeys(node.outputs, Shapes()))
            return
        if all(isinstance(value, np.ndarray) for value in known):
            self._values[node.outputs[0]] = self._folded(node, inputs)
            return
        result = self._flowing(node, inputs)
        if not isinstance(result, list):
            result = [result]
        self._values.update(zip(node.outputs, result, strict=False))

    def _folded(self, node: Node, inputs: list[Any]) -> Any:
        try:
            return fold(node, inputs)
        except (ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
            wrong = f"cannot be computed beforehand: {error}"
            raise self._refused(node.name, wrong) from error

    def _flowing(self, node: Node, inputs: list[Any]) -> Value | list[Value]:
        op, first = node.op, inputs[0] if inputs else None
        if op in _SAME:
            return first  # type: ignore[no-any-return]
        if op in {"linear", "matmul", "gemm"}:
            return self._linear(node, inputs)
        if op in {"split", "slice", "gather"}:
            return self._parts(node, inputs)
        if op == "concat":
            return self._concat(node, inputs)
        if op in {"layer_norm", "batch_norm"}:
            return self._norm(node, inputs)
        if op == "reduce_mean" and isinstance(first, (Flow, Centred)):
            squared = isinstance(first, Centred) and first.squared
            if isinstance(first, Flow) or squared:
                return Mean(first if isinstance(first, Flow) else first.of, squares=squared)
        if op in {"sqrt", "reciprocal", "rsqrt", "pow", "square", "add", "sub", "div", "mul"}:
            special = self._statistic(node, inputs)
            if special is not None:
                return special
        if isinstance(first, Flow) and op in _UNARY:
            return first.then(self._function(node, inputs))
        if op in _BINARY and len(inputs) == 2:
            return self._binary(node, inputs)
        if op == "where" and len(inputs) == 3:
            return self._where(node, inputs)
        raise self._unknown(node)

    # Layers

    def _linear(self, node: Node, inputs: list[Any]) -> Flow:
        first, weight = inputs[0], inputs[1]
        if not isinstance(first, Flow) or not isinstance(weight, np.ndarray) or weight.ndim != 2:
            wrong = f"{node.op} of something else than the observation's values and fixed weights"
            raise self._refused(node.name, wrong)
        if node.op == "linear" or node.attributes.get("transB"):
            weight = weight.T
        if weight.shape[0] != first.width or node.attributes.get("transA"):
            wrong = f"weights for {weight.shape[0]} values, but {first.width} come"
            raise self._refused(node.name, wrong, "export the policy again")
        weight = weight.T * float(node.attributes.get("alpha", 1.0))
        bias = np.zeros(weight.shape[0])
        if len(inputs) > 2 and inputs[2] is not None:
            if not isinstance(inputs[2], np.ndarray):
                raise self._refused(node.name, "its bias is not fixed")
            bias = bias + inputs[2].reshape(-1) * float(node.attributes.get("beta", 1.0))
        return Flow(Base(weight.shape[0], first, weight, bias))

    def _norm(self, node: Node, inputs: list[Any]) -> Flow:
        first, rest = inputs[0], inputs[1:]
        if not isinstance(first, Flow) or not all(
            value is None or isinstance(value, np.ndarray) for value in rest
        ):
            raise self._refused(node.name, f"{node.op} of something that is not fixed")
        eps, width = float(node.attributes["epsilon"]), first.width
        scale = rest[0] if rest and rest[0] is not None else np.ones(width)
        shift = rest[1] if len(rest) > 1 and rest[1] is not None else np.zeros(width)
        if node.op == "batch_norm":
            factor = scale / np.sqrt(rest[3] + eps)
            return first.then(Affine(factor, shift - rest[2] * factor))
        scale, shift = (np.broadcast_to(np.ravel(part), (width,)) for part in (scale, shift))
        return Flow(Base(width, first, eps=eps, scale=scale, shift=shift))

    def _parts(self, node: Node, inputs: list[Any]) -> Value | list[Value]:
        flow = inputs[0]
        if not isinstance(flow, Flow):
            raise self._unknown(node)
        if not node.attributes["feature_axis"]:
            return [flow] * len(node.outputs)
        places = np.arange(flow.width)
        try:
            if node.op == "split":
                sizes = node.attributes.get("sizes")
                ends = len(node.outputs) if sizes is None else np.cumsum(sizes)[:-1]
                return [picked(flow, part) for part in np.split(places, ends)]
            if node.op == "slice":
                start, stop, step = (node.attributes[key] for key in ("start", "stop", "step"))
                return picked(flow, places[start:stop:step])
            return picked(flow, places[np.ravel(node.attributes["index"]).astype(np.intp)])
        except (ValueError, IndexError, TypeError) as error:
            raise self._refused(node.name, f"{node.op} of {flow.width} values: {error}") from error

    def _concat(self, node: Node, inputs: list[Any]) -> Flow:
        flows = [value for value in inputs if isinstance(value, Flow)]
        result = joined(flows) if len(flows) == len(inputs) else None
        if result is None:
            raise self._refused(node.name, "puts the answers of several branches side by side")
        return result

    # Layer normalisation written out

    def _statistic(self, node: Node, inputs: list[Any]) -> Value | None:
        """What operators on means and centred values give; None where they are none."""
        op, first = node.op, inputs[0]
        second = inputs[1] if len(inputs) > 1 else None
        if op == "sub" and isinstance(second, Mean) and first is second.of and not second.squares:
            return Centred(second.of)
        if isinstance(first, Centred) and not first.squared:
            square = op == "square" or (op == "mul" and second is first)
            if square or (op == "pow" and isinstance(second, np.ndarray) and _is(second, 2)):
                return Centred(first.of, squared=True)
            if isinstance(second, Spread) and second.of is first.of:
                good = (op, second.power) in {("div", 0.5), ("mul", -0.5)}
                if good:
                    width = first.of.width
                    base = Base(width, first.of, eps=second.eps)
                    return Flow(base)
        if isinstance(first, np.ndarray) and isinstance(second, Mean) and op == "add":
            first, second = second, first
        if isinstance(first, Mean) and first.squares:
            if op == "add" and isinstance(second, np.ndarray) and second.size == 1:
                return Spread(first.of, float(second.flat[0]), 1.0)
            return None
        if isinstance(first, Spread):
            if op == "sqrt" or (op == "pow" and isinstance(second, np.ndarray) and _is(second, 0.5)):
                return Spread(first.of, first.eps, first.power * 0.5)
            if op in {"reciprocal", "rsqrt"}:
                return Spread(first.of, first.eps, -first.power * (1 if op == "reciprocal" else 0.5))
        if op == "div" and isinstance(second, Spread) and isinstance(first, np.ndarray):
            return Spread(second.of, second.eps, -second.power) if _is(first, 1) else None
        return None

    # Functions of one value

    def _function(self, node: Node, inputs: list[Any]) -> Element:
        op, attributes = node.op, node.attributes
        if op == "neg":
            return Affine(np.array(-1.0), np.array(0.0))
        if op in _KNOWN:
            return Known((op,))
        if op in {"leaky_relu", "elu"}:
            return Known((op, float(attributes["alpha"])))
        if op == "gelu":
            return Known(("gelu_tanh",) if attributes.get("approximate") == "tanh" else ("gelu",))
        if op == "softplus":
            return Known((op, float(attributes.get("beta", 1.0))))
        if op == "clip":
            low, high = self._limits(node, inputs)
            return Cut(low, high)
        if op in _FUNCTIONS:
            return Other(_FUNCTIONS[op], node.name)
        raise self._unknown(node)

    def _limits(self, node: Node, inputs: list[Any]) -> tuple[Any, Any]:
        limits = []
        for place, key, otherwise in ((1, "min", -math.inf), (2, "max", math.inf)):
            value = inputs[place] if len(inputs) > place else None
            if value is None:
                value = node.attributes.get(key)
            if value is None:
                value = otherwise
            if not isinstance(value, (np.ndarray, float, int)):
                raise self._refused(node.name, f"its {key} is not fixed")
            limits.append(np.ravel(np.asarray(value, np.float64)))
        return limits[0], limits[1]

    def _binary(self, node: Node, inputs: list[Any]) -> Flow:
        first, second = inputs
        if isinstance(first, Flow) and isinstance(second, Flow):
            return self._of_both(node, first, second)
        flow, constant = (first, second) if isinstance(first, Flow) else (second, first)
        if not isinstance(flow, Flow) or not isinstance(constant, np.ndarray):
            raise self._unknown(node)
        values = np.ravel(constant)
        if values.size not in {1, flow.width}:
            wrong = f"{node.op} of {flow.width} values with {values.size}"
            raise self._refused(node.name, wrong, "export the policy again")
        return flow.then(self._with_constant(node, values, swapped=first is constant))

    def _with_constant(self, node: Node, values: Any, *, swapped: bool) -> Element:
        """``x op values``, or ``values op x`` where ``swapped``."""
        one, zero = np.array(1.0), np.array(0.0)
        with np.errstate(all="ignore"):
            if node.op == "add":
                return Affine(one, values)
            if node.op == "sub":
                return Affine(-one, values) if swapped else Affine(one, -values)
            if node.op == "mul":
                return Affine(values, zero)
            if node.op == "div" and not swapped:
                return Affine(1 / values, zero)
            if node.op == "max":
                return Cut(values, np.array(math.inf))
            if node.op == "min":
                return Cut(np.array(-math.inf), values)
        function = _BINARY[node.op]
        uniform = bool((values == values[0]).all())
        if uniform:
            values = values[:1]
        if swapped:
            return Other(lambda x: function(values, x), node.name, uniform)
        return Other(lambda x: function(x, values), node.name, uniform)

    def _of_both(self, node: Node, first: Flow, second: Flow) -> Flow:
        """``f(x) op g(x)``, where both are functions of the same values."""
        count = common_prefix(first, second)
        if count < 0:
            wrong = f"{node.op} joins two branches of the network"
            raise self._refused(node.name, wrong)
        one, other = first.steps[count:], second.steps[count:]
        function = _BINARY[node.op]
        uniform = uniform_tail(one) and uniform_tail(other)
        if not one and not other and node.op in {"add", "mul"}:
            element: Element = Other(lambda x: function(x, x), node.name)
            if node.op == "add":
                element = Affine(np.array(2.0), np.array(0.0))
            return first.then(element)

        def both(x: Any) -> Any:
            return function(composed(one, x), composed(other, x))

        return Flow(first.base, (*first.steps[:count], Other(both, node.name, uniform)))

    def _where(self, node: Node, inputs: list[Any]) -> Flow:
        """Pick between two functions of the same values by a third."""
        flows = [value for value in inputs if isinstance(value, Flow)]
        fixed = [v for v in inputs if isinstance(v, np.ndarray) and v.size != 1]
        count = min(common_prefix(flows[0], flow) for flow in flows) if flows else -1
        if count < 0 or fixed or len(flows) < 2:
            raise self._unknown(node)

        def part(value: Any, x: Any) -> Any:
            return composed(value.steps[count:], x) if isinstance(value, Flow) else value

        def choose(x: Any) -> Any:
            condition, yes, no = (part(value, x) for value in inputs)
            return np.where(np.asarray(condition, bool), yes, no)

        uniform = all(uniform_tail(flow.steps[count:]) for flow in flows)
        return Flow(flows[0].base, (*flows[0].steps[:count], Other(choose, node.name, uniform)))

    # Errors

    def _unknown(self, node: Node) -> Exception:
        return self._refused(node.name, f"is an operator that is not known here ({node.op})")

    def _refused(self, name: str, wrong: str, remedy: str = "") -> Exception:
        return refused(self._file, repr(name), wrong, *([remedy] if remedy else []))


_UNARY = {
    *_KNOWN, *_FUNCTIONS, "neg", "clip", "leaky_relu", "elu", "gelu", "softplus",
}  # fmt: skip


def _is(values: Any, number: float) -> bool:
    return bool(values.size == 1 and math.isclose(float(values.flat[0]), number, rel_tol=1e-6))
