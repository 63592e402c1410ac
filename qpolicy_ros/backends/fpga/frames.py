"""Frames on the serial line: see docs/fpga/uart.md; no serial port is touched here."""

from __future__ import annotations

import struct
from typing import NamedTuple

SYNC = 0xA5
IDENTIFY, INFER, UNSEEN, FORGET, REPLY = 0x01, 0x02, 0x03, 0x04, 0x80
HEAD_BYTES, CRC_BYTES = 5, 2
STATUS = {
    0: "ok",
    1: "the frame arrived damaged (CRC)",
    2: "the frame's type is unknown",
    3: "the frame's length is not the core's",
    4: "an input code is out of range",
    5: "the core is not done in time and has been reset",
    6: "bytes came while a request was being worked on",
}
UNKNOWN_TYPE = 2
LINE_STATUS = (1, 6)  # those that a repeated request may not get
_POLYNOMIAL = 0x1021


class Frame(NamedTuple):
    """One frame without sync and CRC."""

    kind: int
    sequence: int
    payload: bytes


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (_POLYNOMIAL if crc & 0x8000 else 0)) & 0xFFFF
        table.append(crc)
    return tuple(table)


_TABLE = _table()


def crc16(data: bytes) -> int:
    """Return CRC-16/IBM-3740 (CCITT-FALSE); of ``b"123456789"`` it is 0x29B1."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ _TABLE[crc >> 8 ^ byte]
    return crc


def encode(frame: Frame) -> bytes:
    """Return the bytes of a frame."""
    head = struct.pack("<BBH", frame.kind, frame.sequence, len(frame.payload))
    body = head + frame.payload
    return bytes([SYNC]) + body + struct.pack("<H", crc16(body))


class Decoder:
    """Finds frames in a stream of bytes, whatever lies between them.

    Args:
        max_payload: longest payload that can be real; a longer one is a false start.
    """

    def __init__(self, max_payload: int) -> None:
        self._max_payload = max_payload
        self._buffer = bytearray()

    @property
    def missing(self) -> int:
        """Bytes until the next frame can be complete, at least 1."""
        length = HEAD_BYTES + CRC_BYTES
        if len(self._buffer) >= HEAD_BYTES:
            length += int.from_bytes(self._buffer[3:5], "little")
        return max(1, length - len(self._buffer))

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes and return the frames that they complete; damaged ones are skipped."""
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def clear(self) -> None:
        """Forget a half frame."""
        self._buffer.clear()

    def _next(self) -> Frame | None:
        buffer = self._buffer
        while True:
            start = buffer.find(SYNC)
            del buffer[: start if start >= 0 else len(buffer)]
            if len(buffer) < HEAD_BYTES:
                return None
            length = int.from_bytes(buffer[3:5], "little")
            end = HEAD_BYTES + length + CRC_BYTES
            if length <= self._max_payload:
                if len(buffer) < end:
                    return None
                body = bytes(buffer[1 : end - CRC_BYTES])
                if crc16(body) == int.from_bytes(buffer[end - CRC_BYTES : end], "little"):
                    del buffer[:end]
                    return Frame(body[0], body[1], body[4:])
            del buffer[0]  # a false start: look for the next sync
