"""A core alone on a part of another maker than Xilinx: cells and clock before routing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qpolicy_fpga.build.cells import RING_AS_REGISTERS, SYNTHESIS, count
from qpolicy_fpga.build.estimate import estimate
from qpolicy_fpga.tables import as_yosys
from qpolicy_fpga.yosys import once, run_yosys, yosys_folder

_SCRIPT = f"""\
import sys
from pyosys import libyosys as ys
command, top, out, netlist, *files = sys.argv[1:]
design = ys.Design()
for name in files:
    ys.run_pass(f'read_verilog -icells "{{name}}"', design)
ys.run_pass(f"hierarchy -top {{top}}", design)
for text in {RING_AS_REGISTERS}:
    ys.run_pass(text, design)
ys.run_pass(f"{{command}} -top {{top}}", design)
ys.run_pass("flatten", design)
ys.run_pass(f'tee -q -o "{{out}}" stat -json', design)
ys.run_pass(f'write_json "{{netlist}}"', design)
"""


def synthesise_core(files: Sequence[Path], top: str, family: str) -> dict[str, Any]:
    """Return what a core's Verilog comes to on a part of ``family``; cached by its content.

    Returns:
        Counts as of ``cells.count``, and ``estimated``: ``estimate.Clock`` as JSON, or None.

    Raises:
        PolicyError: Yosys is not installed (says how to) or refuses the sources.
        BackendError: it takes too long.
    """
    yosys_folder()
    command = SYNTHESIS[family]

    def measure(folder: Path) -> dict[str, Any]:
        sources = []
        for path in files:
            sources.append(folder / path.name)
            sources[-1].write_text(as_yosys(path.read_text("utf-8")), encoding="utf-8")
        out, netlist = folder / "cells.json", folder / "netlist.json"
        arguments = [command, top, str(out), str(netlist), *map(str, sources)]
        run_yosys(_SCRIPT, arguments, netlist, folder)
        cells = json.loads(out.read_text("utf-8"))["design"]["num_cells_by_type"]
        clock = estimate(netlist, family)
        return {**count(cells), "estimated": clock and clock.as_json()}

    return once([top, _SCRIPT, command, *_own_sources()], files, measure)


def _own_sources() -> list[str]:
    """Return the texts that the estimate follows from: another one is another estimate."""
    names = ("estimate.py", "wire_load.py", "flat.py", "path.py", "cells.py")
    return [Path(__file__).with_name(name).read_text("utf-8") for name in names]
