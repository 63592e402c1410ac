"""The integer arithmetic in NumPy alone: the reference that every other engine must equal.

Products are carried in floating point through BLAS, which is many times faster than NumPy's
integer matmul, and exact: every partial sum is an integer below 2^24 (float32) or 2^53 (float64),
whatever the order of summing. Which one a layer needs is decided by ``partial_sum_bound``.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy.bounds import partial_sum_bound
from qpolicy_ros.policy.model import Float32, Int32, IntegerNetwork
from qpolicy_ros.policy.observation import as_observation, as_observations, refuse_non_finite

_FLOAT32_EXACT = 1 << 24
_BATCH_ROWS = 2048  # keeps the buffers of a layer within the cache
_FEW_LEVELS = 15  # up to here one pass over the batch a level beats a binary search a neuron


@dataclass(frozen=True)
class _Layer:
    """One layer's constants and buffers in the floating type that carries it exactly."""

    weights: npt.NDArray[Any]  # (out, in)
    thresholds: npt.NDArray[Any]  # (levels, out): ascending along axis 0
    inputs: npt.NDArray[Any]  # (in,)
    accumulators: npt.NDArray[Any]  # (out,)
    reached: npt.NDArray[np.bool_]  # (levels, out)
    ones: npt.NDArray[np.uint8]  # the same memory as ``reached``, to be added up
    counts: npt.NDArray[np.uint8]  # (out,); at most 255 levels


class NumpyEngine:
    """Integer policy in NumPy; buffers are reused, so one instance serves one thread.

    Attributes:
        kind: ``numpy``.
        quantise_ns: time spent on the input codes in the last call for one observation, ns.
    """

    kind = "numpy"

    def __init__(self, network: IntegerNetwork) -> None:
        self._network = network
        self._low, self._high = (np.float32(bound) for bound in network.input_range)
        self._layers = [
            _layer(weight, threshold, *network.layer_input_range(index))
            for index, (weight, threshold) in enumerate(
                zip(network.weights, network.thresholds, strict=True)
            )
        ]
        self._codes = np.empty(network.mean.shape, np.float32)
        self._actions = np.arange(network.table.shape[0])
        self.quantise_ns = 0

    @property
    def network(self) -> IntegerNetwork:
        """The network that this engine computes."""
        return self._network

    def act(self, observation: npt.ArrayLike) -> Float32:
        """Action for one observation: float32 ``(n,)`` to a new float32 ``(m,)``.

        Raises:
            ObservationError: wrong length or a value that is not finite.
        """
        counts: npt.NDArray[Any] = self._input_codes(observation)
        for layer in self._layers:
            counts = _forward(layer, counts)
        actions: Float32 = self._network.table[self._actions, counts]
        return actions

    def trace(self, observation: npt.ArrayLike) -> list[Int32]:
        """All codes for one observation: input, each hidden layer's, output (signed); int32.

        Raises:
            ObservationError: wrong length or a value that is not finite.
        """
        counts: npt.NDArray[Any] = self._input_codes(observation)
        codes = [counts.astype(np.int32)]
        for layer in self._layers:
            counts = _forward(layer, counts)
            codes.append(counts.astype(np.int32))
        codes[-1] += np.int32(self._network.output_min)
        return codes

    def input_codes(self, observation: npt.ArrayLike) -> Int32:
        """Step 1 alone, for an accelerator that does the rest: int32 ``(n,)``.

        Raises:
            ObservationError: wrong length or a value that is not finite.
        """
        return self._input_codes(observation).astype(np.int32)

    def act_batch(self, observations: npt.ArrayLike) -> Float32:
        """Actions for many observations: float32 ``(N, n)`` to ``(N, m)``, equal to ``act``'s.

        Raises:
            ObservationError: wrong shape or a value that is not finite.
        """
        codes = self.codes_batch(observations)[-1]
        return self._network.table[self._actions, codes - self._network.output_min]

    def codes_batch(self, observations: npt.ArrayLike) -> list[Int32]:
        """All codes for many observations, as ``trace``: a list of int32 ``(N, width)``.

        Raises:
            ObservationError: wrong shape or a value that is not finite.
        """
        matrix = as_observations(observations, self._codes.size)
        refuse_non_finite(matrix)
        widths = [self._codes.size] + [layer.weights.shape[0] for layer in self._layers]
        codes: list[Int32] = [np.empty((len(matrix), width), np.int32) for width in widths]
        for start in range(0, len(matrix), _BATCH_ROWS):
            rows = slice(start, start + _BATCH_ROWS)
            current: npt.NDArray[Any] = self._quantise(matrix[rows], None)
            codes[0][rows] = current
            for index, layer in enumerate(self._layers, start=1):
                current = _forward_batch(layer, current)
                codes[index][rows] = current
        codes[-1] += np.int32(self._network.output_min)
        return codes

    def _input_codes(self, observation: npt.ArrayLike) -> Float32:
        start = perf_counter_ns()
        vector = as_observation(observation, self._codes.size)
        refuse_non_finite(vector)
        codes = self._quantise(vector, self._codes)
        self.quantise_ns = perf_counter_ns() - start
        return codes

    def _quantise(self, values: Float32, out: Float32 | None) -> Float32:
        # A finite value far from the mean may overflow to infinity; the clip brings it back.
        with np.errstate(over="ignore"):
            out = np.subtract(values, self._network.mean, out=out)
            np.multiply(out, self._network.gain, out=out)
        np.rint(out, out=out)
        # np.clip does the same and costs twice as much on a short vector.
        np.maximum(out, self._low, out=out)
        np.minimum(out, self._high, out=out)
        return out


def _layer(weight: npt.NDArray[Any], threshold: Int32, in_min: int, in_max: int) -> _Layer:
    # A threshold is at most acc_max + 1, so "<" leaves it exact as well.
    exact = partial_sum_bound(weight, in_min, in_max) < _FLOAT32_EXACT
    dtype = np.float32 if exact else np.float64
    outputs, inputs = weight.shape
    levels = threshold.shape[1]
    reached = np.empty((levels, outputs), np.bool_)
    return _Layer(
        weights=weight.astype(dtype),
        thresholds=np.ascontiguousarray(threshold.T, dtype=dtype),
        inputs=np.empty(inputs, dtype),
        accumulators=np.empty(outputs, dtype),
        reached=reached,
        ones=reached.view(np.uint8),
        counts=np.empty(outputs, np.uint8),
    )


def _forward(layer: _Layer, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    layer.inputs[:] = codes
    layer.weights.dot(layer.inputs, layer.accumulators)
    np.greater_equal(layer.accumulators, layer.thresholds, out=layer.reached)
    np.add.reduce(layer.ones, axis=0, dtype=np.uint8, out=layer.counts)
    return layer.counts


def _forward_batch(layer: _Layer, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    accumulators = codes.astype(layer.weights.dtype, copy=False) @ layer.weights.T
    counts = np.zeros(accumulators.shape, np.uint8)
    if len(layer.thresholds) <= _FEW_LEVELS:
        for level in layer.thresholds:
            counts += accumulators >= level
    else:
        for neuron in range(counts.shape[1]):
            row = np.ascontiguousarray(layer.thresholds[:, neuron])
            counts[:, neuron] = np.searchsorted(row, accumulators[:, neuron], side="right")
    return counts
