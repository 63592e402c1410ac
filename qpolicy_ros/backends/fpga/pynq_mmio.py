"""Transport ``pynq``: the AXI4-Lite wrapper in the fabric of a Zynq, through pynq's MMIO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.backends.base import BackendError
from qpolicy_ros.backends.fpga.device import RegisterDevice
from qpolicy_ros.backends.fpga.packing import CoreShape
from qpolicy_ros.backends.fpga.registers import INPUT_END
from qpolicy_ros.common.errors import PolicyError
from qpolicy_ros.policy.model import PolicyArtifact

DEFAULT_IP = "qpolicy_0"  # the name in our board design
_LOADED: set[Path] = set()


class MmioRegisters:
    """The register map as pynq's MMIO shows it.

    Args:
        mmio: ``pynq.MMIO`` over the map's 4 KiB.
        name: for messages.
    """

    def __init__(self, mmio: Any, name: str) -> None:
        self.name = name
        self._mmio = mmio

    def read(self, address: int, count: int) -> npt.NDArray[np.uint32]:
        """See ``Registers.read``."""
        try:
            words = [self._mmio.read(address + 4 * i) for i in range(count)]
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            raise BackendError(f"fpga: {self.name}: read at 0x{address:03X}: {error}") from error
        return np.array(words, np.uint32)

    def write(self, address: int, words: npt.NDArray[np.uint32]) -> None:
        """See ``Registers.write``."""
        try:
            for index, word in enumerate(words.tolist()):
                self._mmio.write(address + 4 * index, word)
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            raise BackendError(f"fpga: {self.name}: write at 0x{address:03X}: {error}") from error

    def close(self) -> None:
        """Nothing to release: the mapping belongs to pynq."""


def open_device(artifact: PolicyArtifact, device: str, bitstream: str) -> RegisterDevice:
    """Load the overlay ``bitstream`` and return the core behind its IP ``device``.

    A bitstream that this process has loaded is not loaded again.

    Raises:
        PolicyError: an option is wrong.
        BackendError: pynq is not installed, or the overlay or the IP is not there.
    """
    path = Path(bitstream)
    if not bitstream or not path.is_file():
        remedy = "give the .bit file of this policy; its .hwh file lies beside it"
        raise PolicyError.at("", "fpga.bitstream", f"{bitstream!r} is no file", remedy)
    try:
        import pynq  # noqa: PLC0415  only this transport needs it, on the board
    except ImportError as error:
        message = "fpga: pynq is not installed; transport pynq runs on a PYNQ board"
        raise BackendError(message) from error
    name = device or DEFAULT_IP
    try:
        overlay = pynq.Overlay(str(path), download=False)
        if path.resolve() not in _LOADED:
            overlay.download()
            _LOADED.add(path.resolve())
        entry = overlay.ip_dict.get(name)
        known = ", ".join(overlay.ip_dict)
        mmio = None if entry is None else pynq.MMIO(entry["phys_addr"], INPUT_END)
    except Exception as error:  # pynq raises whatever its layers do
        raise BackendError(f"fpga: pynq: {path.name}: {error}") from error
    if mmio is None:
        raise BackendError(f"fpga: pynq: {path.name} has no IP {name!r}; it has: {known}")
    assert artifact.network is not None
    return RegisterDevice(MmioRegisters(mmio, f"pynq {name}"), CoreShape.of(artifact.network))
