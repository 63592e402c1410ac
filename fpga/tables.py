"""Look-up tables of generated Verilog as the cells that a synthesis takes.

The sources instantiate ``qpolicy_lut``, a module with its table as a parameter. Yosys makes a
module of its own for every table, which takes minutes and gigabytes where there are ten thousand.
So before Yosys reads a source, each instance is written as the cell that it stands for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_INSTANCE = re.compile(
    r"qpolicy_lut #\(\.K\((\d)\), \.TABLE\(64'h([0-9a-f]+)\)\) (\w+) "
    r"\(\.a\(\{([^{}]*)\}\), \.y\((\w+)\)\);"
)


def as_xilinx(source: str) -> str:
    """Return Verilog with ``LUT2`` to ``LUT6`` of the 7 series."""
    return _INSTANCE.sub(_primitive, source)


def as_yosys(source: str) -> str:
    """Return Verilog with Yosys's own ``$lut``, to be read with ``read_verilog -icells``."""
    return _INSTANCE.sub(_internal, source)


def write_xilinx(files: Iterable[Path], folder: Path) -> list[Path]:
    """Write sources with the primitives of the 7 series into ``folder``; return the new files."""
    written = []
    for path in files:
        if path.suffix == ".v":
            written.append(folder / path.name)
            written[-1].write_text(as_xilinx(path.read_text(encoding="utf-8")), encoding="utf-8")
    return written


def _primitive(found: re.Match[str]) -> str:
    count, table = int(found[1]), int(found[2], 16)
    bits = reversed([bit.strip() for bit in found[4].split(",")])
    inputs = ", ".join(f".I{at}({bit})" for at, bit in enumerate(bits))
    return f"LUT{count} #(.INIT({_table(count, table)})) {found[3]} (.O({found[5]}), {inputs});"


def _internal(found: re.Match[str]) -> str:
    count, table = int(found[1]), int(found[2], 16)
    return (
        f"\\$lut #(.WIDTH({count}), .LUT({_table(count, table)})) {found[3]} "
        f"(.A({{{found[4]}}}), .Y({found[5]}));"
    )


def _table(count: int, table: int) -> str:
    return f"{1 << count}'h{table & ((1 << (1 << count)) - 1):x}"
