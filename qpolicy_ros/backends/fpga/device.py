"""What the backend asks of an accelerator, and the driver of the one behind registers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from qpolicy_ros.backends.base import BackendError
from qpolicy_ros.backends.fpga.packing import Packer, Shape
from qpolicy_ros.backends.fpga.registers import (
    ERRORS,
    FLAG,
    MAGIC_VALUE,
    OFFSET,
    POISON,
    STATUS_MASK,
    VERSION_VALUE,
)
from qpolicy_ros.policy.model import Int32

_DONE_LIMIT = 0.05  # s; a core takes microseconds
_MIN_POLLS = 2000  # a process that was not scheduled for a while must not blame the core
_START, _RESET = FLAG["CONTROL", "START"], FLAG["CONTROL", "RESET"]
_BUSY, _DONE, _ERROR = (FLAG["STATUS", name] for name in ("BUSY", "DONE", "ERROR"))
_SUPERVISED_SINCE = 0x00010001  # version of the map
_IDENTITY_WORDS = 9  # MAGIC to BEAT
UINT32 = np.dtype("<u4")


class Identity(NamedTuple):
    """Who an accelerator says it is.

    Attributes:
        magic, version: as in the register map.
        function_hash: first 32 hexadecimal digits.
        shape: sizes of the core.
    """

    magic: int
    version: int
    function_hash: str
    shape: Shape

    @classmethod
    def from_words(cls, words: npt.NDArray[np.uint32]) -> Identity:
        """Read the register map's first nine words."""
        magic, version, *digits, counts, bits, beat = (int(word) for word in words)
        shape = Shape(
            counts & 0xFFFF, counts >> 16, bits & 0xFF, bits >> 8 & 0xFF, beat & 0xFFFF, beat >> 16
        )
        return cls(magic, version, "".join(f"{word:08x}" for word in digits), shape)


class Unseen(NamedTuple):
    """What a supervisor beside the core has counted; see the register map.

    Attributes:
        ranges: which ranges it compares with, 0 where there is no supervisor.
        observations: how many had a code that was never seen.
        flags: of 32 values, the lowest bit the first: whether each ever had such a code.
        count: how often the value that was asked for had one.
    """

    ranges: int
    observations: int
    flags: int
    count: int


class Device(Protocol):
    """An accelerator: one inference at a time, from one thread at a time.

    Attributes:
        name: for messages.
        unseen_reads: how many readings of ``unseen`` a report of a second may take.
    """

    name: str
    unseen_reads: int

    def identify(self) -> Identity:
        """Ask who it is; BackendError where it does not answer."""
        ...

    def infer(self, codes: Int32) -> Int32:
        """Input codes int32 ``(n,)`` to signed output codes int32 ``(m,)``.

        Raises:
            BackendError: no answer in time, or a refusal.
        """
        ...

    def unseen(self, value: int) -> Unseen:
        """What the supervisor says of input ``value``; BackendError where it does not answer."""
        ...

    def forget(self) -> None:
        """Clear what the supervisor has counted; BackendError as above."""
        ...

    def close(self) -> None:
        """Release it; safe to call twice."""
        ...


class Registers(Protocol):
    """32-bit words at byte addresses; BackendError where an access is refused or unanswered."""

    name: str

    def read(self, address: int, count: int) -> npt.NDArray[np.uint32]:
        """Return ``count`` words from ``address`` on, uint32."""
        ...

    def write(self, address: int, words: npt.NDArray[np.uint32]) -> None:
        """Write words from ``address`` on."""
        ...

    def close(self) -> None:
        """Release them; safe to call twice."""
        ...


