"""Codes to the bits of the core's bus and back: see "Packing" in docs/fpga/register-map.md."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from qpolicy_ros.backends.base import BackendError
from qpolicy_ros.policy.model import Int32, IntegerNetwork

_BUS_BITS = 256  # widest input bus of the core


class CoreShape(NamedTuple):
    """Sizes of a core as its registers or its identity frame tell them."""

    n: int
    m: int
    b_in: int
    b_out: int
    codes_per_beat: int
    beats: int

    @classmethod
    def of(cls, network: IntegerNetwork) -> CoreShape:
        """Return the sizes that a core of this network has."""
        n, m = network.mean.size, network.table.shape[0]
        per_beat = min(n, _BUS_BITS // network.input_bits)
        beats = -(-n // per_beat)
        return cls(n, m, network.input_bits, network.output_bits, per_beat, beats)


class Packer:
    """Packs input codes and unpacks output codes for one shape.

    Args:
        shape: sizes of the core.
        align_bits: 32 for the registers, 8 for the UART: a beat starts at a multiple of it.
    """

    def __init__(self, shape: CoreShape, align_bits: int) -> None:
        self.shape = shape
        stride_bits = -(-shape.codes_per_beat * shape.b_in // align_bits) * align_bits
        self._low, self._high = -(1 << (shape.b_in - 1)), (1 << (shape.b_in - 1)) - 1
        self._input_bits = np.zeros((shape.beats, stride_bits), np.uint8)
        index = np.arange(shape.n)
        columns = (index % shape.codes_per_beat)[:, None] * shape.b_in + np.arange(shape.b_in)
        # Where each bit of each code goes, in the flat array.
        self._places = (index // shape.codes_per_beat)[:, None] * stride_bits + columns
        self._in_shifts = np.arange(shape.b_in, dtype=np.int32)
        self._out_weights = 1 << np.arange(shape.b_out, dtype=np.int32)
        self._out_weights[-1] = -self._out_weights[-1]  # two's complement

    @property
    def output_bytes(self) -> int:
        """Bytes that hold all output codes."""
        return -(-self.shape.m * self.shape.b_out // 8)

    def pack(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return the bytes of integer input codes ``(n,)``, lowest first.

        Raises:
            BackendError: a code does not fit into ``b_in`` bits.
        """
        wrong = (codes < self._low) | (codes > self._high)
        if wrong.any():
            index = int(np.argmax(wrong))
            raise BackendError(
                f"fpga: input code {index}: {codes[index]} is out of range "
                f"[{self._low}, {self._high}]"
            )
        bits = (codes[:, None] >> self._in_shifts) & 1
        self._input_bits.reshape(-1)[self._places] = bits
        return np.packbits(self._input_bits, bitorder="little")

    def unpack(self, data: npt.NDArray[np.uint8]) -> Int32:
        """Return the signed output codes int32 ``(m,)`` in ``data``, its bytes lowest first."""
        shape = self.shape
        bits = np.unpackbits(data, bitorder="little")[: shape.m * shape.b_out]
        codes: Int32 = bits.reshape(shape.m, shape.b_out).astype(np.int32) @ self._out_weights
        return codes
