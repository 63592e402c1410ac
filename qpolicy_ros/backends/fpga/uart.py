"""Transport ``uart``: a core behind a serial port, through pyserial."""

from __future__ import annotations

import contextlib
import os
import termios
import time
from typing import Any

import numpy as np

from qpolicy_ros.backends.base import BackendError
from qpolicy_ros.backends.fpga.device import UINT32, Identity, Unseen
from qpolicy_ros.backends.fpga.frames import (
    CRC_BYTES,
    FORGET,
    HEAD_BYTES,
    IDENTIFY,
    INFER,
    LINE_STATUS,
    REPLY,
    STATUS,
    UNKNOWN_TYPE,
    UNSEEN,
    Decoder,
    Frame,
    encode,
)
from qpolicy_ros.backends.fpga.packing import Packer, Shape
from qpolicy_ros.common.errors import PolicyError
from qpolicy_ros.policy.model import Int32, PolicyArtifact

DEFAULT_BAUD = 1_000_000
_ANSWER_LIMIT = 0.05  # s beyond the bytes' own time; a USB adapter holds bytes back for 16 ms
_DRAIN_LIMIT = 0.5  # s after that for bytes that still come
_SLICE = 0.005  # s that one read waits at most
_IDENTITY_BYTES = 37
_UNSEEN_BYTES = 17
_BITS_A_BYTE = 10


class _LineError(BackendError):
    """The line is to blame, not the core: asking again may help."""


class _UnknownTypeError(BackendError):
    """The core does not know this request."""


class UartDevice:
    """The accelerator behind a serial port; reads release the GIL and end at their time limit.

    Args:
        port: an open ``serial.Serial`` whose time limits are short (``_SLICE``).
        shape: sizes that the policy expects; the caller compares them with ``identify``.
        name: the port, for messages.
    """

    unseen_reads = 4  # a third of a millisecond each, and what a USB adapter adds

    def __init__(self, port: Any, shape: Shape, name: str) -> None:
        self.name = name
        self.cycles = 0
        self._port = port
        self._packer = Packer(shape, 8)
        self._sequence = 0
        longest = max(_IDENTITY_BYTES, 5 + self._packer.output_bytes)
        self._decoder = Decoder(longest)

    def identify(self) -> Identity:
        """See ``Device.identify``."""
        payload = self._ask(IDENTIFY, b"", _IDENTITY_BYTES)
        return Identity.from_words(np.frombuffer(payload, UINT32, offset=1))

    def infer(self, codes: Int32) -> Int32:
        """See ``Device.infer``."""
        size = 5 + self._packer.output_bytes
        payload = self._ask(INFER, self._packer.pack(codes).tobytes(), size)
        self.cycles = int.from_bytes(payload[1:5], "little")
        return self._packer.unpack(np.frombuffer(payload, np.uint8, offset=5))

    def unseen(self, value: int) -> Unseen:
        """See ``Device.unseen``."""
        try:
            payload = self._ask(UNSEEN, value.to_bytes(2, "little"), _UNSEEN_BYTES)
        except _UnknownTypeError:  # a core without a supervisor
            return Unseen(0, 0, 0, 0)
        ranges, observations, flags, count = np.frombuffer(payload, UINT32, offset=1).tolist()
        return Unseen(ranges, observations, flags, count)

    def forget(self) -> None:
        """See ``Device.forget``."""
        self._ask(FORGET, b"", 1)

    def read_cycles(self) -> int:
        """Return how many clock cycles the last inference took in the core."""
        return self.cycles

    def close(self) -> None:
        """See ``Device.close``."""
        with contextlib.suppress(OSError):  # of an adapter that is gone
            self._port.close()

    def _ask(self, kind: int, payload: bytes, size: int) -> bytes:
        """Return the payload of the reply to a request, ``size`` bytes; ask twice if need be.

        A core has no memory between observations, so a request may be repeated.
        """
        try:
            return self._ask_once(kind, payload, size)
        except _LineError:
            return self._ask_once(kind, payload, size)

    def _ask_once(self, kind: int, payload: bytes, size: int) -> bytes:
        self._sequence = (self._sequence + 1) & 0xFF
        request = encode(Frame(kind, self._sequence, payload))
        both_ways = len(request) + HEAD_BYTES + size + CRC_BYTES
        limit = _ANSWER_LIMIT + both_ways * _BITS_A_BYTE / self._port.baudrate
        try:
            self._decoder.clear()
            self._port.read(self._port.in_waiting)  # answers that came too late
            self._port.write(request)
            reply = self._receive(kind, limit)
        except OSError as error:  # serial.SerialException is one
            raise BackendError(f"fpga: {self.name}: {error}") from error
        if reply.payload[:1] != b"\0":
            code = reply.payload[0] if reply.payload else -1
            message = f"fpga: {self.name}: refused: {STATUS.get(code, f'status {code}')}"
            if code == UNKNOWN_TYPE:
                raise _UnknownTypeError(message)
            raise (_LineError if code in LINE_STATUS else BackendError)(message)
        if len(reply.payload) != size:
            raise BackendError(
                f"fpga: {self.name}: the reply has {len(reply.payload)} bytes instead of {size}; "
                "the core is not this policy's"
            )
        return reply.payload

    def _receive(self, kind: int, limit: float) -> Frame:
        """Return the reply to the request sent last; other frames are late or foreign."""
        end = time.monotonic() + limit
        received = 0
        while True:
            data = self._port.read(self._decoder.missing)
            received += len(data)
            for frame in self._decoder.feed(data):
                if (frame.kind, frame.sequence) == (kind | REPLY, self._sequence):
                    return frame
            late = time.monotonic() - end
            # What had come in time is looked through, but a line that never rests has an end too.
            if late >= 0 and (not data or late >= _DRAIN_LIMIT):
                what = f"{received} bytes but no whole reply" if received else "no answer"
                raise _LineError(f"fpga: {self.name}: {what} within {limit * 1e3:.0f} ms")


def open_device(artifact: PolicyArtifact, device: str, bitstream: str) -> UartDevice:
    """Open serial port ``device``: ``/dev/ttyUSB1`` or ``/dev/ttyUSB1@115200``.

    Raises:
        PolicyError: an option is wrong.
        BackendError: pyserial is not installed or the port cannot be opened.
    """
    name, _, baud = device.partition("@")
    if not name or (baud and not baud.isdecimal()):
        remedy = "give a serial port such as /dev/ttyUSB1 or /dev/ttyUSB1@115200"
        raise PolicyError.at("", "fpga.device", f"{device!r} is no serial port", remedy)
    if bitstream:
        remedy = "load the board with Vivado's hardware manager and leave it empty"
        raise PolicyError.at("", "fpga.bitstream", "is not taken by transport uart", remedy)
    try:
        import serial  # noqa: PLC0415  only this transport needs it
    except ImportError as error:
        message = "fpga: pyserial is not installed; install it with `pip install pyserial`"
        raise BackendError(message) from error
    try:
        port = serial.Serial(
            name, int(baud or DEFAULT_BAUD), timeout=_SLICE, write_timeout=0.2, exclusive=True
        )
    except (OSError, ValueError, termios.error) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        # pyserial lets this one through where an adapter goes or comes while its port is set up.
        reason = error.args[-1] if isinstance(error, termios.error) else reason
        message = f"fpga: {name}: {reason}; give the serial port of the board in fpga.device"
        raise BackendError(message) from error
    assert artifact.network is not None
    return UartDevice(port, Shape.of(artifact.network), name)