class RegisterDevice:
    """The accelerator behind the AXI4-Lite register map.

    Args:
        registers: access to the map.
        shape: sizes that the policy expects; the caller compares them with ``identify``.
    """

    unseen_reads = 64  # microseconds each

    def __init__(self, registers: Registers, shape: Shape) -> None:
        self.name = registers.name
        self.cycles = 0
        self._registers = registers
        self._packer = Packer(shape, 32)
        self._output_words = -(-shape.m * shape.b_out // 32)
        self._start, self._reset = (np.array([bit], np.uint32) for bit in (_START, _RESET))

    def identify(self) -> Identity:
        """See ``Device.identify``."""
        return Identity.from_words(self._registers.read(OFFSET["MAGIC"], _IDENTITY_WORDS))

    def infer(self, codes: Int32) -> Int32:
        """See ``Device.infer``."""
        registers = self._registers
        words = self._packer.pack(codes).view(UINT32)
        if self._status() & _BUSY:
            # What an earlier time limit has left behind.
            registers.write(OFFSET["CONTROL"], self._reset)
        registers.write(OFFSET["INPUT"], words)
        registers.write(OFFSET["CONTROL"], self._start)
        self._wait()
        output = registers.read(OFFSET["OUTPUT"], self._output_words)
        if (output == POISON).any():
            # Codes may be these bits too; a bus that fell silent shows it again.
            self._status()
            output = registers.read(OFFSET["OUTPUT"], self._output_words)
        return self._packer.unpack(output.astype(UINT32, copy=False).view(np.uint8))

    def read_cycles(self) -> int:
        """Return how many clock cycles the last inference took in the core."""
        return int(self._registers.read(OFFSET["CYCLES"], 1)[0])

    def unseen(self, value: int) -> Unseen:
        """See ``Device.unseen``."""
        registers = self._registers
        # A map of an older version refuses to be read there.
        old = int(registers.read(OFFSET["VERSION"], 1)[0]) < _SUPERVISED_SINCE
        ranges = 0 if old else int(registers.read(OFFSET["RANGES"], 1)[0])
        if ranges == 0:
            return Unseen(0, 0, 0, 0)
        registers.write(OFFSET["UNSEEN_VALUE"], np.array([value], np.uint32))
        observations = int(registers.read(OFFSET["UNSEEN"], 1)[0])
        count, flags = (int(word) for word in registers.read(OFFSET["UNSEEN_COUNT"], 2))
        return Unseen(ranges, observations, flags, count)

    def forget(self) -> None:
        """See ``Device.forget``."""
        self._registers.write(OFFSET["CONTROL"], np.array([FLAG["CONTROL", "FORGET"]], np.uint32))

    def close(self) -> None:
        """See ``Device.close``."""
        self._registers.close()

    def _wait(self) -> None:
        limit = time.monotonic() + _DONE_LIMIT
        polls = 0
        while True:
            status = self._status()
            if status & _ERROR:
                self._raise_refusal()
            if status & _DONE:
                return
            polls += 1
            if polls >= _MIN_POLLS and time.monotonic() > limit:
                self._registers.write(OFFSET["CONTROL"], self._reset)
                raise BackendError(
                    f"fpga: {self.name}: the core is not done after {_DONE_LIMIT:g} s "
                    f"(STATUS 0x{status:X}); it has been reset"
                )

    def _status(self) -> int:
        status = int(self._registers.read(OFFSET["STATUS"], 1)[0])
        if status & ~STATUS_MASK:
            why = "the bus did not answer in time" if status == POISON else "it is no qpolicy core"
            raise BackendError(f"fpga: {self.name}: STATUS reads 0x{status:08X}: {why}")
        return status

    def _raise_refusal(self) -> None:
        error = self._registers.read(OFFSET["ERROR"], 1)
        self._registers.write(OFFSET["ERROR"], error)  # write 1 to clear
        text = ", ".join(bit.meaning for bit in ERRORS if int(error[0]) >> bit.low & 1)
        raise BackendError(f"fpga: {self.name}: refused: {text or f'ERROR 0x{int(error[0]):X}'}")


def check_identity(name: str, identity: Identity, function_hash: str, shape: Shape) -> None:
    """Raise BackendError unless the accelerator holds this policy; the text says what differs."""
    if identity.magic != MAGIC_VALUE:
        found = f"0x{identity.magic:08X}"
        why = "the bus did not answer" if identity.magic == POISON else "no qpolicy core is there"
        wrong = f"magic is {found} instead of 0x{MAGIC_VALUE:08X}: {why}"
    elif identity.version >> 16 != VERSION_VALUE >> 16:
        wrong = (
            f"register map version {identity.version >> 16}, this driver knows "
            f"{VERSION_VALUE >> 16}: generate the core again"
        )
    elif identity.function_hash != function_hash[:32]:
        wrong = (
            f"it holds function {identity.function_hash[:12]}, the policy is {function_hash[:12]}: "
            "load the bitstream of this policy"
        )
    elif identity.shape != shape:
        wrong = f"its sizes are {identity.shape}, the policy's {shape}"
    else:
        return
    raise BackendError(f"fpga: {name}: {wrong}")


def check_golden_codes(device: Device, inputs: Sequence[Int32], outputs: Int32) -> None:
    """Raise BackendError unless the accelerator answers the golden vectors as the policy does.

    Args:
        device: the accelerator.
        inputs: input codes int32 ``(n,)`` of each vector.
        outputs: the policy's output codes int32 ``(vectors, m)``.
    """
    for vector, (codes, expected) in enumerate(zip(inputs, outputs, strict=True)):
        answer = device.infer(codes)
        wrong = np.flatnonzero(answer != expected)
        if wrong.size:
            raise BackendError(
                f"fpga: {device.name}: golden vector {vector}, output {wrong[0]}: code "
                f"{answer[wrong[0]]} instead of {expected[wrong[0]]}; the core is damaged or not "
                "this policy's: load its bitstream again"
            )
