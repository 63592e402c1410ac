"""A policy's integer core as a QONNX graph of ``Quant`` nodes, for tools that know no thresholds.

From input codes to output codes. A neuron's thresholds become ``Quant(scale * sum + offset)``, with
a line chosen so that the steps fall where the thresholds are. Among all such lines the one that
stays farthest from every rounding tie is taken, then its two numbers are rounded to as few binary
places as keep every step: no sum ever falls on a tie, whichever way a tool sends ties, and the
numbers are exact in float32 and in fixed point.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from qpolicy_ros.interchange.outgoing.onnx_graph import Graph, integer_type, require_network
from qpolicy_ros.policy import PolicyArtifact, PolicyError
from qpolicy_ros.policy.bounds import network_bounds
from qpolicy_ros.policy.model import Int64

Float64 = npt.NDArray[np.float64]

_PLACES = 40
"""Binary places of a scale, at most; it has at most 24 significant ones, as float32."""
_EXACT = 1 << 24
_FAR = 1 << 62
_ITERATIONS = 200


class Lines(NamedTuple):
    """A layer's lines: ``code = round(scale * sum / 2^scale_places + offset / 2^offset_places)``.

    ``scale`` and ``offset`` are integers, int64 ``(out,)`` each; the code is clipped to its range.
    """

    scale: Int64
    scale_places: int
    offset: Int64
    offset_places: int


def quant_model(artifact: PolicyArtifact) -> bytes:
    """The ONNX file: ``input_codes (1, n)`` to the signed output codes ``(1, m)``, in float32.

    Tensors between: ``sums_k`` and ``codes_k`` of layer k = 1, 2, ..., the last being the output.

    Raises:
        PolicyError: no integer network, sums beyond float32, a neuron that no line fits, or onnx is
            not installed.
    """
    network = require_network(artifact)
    graph = Graph()
    shape, datatype = (1, network.mean.size), f"INT{network.input_bits}"
    codes = _quant(graph, graph.input("input_codes", shape, datatype), "codes_0", shape, datatype)
    bounds = network_bounds(network)
    for index, (weight, rows) in enumerate(zip(network.weights, network.thresholds, strict=True)):
        layer, shape = index + 1, (1, weight.shape[0])
        last = layer == len(network.weights)
        low, high = bounds[index]
        lines = fit_lines(rows, low, high, network.output_min if last else 0)
        if isinstance(lines, int):
            wrong = "no line has its steps where the thresholds are, as Quant nodes need"
            remedy = "give --format qonnx, which takes any thresholds"
            where = f"integer.threshold.{index}, neuron {lines}"
            raise PolicyError.at(artifact.path, where, wrong, remedy)
        value = _constant(graph, f"weights_{layer}", weight.T, f"INT{network.core_bits}")
        sums = integer_type(int(low.min()), int(high.max()))
        value = graph.node("MatMul", [codes, value], f"sums_{layer}", shape, sums)
        for operator, name, numbers, places in (
            ("Mul", "scales", lines.scale, lines.scale_places),
            ("Add", "offsets", lines.offset, lines.offset_places),
        ):
            datatype = integer_type(min(int(numbers.min()), -1), int(numbers.max()))
            number = _constant(graph, f"{name}_{layer}", numbers, datatype, 2.0**-places)
            value = graph.node(operator, [value, number], f"{operator}_{layer}", shape)
        if not last:  # an unsigned Quant clips at 0 too; tools look for the pair
            value = graph.node("Relu", [value], f"Relu_{layer}", shape)
        datatype = f"INT{network.output_bits}" if last else f"UINT{network.core_bits}"
        codes = _quant(graph, value, f"codes_{layer}", shape, datatype)
    return graph.finish(artifact, "input_codes", codes)


def fit_lines(rows: npt.NDArray[np.int32], low: Int64, high: Int64, lowest: int) -> Lines | int:
    """Lines whose rounded values are a layer's codes for every sum from ``low`` to ``high``.

    Args:
        rows: thresholds, int32 ``(out, levels)`` ascending.
        low: the least sum of each neuron, int64 ``(out,)``.
        high: the largest.
        lowest: the code below the first threshold.

    Returns:
        The lines, or the index of a neuron that has none.
    """
    steps = _Steps.of(rows, low, high, lowest)
    slopes = _best_slopes(steps, rows.shape[1])
    worst = 0
    for places in range(_PLACES + 1):
        scale = np.rint(slopes * 2.0**places).astype(np.int64)
        if scale.max() > _EXACT:
            break
        floor, ceiling = steps.offsets(scale, places)
        for fewer in range(places + 1):
            unit = 2 << (places - fewer)
            offset = ((floor + ceiling + unit) >> 1) // unit
            line = Lines(scale, places, offset, fewer)
            good = (floor < offset * unit) & (offset * unit < ceiling) & steps.kept(line)
            if good.all():
                return line
            worst = int(np.argmin(good))
    return worst


class _Steps(NamedTuple):
    """Where a layer's codes step: ``line(at) > half`` and ``line(at - 1) < half``.

    Attributes:
        at: the threshold's sum, int64 ``(out, levels)``.
        twice: twice the value between the two codes, int64 ``(levels,)``.
        above: whether ``at`` is a sum that occurs; below: whether ``at - 1`` is.
    """

    at: Int64
    twice: Int64
    above: npt.NDArray[np.bool_]
    below: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, rows: npt.NDArray[np.int32], low: Int64, high: Int64, lowest: int) -> _Steps:
        at = rows.astype(np.int64)
        twice = 2 * (lowest + np.arange(1, rows.shape[1] + 1)) - 1
        return cls(at, twice, at <= high[:, None], at > low[:, None])

    def offsets(self, scale: Int64, places: int) -> tuple[Int64, Int64]:
        """Between which integers, both excluded, twice the offset lies; int64 ``(out,)`` each.

        ``scale`` and the offset count 2^-places.
        """
        halves = self.twice << places
        floor = np.where(self.above, halves - 2 * scale[:, None] * self.at, -_FAR).max(axis=1)
        below = halves - 2 * scale[:, None] * (self.at - 1)
        ceiling = np.where(self.below, below, _FAR).min(axis=1)
        # Of a neuron whose every threshold is out of reach on one side only one side is bounded.
        one = 2 << places
        return (
            np.where(floor == -_FAR, ceiling - one, floor),
            np.where(ceiling == _FAR, floor + one, ceiling),
        )

    def kept(self, line: Lines) -> npt.NDArray[np.bool_]:
        """Whether float32 arithmetic, which never falls either, keeps each neuron's steps."""
        factor = (line.scale * 2.0**-line.scale_places).astype(np.float32)[:, None]
        term = (line.offset * 2.0**-line.offset_places).astype(np.float32)[:, None]
        half = (self.twice * 0.5).astype(np.float32)
        reached = self.at.astype(np.float32) * factor + term > half
        missed = (self.at - 1).astype(np.float32) * factor + term < half
        exact = np.abs(line.offset) <= _EXACT
        kept: npt.NDArray[np.bool_] = exact & (
            (reached | ~self.above) & (missed | ~self.below)
        ).all(axis=1)
        return kept


