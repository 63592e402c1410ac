"""A board with the UART wrapper on a pseudo-terminal: simulated RTL, real driver."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import threading
import tty
from pathlib import Path

import numpy as np

from qpolicy_fpga import generate
from qpolicy_fpga.simulate.verilator import build
from qpolicy_fpga.wrappers.tops import Sizes, top_name, write_wrapper

CLKS_PER_BIT = 4
STEP = 1000  # cycles a millisecond
BYTE_LIMIT = 20 * STEP
SHIM = Path(__file__).parents[2] / "fpga" / "driver" / "uart_line.cpp"


def build_board(artifact, folder, core_limit=1_000_000):
    """Compile the generated core of an artifact behind the UART wrapper; return the library."""
    manifest = generate(artifact, "xc7a35t", 100.0, "latency", folder)
    wrapper = write_wrapper("uart", Sizes.of(manifest), folder)
    sources = [*wrapper, *manifest.verilog(folder)]
    options = [f"-GCLKS_PER_BIT={CLKS_PER_BIT}", f"-GBYTE_LIMIT={BYTE_LIMIT}"]
    options.append(f"-GCORE_LIMIT={core_limit}")
    shim = SHIM.read_text(encoding="utf-8")
    return build(manifest.function_hash, top_name("uart"), sources, shim, options)


class Line:
    """The simulated board's two wires."""

    def __init__(self, library):
        self._calls = ctypes.CDLL(str(library))
        self._calls.line_new.restype = ctypes.c_void_p
        self._calls.line_run.argtypes = [
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_void_p,
        ]
        self._calls.line_free.argtypes = [ctypes.c_void_p]
        self._line = self._calls.line_new()
        self._answer = np.zeros(1 << 16, np.uint8)

    def run(self, data=b"", cycles=STEP):
        """Send bytes, let time pass, return what came back."""
        count = self._calls.line_run(self._line, data, len(data), cycles, self._answer.ctypes.data)
        return self._answer[:count].tobytes()

    def close(self):
        self._calls.line_free(self._line)


class Board:
    """Plugs a line into a pseudo-terminal at ``path``; ``spoil`` may change what passes.

    Attributes:
        to_board, to_host: functions on the bytes that pass; the identity unless a test sets them.
    """

    def __init__(self, library, path):
        self.path = path
        self._library = library
        self.to_board = self.to_host = lambda data: data
        self.plug()

    def plug(self):
        """Connect a board that has just been powered up."""
        self._line = Line(self._library)
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self._slave = slave
        self.path.symlink_to(os.ttyname(slave))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._pump, daemon=True)
        self._thread.start()

    def unplug(self):
        """Take the board away in the middle of whatever happens."""
        self._stop.set()
        self._thread.join()
        self.path.unlink()
        os.close(self._slave)
        os.close(self._master)
        self._line.close()

    def _pump(self):
        while not self._stop.is_set():
            ready, _, _ = select.select([self._master], [], [], 0.001)
            data = os.read(self._master, 4096) if ready else b""
            answer = self.to_host(self._line.run(self.to_board(data)))
            if answer:
                with contextlib.suppress(OSError):
                    os.write(self._master, answer)
