"""Read Vivado's reports: ``python -m qpolicy_fpga.vivado.reports <folder>`` prints JSON."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from qpolicy_ros.common.errors import InputError, PolicyError

# Name in our JSON: the row of report_utilization.
_SITES = {
    "lut": "Slice LUTs",
    "ff": "Slice Registers",
    "bram36": "Block RAM Tile",
    "dsp": "DSPs",
}
_REMEDY = "give the folder that the build script wrote its reports to"


def parse_utilization(text: str) -> dict[str, float]:
    """Return used sites: ``lut, ff, bram36, dsp``.

    Raises:
        PolicyError: a row is missing.
    """
    return {
        name: _number(text, rf"\|\s*{row}\*?\s*\|\s*([\d.]+)", row) for name, row in _SITES.items()
    }


def parse_timing(text: str) -> dict[str, float]:
    """Return ``wns_ns`` (worst setup slack) and ``whs_ns`` (worst hold slack), ns.

    Raises:
        PolicyError: the design timing summary is missing.
    """
    match = re.search(r"WNS\(ns\)[^\n]*\n[-\s]+\n\s*([^\n]+)", text)
    values = match.group(1).split() if match else []
    try:
        return {"wns_ns": float(values[0]), "whs_ns": float(values[4])}
    except (IndexError, ValueError):
        raise PolicyError.at("timing.rpt", "WNS(ns)", "is not found", _REMEDY) from None


def parse_power(text: str) -> dict[str, float | str]:
    """Return ``power_w``, ``dynamic_w``, ``static_w`` and Vivado's own ``power_confidence``.

    Raises:
        PolicyError: a row is missing.
    """
    rows = {
        "power_w": "Total On-Chip Power (W)",
        "dynamic_w": "Dynamic (W)",
        "static_w": "Device Static (W)",
    }
    found: dict[str, float | str] = {
        name: _number(text, rf"\|\s*{re.escape(row)}\s*\|\s*([\d.]+)", row)
        for name, row in rows.items()
    }
    level = re.search(r"\|\s*Confidence Level\s*\|\s*(\w+)", text)
    found["power_confidence"] = level.group(1).lower() if level else "unknown"
    return found


def read_reports(folder: Path) -> dict[str, float | str]:
    """Return all figures of a report folder.

    Raises:
        PolicyError: a report is missing or is none.
    """
    figures: dict[str, float | str] = {}
    for name, parse in (
        ("utilization.rpt", parse_utilization),
        ("timing.rpt", parse_timing),
        ("power.rpt", parse_power),
    ):
        try:
            text = (folder / name).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise PolicyError.at(folder / name, "report", str(error.strerror), _REMEDY) from error
        figures.update(parse(text))
    return figures


def _number(text: str, pattern: str, row: str) -> float:
    match = re.search(pattern, text)
    if match is None:
        raise PolicyError.at("report", row, "is not found", _REMEDY)
    return float(match.group(1))


def main(arguments: list[str]) -> int:
    """Print the figures of the folder named, as JSON."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m qpolicy_fpga.vivado.reports <folder>\n")
        return 2
    try:
        figures = read_reports(Path(arguments[0]))
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
