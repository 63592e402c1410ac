"""The bus of the board design in simulation: timeout block, AXI4-Lite wrapper, generated core."""

from __future__ import annotations

import ctypes
from pathlib import Path

from qpolicy_fpga.driver.rtlsim import _SHIM
from qpolicy_fpga.manifest import read_manifest
from qpolicy_fpga.simulate.verilator import build
from qpolicy_fpga.wrappers.tops import RTL, Sizes, write_wrapper

_TOP = "board_bus"
_MUTE = """
extern "C" void axi_mute(void *handle, int mute) {
    auto *bus = static_cast<Bus *>(handle);
    bus->top.mute = mute;
    for (int i = 0; i < 10; ++i) bus->tick();
}
"""


def build_board(folder: Path, wrapper: Path) -> Path:
    """Compile a generated folder behind the board's bus; its wrapper goes to another folder."""
    manifest = read_manifest(folder)
    sources = [Path(__file__).with_name(f"{_TOP}.v"), RTL / "qpolicy_axi_timeout.v"]
    sources += write_wrapper("axi_lite", Sizes.of(manifest), wrapper)
    sources += [folder / name for name in manifest.files]
    return build("board", _TOP, sources, _SHIM.read_text() + _MUTE)


class BoardMmio:
    """What pynq's MMIO is on the board; an error response ends the process there, here the test.

    Attributes:
        accesses: how many there were.
        silent: numbers of the accesses before which the core falls silent; else it wakes.
    """

    def __init__(self, library: Path) -> None:
        calls = ctypes.CDLL(str(library))
        calls.axi_new.restype = ctypes.c_void_p
        handle, word = ctypes.c_void_p, ctypes.c_uint32
        calls.axi_read.argtypes = [handle, word, ctypes.POINTER(ctypes.c_uint32)]
        calls.axi_write.argtypes = [handle, word, word]
        calls.axi_mute.argtypes = [handle, ctypes.c_int]
        calls.axi_free.argtypes = [handle]
        self._calls = calls
        self._bus = calls.axi_new()
        self.accesses = 0
        self.silent: range = range(0)

    def read(self, address: int) -> int:
        """Return a word."""
        self._begin()
        word = ctypes.c_uint32()
        response = self._calls.axi_read(self._bus, address, ctypes.byref(word))
        assert response == 0, f"a bus error at a read of 0x{address:X}: {response}"
        return word.value

    def write(self, address: int, word: int) -> None:
        """Write a word."""
        self._begin()
        response = self._calls.axi_write(self._bus, address, word)
        assert response == 0, f"a bus error at a write to 0x{address:X}: {response}"

    def close(self) -> None:
        """Free the model."""
        self._calls.axi_free(self._bus)

    def _begin(self) -> None:
        self._calls.axi_mute(self._bus, self.accesses in self.silent)
        self.accesses += 1
