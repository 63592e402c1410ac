"""Transport ``rtlsim``: the generated Verilog and its AXI4-Lite wrapper under Verilator."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_fpga.design import generate
from qpolicy_fpga.explore.choose import FitError
from qpolicy_fpga.manifest import read_manifest
from qpolicy_fpga.plan.devices import PARTS
from qpolicy_fpga.simulate.verilator import build
from qpolicy_fpga.wrappers.tops import Sizes, top_name, write_wrapper
from qpolicy_ros.backends.base import BackendError
from qpolicy_ros.backends.fpga.device import RegisterDevice
from qpolicy_ros.backends.fpga.packing import Shape
from qpolicy_ros.common.errors import PolicyError
from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.policy.model import PolicyArtifact

_CLOCK_MHZ = 100.0
_FAMILY = "xc7"  # whose forms are simulated; the others are slower
_SHIM = Path(__file__).with_name("axi_lite.cpp")
_RESPONSES = {2: "SLVERR", 3: "DECERR", -1: "no answer"}


class SimulatedRegisters:
    """The register map of a compiled simulation; ctypes releases the GIL in every access.

    Args:
        library: what ``build_registers`` returned.
    """

    name = "rtlsim"

    def __init__(self, library: Path) -> None:
        try:
            calls = ctypes.CDLL(str(library))
        except OSError as error:
            raise BackendError(f"rtlsim: {library}: {error}; delete its folder") from error
        calls.axi_new.restype = ctypes.c_void_p
        block: list[Any] = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_int]
        calls.axi_read_block.argtypes = calls.axi_write_block.argtypes = block
        calls.axi_free.argtypes = calls.axi_interrupt.argtypes = [ctypes.c_void_p]
        self._calls = calls
        self._bus: int | None = calls.axi_new()

    def read(self, address: int, count: int) -> npt.NDArray[np.uint32]:
        """See ``Registers.read``."""
        words = np.zeros(count, np.uint32)
        self._check("read", address, self._calls.axi_read_block, words)
        return words

    def write(self, address: int, words: npt.NDArray[np.uint32]) -> None:
        """See ``Registers.write``."""
        words = np.ascontiguousarray(words, np.uint32)
        self._check("write", address, self._calls.axi_write_block, words)

    def interrupt(self) -> bool:
        """Return the level of the interrupt line."""
        return bool(self._calls.axi_interrupt(self._bus))

    def close(self) -> None:
        """See ``Registers.close``."""
        if self._bus is not None:
            self._calls.axi_free(self._bus)
            self._bus = None

    def _check(self, what: str, address: int, call: Any, words: npt.NDArray[np.uint32]) -> None:
        if self._bus is None:
            raise BackendError("fpga: rtlsim: it is closed")
        response = call(self._bus, address, words.ctypes.data, words.size)
        if response:
            answer = _RESPONSES.get(response, str(response))
            raise BackendError(f"fpga: rtlsim: {what} at 0x{address:03X}: {answer}")


def build_registers(folder: Path) -> Path:
    """Return the compiled simulation of a generated folder behind the AXI4-Lite wrapper.

    Raises:
        PolicyError: the folder holds no generated core, or its sizes do not fit.
        BackendError: a tool is missing or fails.
    """
    manifest = read_manifest(folder)
    with scratch_folder() as scratch:
        wrapper = write_wrapper("axi_lite", Sizes.of(manifest), Path(scratch))
        return build_sources(manifest.function_hash, [*wrapper, *manifest.verilog(folder)])


def build_sources(name: str, sources: Sequence[Path]) -> Path:
    """Return the compiled simulation of Verilog whose top is the AXI4-Lite wrapper's."""
    shim = _SHIM.read_text(encoding="utf-8")
    return build(name, top_name("axi_lite"), sources, shim)


def open_device(artifact: PolicyArtifact, device: str, bitstream: str) -> RegisterDevice:
    """Open a simulation of ``artifact``'s core, or of the generated folder ``bitstream``.

    Raises:
        PolicyError: a wrong option, or a policy that cannot be generated.
        BackendError: a tool is missing or fails.
    """
    if device:
        remedy = "leave it empty for transport rtlsim"
        raise PolicyError.at("", "fpga.device", f"{device!r} has no meaning", remedy)
    assert artifact.network is not None
    shape = Shape.of(artifact.network)
    if bitstream:
        return RegisterDevice(SimulatedRegisters(build_registers(Path(bitstream))), shape)
    with scratch_folder() as scratch:
        folder = Path(scratch)
        _generate(artifact, folder)
        return RegisterDevice(SimulatedRegisters(build_registers(folder)), shape)


def _generate(artifact: PolicyArtifact, folder: Path) -> None:
    """Write a core for the smallest part that holds the policy: a simulation needs none.

    Raises:
        PolicyError: no part holds it.
    """
    parts = [part for part in PARTS.values() if part.family == _FAMILY]
    *smaller, largest = (part.name for part in sorted(parts, key=lambda part: part.lut))
    for part in smaller:
        with contextlib.suppress(FitError):
            generate(artifact, part, _CLOCK_MHZ, "latency", folder)
            return
    generate(artifact, largest, _CLOCK_MHZ, "latency", folder)