def _best_slopes(steps: _Steps, levels: int) -> Float64:
    """The slope of each neuron's line that stays farthest from every tie, float64 ``(out,)``.

    The distance is concave in the slope: a minimum of lines, less a maximum of lines.
    """
    half = steps.twice * 0.5

    def room(slope: Float64) -> Float64:
        floor = np.where(steps.above, half - slope[:, None] * steps.at, -np.inf).max(axis=1)
        below = half - slope[:, None] * (steps.at - 1)
        ceiling: Float64 = np.where(steps.below, below, np.inf).min(axis=1)
        return ceiling - floor

    left = np.zeros(len(steps.at))
    # One sum more may cross every level at once, not more.
    right = np.full(len(steps.at), levels + 1.0)
    for _ in range(_ITERATIONS):
        third = (right - left) / 3
        rising = room(left + third) < room(right - third)
        left, right = np.where(rising, left + third, left), np.where(rising, right, right - third)
    # A neuron that has one code for every sum needs no slope.
    one = ~(steps.above & steps.below).any(axis=1)
    return np.where(one, 0.0, (left + right) / 2)


def _quant(
    graph: Graph,
    source: str,
    output: str,
    shape: tuple[int, ...],
    datatype: str,
    scale: float = 1.0,
) -> str:
    """A ``Quant`` to ``datatype``, ``INT`` or ``UINT`` with its bits, times ``scale``."""
    signed = datatype.startswith("INT")
    numbers = [
        graph.constant(f"{output}_scale", np.float32(scale)),
        graph.constant(f"{output}_zero", np.float32(0)),
        graph.constant(f"{output}_bits", np.float32(int(datatype.removeprefix("U")[3:]))),
    ]
    attributes: dict[str, Any] = {"signed": int(signed), "narrow": 0, "rounding_mode": "ROUND"}
    named = datatype if scale == 1.0 else ""
    return graph.node("Quant", [source, *numbers], output, shape, named, **attributes)


def _constant(
    graph: Graph, name: str, values: npt.NDArray[np.integer], datatype: str, scale: float = 1.0
) -> str:
    """Integers of ``datatype``, times ``scale``, as the ``Quant`` of a constant."""
    source = graph.constant(f"{name}_values", values * scale)
    return _quant(graph, source, name, values.shape, datatype, scale)
