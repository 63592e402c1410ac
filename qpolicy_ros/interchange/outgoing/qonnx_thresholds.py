"""A policy as a QONNX graph of integer products and thresholds: ``MatMul`` and ``MultiThreshold``.

This is the dialect that FINN lowers to hardware, and the numbers contract step by step: every
comparison is against an exact integer (or, for the observation, an exact float32), so there is no
scale that a tool could round and no tie that it could send elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.interchange.outgoing.onnx_graph import Graph, integer_type, require_network
from qpolicy_ros.policy import IntegerNetwork, PolicyArtifact
from qpolicy_ros.policy.bounds import network_bounds
from qpolicy_ros.policy.model import Float32
from qpolicy_ros.policy.numpy_engine import NumpyEngine

Keys = npt.NDArray[np.int64]

_LARGEST = 0x7F7FFFFF  # the largest finite float32, as bits


def threshold_model(artifact: PolicyArtifact) -> bytes:
    """The ONNX file: ``observation (1, n)`` to ``action (1, m)``, both float32.

    Tensors between: ``codes_0`` (input codes), ``sums_k`` and ``codes_k`` of layer k = 1, 2, ...;
    the last are the signed output codes.

    Raises:
        PolicyError: no integer network, sums beyond float32, or onnx is not installed.
    """
    network = require_network(artifact)
    graph = Graph()
    shape, datatype = (1, network.mean.size), f"INT{network.input_bits}"
    observation = graph.input("observation", shape)
    limits = graph.constant("thresholds_0", input_thresholds(network))
    codes = _count(graph, observation, limits, "codes_0", shape, datatype, network.input_range[0])
    bounds = network_bounds(network)
    for index, (weight, rows) in enumerate(zip(network.weights, network.thresholds, strict=True)):
        layer, shape = index + 1, (1, weight.shape[0])
        low, high = int(bounds[index][0].min()), int(bounds[index][1].max())
        matrix = graph.constant(f"weights_{layer}", weight.T, f"INT{network.core_bits}")
        datatype = integer_type(low, high)
        sums = graph.node("MatMul", [codes, matrix], f"sums_{layer}", shape, datatype)
        last = layer == len(network.weights)
        # A threshold that is never reached is one above the largest sum.
        limits = graph.constant(f"thresholds_{layer}", rows, integer_type(low, high + 1))
        datatype = f"INT{network.output_bits}" if last else f"UINT{network.core_bits}"
        lowest = network.output_min if last else 0
        codes = _count(graph, sums, limits, f"codes_{layer}", shape, datatype, lowest)
    return graph.finish(artifact, "observation", _look_up(graph, network, codes))


def input_thresholds(network: IntegerNetwork) -> Float32:
    """Float32 ``(n, 2^input_bits - 1)``: the smallest value of each channel for each code.

    Infinite where no finite float32 has a code so high. Found by bisection on the engine's own
    step 1, which never falls: a difference, a product with a positive number, rounding and a clip
    are each monotone in IEEE arithmetic.
    """
    engine = NumpyEngine(network)
    low, high = network.input_range
    wanted = np.arange(low + 1, high + 1)[:, None]
    left = np.full((high - low, network.mean.size), -_LARGEST, np.int64)
    right = np.full_like(left, _LARGEST + 1)  # beyond the largest finite one: infinity
    while (left < right).any():
        middle = (left + right) >> 1
        codes = engine.codes_batch(_float(np.minimum(middle, _LARGEST)))[0]
        reached = (codes >= wanted) & (middle <= _LARGEST)
        right = np.where((left < right) & reached, middle, right)
        left = np.where((left < right) & ~reached, middle + 1, left)
    return np.ascontiguousarray(_float(left).T)


def input_edges(network: IntegerNetwork) -> Float32:
    """Observations at every step of the input codes, and one float32 below: ``(2 levels, n)``."""
    at = np.minimum(input_thresholds(network).T, np.finfo(np.float32).max)
    edges: Float32 = np.concatenate([at, np.nextafter(at, np.finfo(np.float32).min)])
    return edges


def _float(keys: Keys) -> Float32:
    """Float32 by its place in their order: the bits of the magnitude, with the sign."""
    magnitude = np.abs(keys).astype(np.uint32).view(np.float32)
    return np.copysign(magnitude, keys.astype(np.float32))


def _count(
    graph: Graph,
    source: str,
    limits: str,
    output: str,
    shape: tuple[int, ...],
    datatype: str,
    lowest: int,
) -> str:
    """``lowest`` + how many of its ``limits`` each value of ``source`` reaches."""
    attributes: dict[str, Any] = {
        "out_dtype": datatype,
        "out_scale": 1.0,
        "out_bias": float(lowest),
        "data_layout": "NC",
    }
    return graph.node("MultiThreshold", [source, limits], output, shape, datatype, **attributes)


def _look_up(graph: Graph, network: IntegerNetwork, codes: str) -> str:
    """Step 4: each output code's action, from one flat table."""
    actions, size = network.table.shape
    shape = (1, actions)
    first = np.arange(actions) * size - network.output_min
    at = graph.node("Add", [codes, graph.constant("table_rows", first)], "places", shape)
    at = graph.node("Cast", [at], "indices", shape, element="INT64", to=7)
    table = graph.constant("table", network.table.reshape(-1))
    return graph.node("Gather", [table, at], "action", shape, axis=0)
