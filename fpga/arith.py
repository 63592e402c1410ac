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
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from qpolicy_ros.policy import IntegerNetwork
    from qpolicy_ros.policy.model import Int64


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


def make_layer(network: IntegerNetwork, index: int, planes_a_step: int) -> Layer:
    """Return layer ``index`` of ``network`` in unsigned form."""
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
    )
