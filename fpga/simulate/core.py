"""Run a generated core under Verilator, as a shared library in this process."""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qpolicy_fpga.simulate.verilator import build, find_verilator
from qpolicy_fpga.tools import run_limited
from qpolicy_ros.policy import PolicyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from qpolicy_fpga.manifest import Manifest

# A net of a SAIF file, without its index, and its number of changes.
_CHANGES = re.compile(r"\(([A-Za-z_]\w*)(?:\\?\[\d+\\?\])*\s+\(T0 \d+\)[^\n]*?\(TC (\d+)\)")
_HARNESS = Path(__file__).with_name("core_harness.cpp")


@dataclass(frozen=True)
class Run:
    """What came out of a simulation.

    Attributes:
        codes: output codes, int32 ``(frames, m)``, in the order in which they came.
        accepted: cycle in which each frame's first beat was accepted.
        valid: cycle in which each result was fetched.
        first_valid: cycle in which each result was first offered.
    """

    codes: npt.NDArray[np.int32]
    accepted: npt.NDArray[np.int64]
    valid: npt.NDArray[np.int64]
    first_valid: npt.NDArray[np.int64]


def lint(files: Sequence[Path], top: str, *options: str) -> str:
    """Return what `verilator --lint-only -Wall` says of ``top``; empty is clean.

    Args:
        files: the sources.
        top: a module.
        options: further ones of Verilator.

    Raises:
        BackendError: Verilator is not installed (says how to) or takes too long.
    """
    tool = find_verilator()
    command = [
        tool.command,
        "--lint-only",
        "-Wall",
        *options,
        "--top-module",
        top,
        *map(str, files),
    ]
    done = run_limited("verilator", command, {**os.environ, "VERILATOR_ROOT": str(tool.root)})
    return done.stderr if done.returncode or done.stderr.strip() else ""


class CoreSimulation:
    """A generated core under Verilator, driven through its ready/valid ports.

    Args:
        folder: what ``generate`` wrote.
        manifest: its manifest.
        count_toggles: whether ``toggles`` works; slower to build and to run.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, count_toggles: bool = False) -> None:
        self.manifest = manifest
        self.bus = manifest.codes_per_beat * manifest.b_in
        self.result = manifest.m * manifest.b_out
        sizes = f"#define IN_BITS {self.bus}\n#define OUT_BITS {self.result}\n"
        options: list[str] = []
        if count_toggles:
            # Counters of every net are much code that runs for a few frames only.
            sizes += '#define COUNT_TOGGLES 1\n#pragma GCC optimize ("O0")\n'
            options = ["--trace-saif", "--trace-max-width", "0", "--trace-max-array", "0"]
            options.append(str(_HARNESS.with_name("activity.vlt")))
        shim = sizes + _HARNESS.read_text(encoding="utf-8")
        name = manifest.function_hash or "core"
        library = build(name, manifest.top, manifest.verilog(folder), shim, options)
        self._library = ctypes.CDLL(str(library))
        self._library.core_new.restype = ctypes.c_void_p
        self._library.core_run.restype = ctypes.c_long
        self._core = ctypes.c_void_p(self._library.core_new())

    def close(self) -> None:
        """Free the model."""
        if self._core:
            self._library.core_free(self._core)
            self._core = ctypes.c_void_p()

    def reset(self, cycles: int = 2) -> None:
        """Hold reset for some clock cycles."""
        self._library.core_reset(self._core, ctypes.c_long(cycles))

    def toggles(self, codes: npt.NDArray[Any], activity: Path) -> dict[str, int]:
        """Run frames back to back; return how often each signal's bits change, by its own name.

        Only with ``count_toggles``. A signal of a tree or layer counts under one name for all of
        them. Whether a net changes is looked at once a cycle: glitches are not seen.

        Args:
            codes: as ``run`` takes them.
            activity: SAIF file to write, which Vivado reads too.
        """
        self._library.core_activity(self._core, str(activity).encode())
        self.run(codes)
        self._library.core_activity_end(self._core)
        text = activity.read_text(encoding="utf-8")
        counts: dict[str, int] = {}
        for name, count in _CHANGES.findall(text):
            counts[name] = counts.get(name, 0) + int(count)
        return counts

    def run(
        self,
        codes: npt.NDArray[Any],
        *,
        offer: int = 256,
        fetch: int = 256,
        seed: int = 1,
        stop_after: int = 0,
    ) -> Run:
        """Send frames and collect their results.

        Args:
            codes: input codes ``(frames, n)``, signed.
            offer: chance in 1/256 that a beat is offered in a cycle (256 = always).
            fetch: chance in 1/256 that the receiver is ready in a cycle.
            seed: of these chances.
            stop_after: cycles after which to stop in mid-flight, 0 = when all results are there.

        Raises:
            PolicyError: the core stopped answering.
        """
        data = self._pack(codes)
        frames, words = len(codes), -(-self.result // 32)
        out = np.zeros((frames, words), np.uint32)
        times = np.full((3, frames), -1, np.int64)
        count = self._library.core_run(
            self._core,
            data.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_long(frames),
            ctypes.c_long(self.manifest.beats),
            ctypes.c_uint(offer),
            ctypes.c_uint(fetch),
            ctypes.c_uint(seed),
            ctypes.c_long(stop_after),
            out.ctypes.data_as(ctypes.c_void_p),
            times.ctypes.data_as(ctypes.c_void_p),
        )
        if count < 0:
            raise PolicyError("rtl: the core stopped answering; this is a bug in the generator")
        return Run(self._unpack(out[:count]), times[0], times[1, :count], times[2, :count])

    def _pack(self, codes: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
        """Beats as little-endian 32-bit words ``(frames, beats, words)``."""
        bits, per_beat = self.manifest.b_in, self.manifest.codes_per_beat
        beats = self.manifest.beats
        padded = np.zeros((len(codes), beats * per_beat), np.int64)
        padded[:, : codes.shape[1]] = codes
        flat = (padded[:, :, None] >> np.arange(bits)) & 1
        return _words(flat.reshape(len(codes), beats, per_beat * bits))

    def _unpack(self, words: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
        flat = (words[:, :, None] >> np.arange(32, dtype=np.uint32)) & 1
        return unpack_codes(
            flat.reshape(len(words), 32 * words.shape[1])[:, : self.result], self.manifest.b_out
        )


def unpack_codes(flat: npt.NDArray[Any], bits: int) -> npt.NDArray[np.int32]:
    """Bits ``(frames, m * bits)``, a code's lowest first, as signed codes ``(frames, m)``."""
    shaped = flat.reshape(len(flat), flat.shape[1] // bits, bits)
    unsigned = (shaped.astype(np.int64) << np.arange(bits)).sum(axis=2)
    return np.where(unsigned >> (bits - 1), unsigned - (1 << bits), unsigned).astype(np.int32)


def _words(flat: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    """Bits ``(..., k)``, lowest first, as 32-bit words ``(..., ceil(k / 32))``."""
    size = flat.shape[-1]
    words = -(-size // 32)
    padded = np.zeros((*flat.shape[:-1], words * 32), np.uint32)
    padded[..., :size] = flat
    shaped = padded.reshape(*flat.shape[:-1], words, 32)
    weights = np.uint32(1) << np.arange(32, dtype=np.uint32)
    return np.ascontiguousarray((shaped * weights).sum(axis=-1, dtype=np.uint32))
