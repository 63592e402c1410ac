"""A layer as hardware computes it: sums of non-negative terms, compared with non-negative bounds.

Input codes become unsigned ``u`` (the sign bit of a signed code inverted, which adds
``2^(bits-1)``). A negative weight takes the inverted bits of ``u``, that is
``v = 2^planes - 1 - u``, so that every term ``|w| v`` is non-negative and

    ``W q = H - K``,  ``H = sum |w| v``,  ``K = sum_{w<0} |w| (2^planes - 1) + offset sum w``.

``K`` is a constant of the neuron and moves into its thresholds: inverting bits is free in a
look-up table, and neither a sign nor a bias is left in the fabric.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qpolicy_ros.policy import IntegerNetwork
from qpolicy_ros.policy.model import Int64

BUS_BITS = 256


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer in unsigned form.

    Attributes:
        index: number of the layer, 0 first.
        magnitude: int64 ``(m, n)``, ``|w|``.
        negative: bool ``(m, n)``, whether the weight takes inverted bits.
        planes: bits of an input code, padded with zeros at the top to a multiple of the planes
            that a step takes.
        code_bits: bits of an input code.
        signed: whether input codes are signed (the first layer's are).
        out_bits: bits of an output code.
        signed_out: whether output codes are signed (the last layer's are).
        thresholds: int64 ``(m, 2^out_bits - 1)``, of ``H``, within ``[0, high + 1]``.
        high: int64 ``(m,)``, the largest ``H``.
        chunks: in how many chunks the input codes come; 1 = all at once.
        chunk: input codes of a chunk; those beyond the last input are ignored.
    """

    index: int
    magnitude: Int64
    negative: np.ndarray
    planes: int
    code_bits: int
    signed: bool
    out_bits: int
    signed_out: bool
    thresholds: Int64
    high: Int64
    chunks: int
    chunk: int

    @property
    def neurons(self) -> int:
        """Neurons of this layer."""
        return int(self.magnitude.shape[0])

    @property
    def inputs(self) -> int:
        """Inputs of this layer."""
        return int(self.magnitude.shape[1])

    @property
    def sum_bits(self) -> int:
        """Bits of ``H`` of the widest neuron, at least 1."""
        return max(1, int(self.high.max()).bit_length())


def bus_beats(network: IntegerNetwork) -> tuple[int, int]:
    """Return the beats of a frame and the input codes of a beat."""
    inputs = network.weights[0].shape[1]
    codes = min(inputs, BUS_BITS // network.input_bits)
    return -(-inputs // codes), codes


def chunks_of(network: IntegerNetwork, index: int, fold: int) -> tuple[int, int]:
    """Return in how many chunks the inputs of layer ``index`` come, and the codes of a chunk.

    Args:
        network: the policy.
        index: of the layer.
        fold: of the layer before it, whose trees give a code each in every phase; not used for
            the first layer, whose chunks are the beats of the bus.
    """
    if index == 0:
        return bus_beats(network)
    return fold, -(-network.weights[index].shape[1] // fold)


def make_layer(
    network: IntegerNetwork, index: int, planes_a_step: int, chunks: tuple[int, int] | None = None
) -> Layer:
    """Return layer ``index`` of ``network`` in unsigned form.

    Args:
        network: the policy.
        index: of the layer.
        planes_a_step: bit planes that are added at once.
        chunks: in how many chunks the input codes come and codes of a chunk; None = all at once.
    """
    last = index == len(network.weights) - 1
    signed = index == 0
    code_bits = network.input_bits if signed else network.core_bits
    planes = -(-code_bits // planes_a_step) * planes_a_step
    weight = network.weights[index].astype(np.int64)
    magnitude, negative = np.abs(weight), weight < 0
    full = (1 << planes) - 1
    offset = 1 << (code_bits - 1) if signed else 0
    constant = (magnitude * negative).sum(axis=1) * full + offset * weight.sum(axis=1)
    high = magnitude.sum(axis=1) * full
    thresholds = network.thresholds[index].astype(np.int64) + constant[:, None]
    return Layer(
        index=index,
        magnitude=magnitude,
        negative=negative,
        planes=planes,
        code_bits=code_bits,
        signed=signed,
        out_bits=network.output_bits if last else network.core_bits,
        signed_out=last,
        thresholds=np.clip(thresholds, 0, high[:, None] + 1),
        high=high,
        chunks=1 if chunks is None else chunks[0],
        chunk=weight.shape[1] if chunks is None else chunks[1],
    )
