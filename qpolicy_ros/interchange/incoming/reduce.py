"""From a graph to a network: follow the observation through layers and functions of one value.

A chain of operators between two layers is known by its values, not by its spelling: ``x
sigmoid(x)`` is SiLU whether a source says Sigmoid and Mul or Swish.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.interchange.incoming import functions, statistics
from qpolicy_ros.interchange.incoming.elementwise import Affine
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
    joined,
    picked,
)

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
        self._layers: dict[str, Callable[[Node, list[Any]], Value | list[Value]]] = {
            **dict.fromkeys(("linear", "matmul", "gemm"), self._linear),
            **dict.fromkeys(("split", "slice", "gather"), self._parts),
            **dict.fromkeys(("layer_norm", "batch_norm"), self._norm),
            "concat": self._concat,
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

    def _flowing(self, node: Node, inputs: list[Any]) -> Any:
        op, first = node.op, inputs[0] if inputs else None
        if op in _SAME:
            if first is None:
                raise self._unknown(node)
            return first
        make = self._layers.get(op)
        if make is not None:
            return make(node, inputs)
        if op == "reduce_mean":
            return self._mean(node, first)
        value = statistics.statistic(op, inputs) if op in statistics.OPERATORS else None
        return self._function(node, inputs) if value is None else value

    def _mean(self, node: Node, first: Any) -> Mean:
        if isinstance(first, Flow):
            return Mean(first)
        if isinstance(first, Centred) and first.squared:
            return Mean(first.of, squares=True)
        raise self._unknown(node)

    def _function(self, node: Node, inputs: list[Any]) -> Flow:
        """A function of one value, of one tensor or of two."""
        op, first = node.op, inputs[0]
        result: Flow | None = None
        try:
            if op in functions.UNARY and isinstance(first, Flow):
                result = first.then(functions.function(node, inputs))
            elif op in functions.BINARY and len(inputs) == 2:
                result = self._binary(node, inputs)
            elif op == "where" and len(inputs) == 3:
                result = functions.where(inputs, node.name)
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise self._refused(node.name, str(error)) from error
        if result is None:
            raise self._unknown(node)
        return result

    def _binary(self, node: Node, inputs: list[Any]) -> Flow:
        first, second = inputs
        if isinstance(first, Flow) and isinstance(second, Flow):
            both = functions.of_both(node.op, first, second, node.name)
            if both is None:
                raise self._refused(node.name, f"{node.op} joins two branches of the network")
            return both
        flow, constant = (first, second) if isinstance(first, Flow) else (second, first)
        if not isinstance(flow, Flow) or not isinstance(constant, np.ndarray):
            raise self._unknown(node)
        values = np.ravel(constant)
        if values.size not in {1, flow.width}:
            wrong = f"{node.op} of {flow.width} values with {values.size}"
            raise self._refused(node.name, wrong, "export the policy again")
        swapped = first is constant
        return flow.then(functions.with_constant(node.op, values, node.name, swapped=swapped))

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

    # Errors

    def _unknown(self, node: Node) -> Exception:
        return self._refused(node.name, f"is an operator that is not known here ({node.op})")

    def _refused(self, name: str, wrong: str, remedy: str = "") -> Exception:
        return refused(self._file, repr(name), wrong, *([remedy] if remedy else []))
