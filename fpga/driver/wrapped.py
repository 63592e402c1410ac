"""A generated core behind each of its wrappers, simulated, for many observations at once.

``axi_lite`` goes through the driver of the register map, ``uart`` through the driver of the serial
protocol on a simulated line, ``axi_stream`` through its bus with gaps on both sides.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from qpolicy_fpga.driver.rtlsim import SimulatedRegisters, build_sources
from qpolicy_fpga.manifest import Manifest
from qpolicy_fpga.simulate.verilator import build
from qpolicy_fpga.wrappers.tops import Sizes, top_name, write_wrapper
from qpolicy_ros.backends.base import BackendError
from qpolicy_ros.backends.fpga.device import Device, RegisterDevice, check_identity
from qpolicy_ros.backends.fpga.packing import Packer, Shape
from qpolicy_ros.backends.fpga.uart import UartDevice
from qpolicy_ros.policy.model import Int32

_UART = Path(__file__).with_name("uart_line.cpp")
_STREAM = Path(__file__).with_name("axi_stream.cpp")
_CLKS_PER_BIT = 4
_BYTE_LIMIT, _CORE_LIMIT = 20_000, 1_000_000  # clock cycles
_SLICE = 500  # clock cycles that a read waits at least
_ALONE = 64  # observations that pass through a stream by themselves; more than it may hold


class Wrapped(Protocol):
    """A core behind a wrapper."""

    def infer(self, codes: Int32) -> Int32:
        """Input codes int32 ``(N, n)`` to output codes int32 ``(N, m)``; BackendError if not."""
        ...

    def close(self) -> None:
        """Free the simulation."""
        ...


def open_wrapped(kind: str, manifest: Manifest, core: list[Path], folder: Path) -> Wrapped:
    """Compile ``core``, a generated core's sources, behind wrapper ``kind`` and start it.

    Args:
        kind: a key of ``WRAPPED``.
        manifest: of the core.
        core: its Verilog files.
        folder: where the wrapper's sources are written, unless they are there already.

    Raises:
        BackendError: a tool is missing or fails, or the core is not what the manifest says.
    """
    sources = sorted(folder.glob("*.v")) if folder.is_dir() else []
    sources = sources or write_wrapper(kind, Sizes.of(manifest), folder)
    return WRAPPED[kind](manifest.function_hash, manifest.shape, [*sources, *core])


class _OneByOne:
    """A wrapper behind a driver: an observation a call, after its identity is checked."""

    def __init__(self, device: Device, function_hash: str, shape: Shape) -> None:
        self._device = device
        try:
            check_identity(device.name, device.identify(), function_hash, shape)
        except BaseException:
            device.close()
            raise

    def infer(self, codes: Int32) -> Int32:
        return np.stack([self._device.infer(row) for row in codes])

    def close(self) -> None:
        self._device.close()


def _axi_lite(function_hash: str, shape: Shape, sources: list[Path]) -> Wrapped:
    library = build_sources(function_hash, sources)
    return _OneByOne(RegisterDevice(SimulatedRegisters(library), shape), function_hash, shape)


def _uart(function_hash: str, shape: Shape, sources: list[Path]) -> Wrapped:
    options = [f"-GCLKS_PER_BIT={_CLKS_PER_BIT}", f"-GBYTE_LIMIT={_BYTE_LIMIT}"]
    options.append(f"-GCORE_LIMIT={_CORE_LIMIT}")
    shim = _UART.read_text(encoding="utf-8")
    library = build(function_hash, top_name("uart"), sources, shim, options)
    return _OneByOne(UartDevice(_SimulatedPort(library), shape, "uart"), function_hash, shape)


class _SimulatedPort:
    """What ``UartDevice`` asks of pyserial; simulated time passes while it reads."""

    # The driver's time limit for the bytes of an answer is wall-clock time, in which a large core
    # is simulated hundreds of times slower than it runs, and slower still on a busy machine.
    baudrate = 200

    def __init__(self, library: Path) -> None:
        calls = ctypes.CDLL(str(library))
        calls.line_new.restype = ctypes.c_void_p
        calls.line_run.argtypes = [
            *(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
        ]
        calls.line_free.argtypes = [ctypes.c_void_p]
        self._calls = calls
        self._line: int | None = calls.line_new()
        self._answer = np.zeros(1 << 16, np.uint8)
        self._received = b""

    @property
    def in_waiting(self) -> int:
        return len(self._received)

    def write(self, data: bytes) -> int:
        self._run(data, 1)
        return len(data)

    def read(self, size: int) -> bytes:
        if len(self._received) < size:
            self._run(b"", _SLICE)
        data, self._received = self._received[:size], self._received[size:]
        return data

    def close(self) -> None:
        if self._line is not None:
            self._calls.line_free(self._line)
            self._line = None

    def _run(self, data: bytes, cycles: int) -> None:
        count = self._calls.line_run(self._line, data, len(data), cycles, self._answer.ctypes.data)
        self._received += self._answer[:count].tobytes()


class _Stream:
    def __init__(self, function_hash: str, shape: Shape, sources: list[Path]) -> None:
        self._shape = shape
        self._packer = Packer(shape, 8)
        self._beat_bytes = -(-shape.codes_per_beat * shape.b_in // 8)
        widths = f"#define IN_BITS {8 * self._beat_bytes}\n"
        widths += f"#define OUT_BITS {8 * self._packer.output_bytes}\n"
        shim = widths + _STREAM.read_text(encoding="utf-8")
        calls = ctypes.CDLL(str(build(function_hash, top_name("axi_stream"), sources, shim)))
        calls.stream_new.restype = ctypes.c_void_p
        calls.stream_free.argtypes = calls.stream_malformed.argtypes = [ctypes.c_void_p]
        calls.stream_malformed.restype = ctypes.c_uint32
        calls.stream_run.restype = ctypes.c_long
        self._calls = calls
        self._stream: int | None = calls.stream_new()

    def infer(self, codes: Int32) -> Int32:
        # At first one at a time: the wrapper also runs empty, and not only full.
        alone = [self._infer(codes[i : i + 1]) for i in range(min(_ALONE, len(codes)))]
        rest = [self._infer(codes[_ALONE:])] if len(codes) > _ALONE else []
        return np.concatenate([*alone, *rest])

    def _infer(self, codes: Int32) -> Int32:
        beats, size = self._shape.beats, self._packer.output_bytes
        packed = np.stack([self._packer.pack(row).view(np.uint8) for row in codes])
        packed = packed.reshape(len(codes), beats, self._beat_bytes)
        data = np.zeros((len(codes), beats, -(-self._beat_bytes // 4) * 4), np.uint8)
        data[:, :, : self._beat_bytes] = packed
        out = np.zeros((len(codes), -(-size // 4) * 4), np.uint8)
        count = self._calls.stream_run(
            ctypes.c_void_p(self._stream),
            ctypes.c_void_p(data.ctypes.data),
            ctypes.c_long(len(codes)),
            ctypes.c_long(beats),
            ctypes.c_uint(180),
            ctypes.c_uint(180),
            ctypes.c_uint(len(codes)),
            ctypes.c_void_p(out.ctypes.data),
        )
        malformed = self._calls.stream_malformed(self._stream)
        if count != len(codes) or malformed:
            raise BackendError(f"axi_stream: {count} answers, {malformed} frames called malformed")
        return np.stack([self._packer.unpack(row[:size]) for row in out])

    def close(self) -> None:
        if self._stream is not None:
            self._calls.stream_free(self._stream)
            self._stream = None


WRAPPED: dict[str, Callable[[str, Shape, list[Path]], Wrapped]] = {
    "axi_lite": _axi_lite,
    "axi_stream": _Stream,
    "uart": _uart,
}
