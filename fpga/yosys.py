"""Synthesise a generated core with Yosys: resources and the critical path before routing."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qpolicy_fpga.tables import write_xilinx
from qpolicy_fpga.tools import run_limited
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import (
    cache_folder,
    scratch_folder,
    scratch_place,
    write_atomically,
)
from qpolicy_ros.policy import PolicyError

CACHE = cache_folder("qpolicy_ros/yosys")
YOSYS = "0.70"
# Distributed RAM and shift registers are look-up tables with a memory in them.
LUT_CELLS = {f"LUT{k}": 1 for k in range(1, 7)} | {
    "INV": 1,
    "SRL16E": 1,
    "SRLC32E": 1,
    "RAM32X1D": 2,
    "RAM64X1D": 2,
    "RAM128X1D": 4,
    "RAM32M": 4,
    "RAM64M": 4,
    "RAM64X1S": 1,
    "RAM128X1S": 2,
    "RAM256X1S": 4,
}
FF_CELLS = frozenset(
    {"FDRE", "FDSE", "FDCE", "FDPE", "FDRE_1", "FDSE_1", "FDCE_1", "FDPE_1", "LDCE", "LDPE"}
)


@dataclass(frozen=True)
class Synthesis:
    """What Yosys counted.

    Attributes:
        lut, ff, carry4, dsp: cells.
        bram36: block RAMs, halves counted as 0.5.
        depth_ns: longest path between registers with 7-series cell delays, no routing, ns.
        path: what lies on it, first to last.
        cells: count by type.
    """

    lut: int
    ff: int
    carry4: int
    bram36: float
    dsp: int
    depth_ns: float
    path: str
    cells: dict[str, int]


def synthesise(files: Sequence[Path], top: str) -> Synthesis:
    """Return what `synth_xilinx -family xc7` makes of ``files``; cached by their content.

    Raises:
        PolicyError: Yosys is not installed (says how to) or refuses the sources.
        BackendError: it takes too long.
    """
    yosys_folder()

    def measure(scratch: Path) -> dict[str, Any]:
        return asdict(_run_yosys(files, top, scratch))

    return Synthesis(**once([top, _SCRIPT, _FORM], files, measure))


def once(
    how: Sequence[str], files: Sequence[Path], measure: Callable[[Path], dict[str, Any]]
) -> dict[str, Any]:
    """Return what ``measure`` finds, from the cache where the same files gave it before.

    Args:
        how: what it depends on beside the files' names and content and Yosys's version.
        files: what is measured.
        measure: takes a folder for temporary files, returns a JSON object.
    """
    digest = hashlib.sha256(" ".join([YOSYS, *how]).encode())
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    kept = CACHE / f"{digest.hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads(kept.read_text(encoding="utf-8")))
    with scratch_folder() as scratch:
        found = measure(scratch)
    # A cache that cannot be written, or is damaged, costs time and nothing else.
    with contextlib.suppress(OSError, InputError):
        CACHE.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, json.dumps(found).encode())
    return found


_FORM = "a primitive a table"  # how tables reach Yosys (``tables``)
# Run in a process of its own: Yosys keeps global state and prints to standard output.
_SCRIPT = """\
import sys
from pyosys import libyosys as ys
top, work, *files = sys.argv[1:]
design = ys.Design()
for name in files:
    ys.run_pass(f'read_verilog -DQPOLICY_XILINX "{name}"', design)
ys.run_pass(f"synth_xilinx -family xc7 -flatten -noiopad -top {top}", design)
ys.run_pass(f'tee -q -o "{work}/stat.json" stat -json', design)
ys.run_pass(f'write_verilog -noexpr "{work}/mapped.v"', design)
timed = ys.Design()
ys.run_pass("read_verilog -lib -specify +/xilinx/cells_sim.v", timed)
ys.run_pass(f'read_verilog "{work}/mapped.v"', timed)
ys.run_pass(f"hierarchy -top {top}", timed)
ys.run_pass(f'tee -q -o "{work}/sta.txt" sta', timed)
"""


def write_netlist(files: Sequence[Path], top: str, folder: Path) -> list[Path]:
    """Write ``mapped.v``, the 7-series cells that ``synthesise`` counts, to ``folder``.

    Returns:
        That file and Yosys's models of the cells, for a simulation at gate level.

    Raises:
        PolicyError: Yosys is not installed (says how to) or refuses the sources.
        BackendError: it takes too long.
    """
    models = yosys_folder() / "share" / "xilinx" / "cells_sim.v"
    _run_yosys(files, top, folder)
    return [folder / "mapped.v", models]


def yosys_folder() -> Path:
    """Return where pyosys lies; PolicyError if it is not installed."""
    spec = importlib.util.find_spec("pyosys")
    if spec is None or not spec.submodule_search_locations:
        raise PolicyError(f"pyosys: not found; install it with `pip install pyosys=={YOSYS}`")
    return Path(spec.submodule_search_locations[0])


def run_yosys(
    script: str, arguments: Sequence[str], made: Path, folder: Path | None = None
) -> None:
    """Run a script of pyosys, which makes the file ``made``, in a process of its own.

    Args:
        script: in Python.
        arguments: of it.
        made: what it writes last.
        folder: in which it runs and finds the files that sources read.

    Raises:
        PolicyError: it refuses the sources.
        BackendError: it takes too long.
    """
    command = [sys.executable, "-c", script, *arguments]
    done = run_limited("yosys", command, _environment(), folder=folder)
    if done.returncode or not made.is_file():
        reason = " ".join((done.stdout + done.stderr).split())[-400:]
        raise PolicyError(f"yosys: failed: {reason}")


def _environment() -> dict[str, str]:
    """Return the environment of a run: Yosys hands ABC its temporary files' names unquoted."""
    environment = dict(os.environ)
    if len(str(scratch_place()).split()) > 1:
        environment["TMPDIR"] = "/tmp"  # noqa: S108  Yosys makes a folder of its own in it
    return environment


def _run_yosys(files: Sequence[Path], top: str, work: Path) -> Synthesis:
    sta = work / "sta.txt"
    with scratch_folder() as scratch:
        sources = write_xilinx(files, Path(scratch))
        run_yosys(_SCRIPT, [top, str(work), *map(str, sources)], sta)
    text = (work / "stat.json").read_text(encoding="utf-8")
    cells = json.loads(text[text.index("{") :])["design"]["num_cells_by_type"]
    delay, path = _critical_path(sta.read_text(encoding="utf-8"))
    return Synthesis(
        lut=sum(LUT_CELLS.get(name, 0) * count for name, count in cells.items()),
        ff=sum(count for name, count in cells.items() if name in FF_CELLS),
        carry4=cells.get("CARRY4", 0),
        bram36=cells.get("RAMB36E1", 0) + cells.get("RAMB18E1", 0) / 2,
        dsp=cells.get("DSP48E1", 0),
        depth_ns=delay,
        path=path,
        cells=cells,
    )


def _critical_path(text: str) -> tuple[float, str]:
    """Return the longest arrival time in ns and the cells on that path, from `sta`'s report."""
    found = re.search(r"Latest arrival time in '.*' is (\d+)", text)
    if found is None:
        return 0.0, ""
    cells = re.findall(r"\((\w+)\.\w+->\w+\)", text)
    return int(found.group(1)) / 1000, " ".join(reversed(cells))
