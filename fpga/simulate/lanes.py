"""Run many copies of a generated core at once: as many observations for a hundredth of the time.

The netlist comes from Yosys (``netlist``), so this is a second simulator beside Verilator's, of the
same Verilog and cycle by cycle too. All copies get their beats in the same cycle.
"""

from __future__ import annotations

import ctypes
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qpolicy_fpga.simulate import lanes_cpp, netlist
from qpolicy_fpga.simulate.core import Run, unpack_codes
from qpolicy_fpga.simulate.verilator import find_compiler, keep, run_tool
from qpolicy_fpga.yosys import YOSYS
from qpolicy_ros.policy import PolicyError

if TYPE_CHECKING:
    import numpy.typing as npt

    from qpolicy_fpga.manifest import Manifest

LANES = 512
_HARNESS = Path(__file__).with_name("lanes_harness.cpp")
_FLAGS = ["-std=gnu++17", "-O1", "-march=native", "-fPIC", "-w", "-shared"]


class LaneSimulation:
    """Copies of a generated core, driven through their ready/valid ports.

    Args:
        folder: what ``generate`` wrote.
        manifest: its manifest.
        gates: simulated instead of what Yosys reads in ``folder``: the gates of a routed netlist.

    Raises:
        PolicyError: Yosys is missing (says how to install it) or refuses the Verilog, or when the
            core accepts or answers depends on the data.
        BackendError: there is no C compiler, or it fails.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, gates: netlist.Netlist | None = None
    ) -> None:
        self.manifest = manifest
        files = manifest.verilog(folder)
        given = lanes_cpp.emit_lanes(gates) if gates else ""
        compiler = find_compiler()
        # What -march=native is on this machine, as the cache may be seen from others.
        machine = run_tool([compiler, *_FLAGS, "-dM", "-E", "-x", "c++", "/dev/null"])
        key = hashlib.sha256("\0".join([YOSYS, machine, *_FLAGS, given]).encode())
        for path in (
            *files,
            *(Path(str(module.__file__)) for module in (lanes_cpp, netlist)),
            _HARNESS,
        ):
            key.update(path.name.encode() + b"\0" + path.read_bytes())

        def compile_model(scratch: Path) -> None:
            text = given or lanes_cpp.emit_lanes(netlist.read_netlist(files, manifest.top))
            (scratch / "netlist.inc").write_text(text, encoding="ascii")
            out = str(scratch / "done" / "model.so")
            run_tool([compiler, *_FLAGS, f"-I{scratch}", str(_HARNESS), "-o", out])

        name = manifest.function_hash or "core"
        self._library = ctypes.CDLL(str(keep(name, key.hexdigest(), compile_model)))
        self._library.lanes_run.restype = ctypes.c_long

    def close(self) -> None:
        """As ``CoreSimulation.close``; nothing is to be freed."""

    def run(
        self, codes: npt.NDArray[Any], *, offer: int = 256, fetch: int = 256, seed: int = 1
    ) -> Run:
        """Reset, then send frames and collect their results.

        Each copy takes every 512th frame. The times of a frame are those of its copy.

        Args:
            codes: input codes ``(frames, n)``, signed.
            offer: chance in 1/256 that a beat is offered in a cycle (256 = always).
            fetch: chance in 1/256 that the receiver is ready in a cycle.
            seed: of these chances.

        Raises:
            PolicyError: the core stopped answering.
        """
        data = self._pack(codes)
        rounds, outputs = len(data), self.manifest.m * self.manifest.b_out
        out = np.zeros((rounds, outputs, LANES // 8), np.uint8)
        times = np.full((3, rounds), -1, np.int64)
        self._library.lanes_reset()
        count = self._library.lanes_run(
            ctypes.c_void_p(data.ctypes.data),
            ctypes.c_long(rounds),
            ctypes.c_long(self.manifest.beats),
            ctypes.c_uint(offer),
            ctypes.c_uint(fetch),
            ctypes.c_uint(seed),
            ctypes.c_void_p(out.ctypes.data),
            ctypes.c_void_p(times.ctypes.data),
        )
        if count < 0:
            raise PolicyError("rtl: the core stopped answering; this is a bug in the generator")
        bits = np.unpackbits(out, axis=2, bitorder="little").transpose(0, 2, 1)
        flat = bits.reshape(rounds * LANES, outputs)[: len(codes)]
        accepted, valid, first = np.repeat(times, LANES, axis=1)[:, : len(codes)]
        return Run(unpack_codes(flat, self.manifest.b_out), accepted, valid, first)

    def cycles(self, levels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Give every copy its own bit a clock cycle, and return the bit that it gives back.

        For gates whose ports are one bit in, one bit out, always ready and always valid.

        Args:
            levels: 0 or 1, ``(cycles, lanes)``.

        Raises:
            PolicyError: the handshake is not as stated.
        """
        data = np.ascontiguousarray(np.packbits(levels, axis=1, bitorder="little"))
        out = np.zeros_like(data)
        times = np.full((3, len(data)), -1, np.int64)
        self._library.lanes_reset()
        arguments = (len(data), 1, 256, 256, 1)
        count = self._library.lanes_run(
            ctypes.c_void_p(data.ctypes.data),
            *map(ctypes.c_long, arguments),
            ctypes.c_void_p(out.ctypes.data),
            ctypes.c_void_p(times.ctypes.data),
        )
        if count != len(data):
            raise PolicyError("rtl: a design behind a line is not always ready")
        return np.unpackbits(out, axis=1, bitorder="little")

    def _pack(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Bits ``(rounds, beats, bus, lanes / 8)``."""
        bits, per_beat = self.manifest.b_in, self.manifest.codes_per_beat
        beats, rounds = self.manifest.beats, -(-len(codes) // LANES)
        padded = np.zeros((rounds * LANES, beats * per_beat), np.uint8)
        padded[: len(codes), : codes.shape[1]] = codes.astype(np.int64) & 0xFF
        flat = padded[:, :, None] >> np.arange(bits, dtype=np.uint8) & 1
        shaped = flat.reshape(rounds, LANES, beats, per_beat * bits)
        return np.ascontiguousarray(
            np.packbits(shaped.transpose(0, 2, 3, 1), axis=3, bitorder="little")
        )
