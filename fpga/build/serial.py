"""A whole design behind its serial line, simulated many times at once.

What goes in is what a host's adapter sends, bit by bit, clock cycle by clock cycle; what comes out
is sampled in the middle of each bit. So the pins, the protocol, the core and all between them are
what is compared.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_fpga.manifest import Manifest
from qpolicy_fpga.simulate.lanes import LANES, LaneSimulation
from qpolicy_fpga.simulate.netlist import Netlist
from qpolicy_ros.backends.fpga.frames import (
    CRC_BYTES,
    HEAD_BYTES,
    INFER,
    REPLY,
    Decoder,
    Frame,
    encode,
)
from qpolicy_ros.backends.fpga.packing import Packer

_BITS = 10  # of a byte on the line: start, eight, stop
_QUIET = 64  # cycles before the first byte: the design's own reset
_SLACK = 200  # cycles for the wrapper around the core, and to be sure
_ANSWER_HEAD = 5  # status and cycles, before the codes


def line_cycles(manifest: Manifest, divider: int) -> int:
    """Clock cycles of a request on the line, for a core of these sizes."""
    beat = -(-manifest.codes_per_beat * manifest.b_in // 8)
    return (HEAD_BYTES + CRC_BYTES + manifest.beats * beat) * _BITS * divider


class SerialSimulation:
    """Copies of a design with the pins ``rx`` and ``tx``.

    Args:
        folder: what was generated.
        manifest: its manifest.
        gates: the design, with the ports of ``cut.serial_ports``.
        divider: clock cycles of a bit on the line.

    Raises:
        PolicyError, BackendError: as ``LaneSimulation``.
    """

    def __init__(self, folder: Path, manifest: Manifest, gates: Netlist, divider: int) -> None:
        pins = replace(manifest, m=1, b_out=1, b_in=1, codes_per_beat=1, beats=1)
        self._lanes = LaneSimulation(folder, pins, gates)
        self._divider, self._cycles = divider, manifest.cycles
        self._shape = manifest.shape
        self._packer = Packer(self._shape, 8)

    def infer(self, codes: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Ask every copy once, in rounds of 512.

        Args:
            codes: input codes ``(N, n)``.

        Returns:
            Output codes ``(N, m)`` and the cycles that each reply states ``(N,)``; these are 0,
            which no core takes, where there was no good reply.
        """
        outputs = np.zeros((len(codes), self._shape.m), np.int32)
        cycles = np.zeros(len(codes), np.int64)
        for start in range(0, len(codes), LANES):
            part = codes[start : start + LANES]
            for lane, payload in enumerate(self._round(part)):
                if payload is not None:
                    cycles[start + lane] = int.from_bytes(payload[1:_ANSWER_HEAD], "little")
                    data = np.frombuffer(payload, np.uint8, offset=_ANSWER_HEAD)
                    outputs[start + lane] = self._packer.unpack(data)
        return outputs, cycles

    def _round(self, codes: npt.NDArray[Any]) -> list[bytes | None]:
        """Payload of each copy's reply, None where there is no good one."""
        requests = [
            encode(Frame(INFER, lane & 0xFF, self._packer.pack(row).tobytes()))
            for lane, row in enumerate(codes)
        ]
        sent = np.array([list(request) for request in requests], np.uint8)
        size = _ANSWER_HEAD + self._packer.output_bytes
        expected = HEAD_BYTES + size + CRC_BYTES
        line = self._waveform(sent)
        idle = self._cycles + _SLACK + (expected + 1) * _BITS * self._divider
        rx = np.concatenate([line, np.ones((idle, LANES), np.uint8)])
        tx = self._lanes.cycles(rx)[len(line) - self._divider :]
        replies = self._sample(tx, expected)
        decoded: list[bytes | None] = []
        for lane in range(len(codes)):
            frames = Decoder(size).feed(replies[lane].tobytes())
            good = (
                frame.payload
                for frame in frames
                if (frame.kind, frame.sequence) == (INFER | REPLY, lane & 0xFF)
                and len(frame.payload) == size
                and frame.payload[:1] == b"\0"
            )
            decoded.append(next(good, None))
        return decoded

    def _waveform(self, sent: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Levels of the line ``(cycles, lanes)``; a copy without a request sees a quiet line."""
        lanes, count = sent.shape
        bits = np.ones((count, _BITS, LANES), np.uint8)
        bits[:, 0, :lanes] = 0
        bits[:, 1:9, :lanes] = (sent.T[:, None, :] >> np.arange(8, dtype=np.uint8)[:, None]) & 1
        levels = bits.reshape(count * _BITS, LANES).repeat(self._divider, axis=0)
        return np.concatenate([np.ones((_QUIET, LANES), np.uint8), levels])

    def _sample(self, tx: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.uint8]:
        """Bytes ``(lanes, count)``, each from the falling edge of its own start bit on."""
        last = len(tx) - 1
        lanes, places = np.arange(LANES), np.arange(len(tx), dtype=np.int32)[:, None]
        # The next cycle in which the line is low, from each cycle on.
        low = np.where(tx == 0, places, np.int32(last))
        low = np.minimum.accumulate(low[::-1], axis=0)[::-1]
        middle = np.arange(1, 9)[:, None] * self._divider + self._divider // 2
        at = np.zeros(LANES, np.int64)
        values = np.zeros((LANES, count), np.uint8)
        for byte in range(count):
            start = low[np.minimum(at, last), lanes]
            bits = tx[np.minimum(start[None, :] + middle, last), lanes]
            values[:, byte] = np.packbits(bits, axis=0, bitorder="little")[0]
            at = start + 9 * self._divider + self._divider // 2
        return values
