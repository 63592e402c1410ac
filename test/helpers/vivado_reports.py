"""Vivado's three text reports in their layout, made up."""

from __future__ import annotations

from pathlib import Path

UTILIZATION = """
+-------------------------+------+-------+------------+-----------+-------+
|        Site Type        | Used | Fixed | Prohibited | Available | Util% |
+-------------------------+------+-------+------------+-----------+-------+
| Slice LUTs*             | 3120 |     0 |          0 |     20800 | 15.00 |
|   LUT as Logic          | 3100 |     0 |          0 |     20800 | 14.90 |
| Slice Registers         | 2210 |     0 |          0 |     41600 |  5.31 |
| Block RAM Tile |  2.5 |     0 |          0 |        50 |  5.00 |
| DSPs      |    3 |     0 |          0 |        90 |  3.33 |
"""
TIMING = """
| Design Timing Summary
| ---------------------

    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)      THS(ns)
    -------      -------  ---------------------  -------------------      -------      -------
      1.234        0.000                      0                 4211        0.056        0.000
"""
POWER = """
| Total On-Chip Power (W)  | 0.142        |
| Design Power Budget (W)  | Unspecified* |
| Dynamic (W)              | 0.070        |
| Device Static (W)        | 0.072        |
| Confidence Level         | Medium       |
"""

FIGURES = {
    "lut": 3120,
    "ff": 2210,
    "bram36": 2.5,
    "dsp": 3,
    "wns_ns": 1.234,
    "whs_ns": 0.056,
    "power_w": 0.142,
    "dynamic_w": 0.070,
    "static_w": 0.072,
    "power_confidence": "medium",
}


def write_reports(folder: Path) -> None:
    """Write the reports that hold ``FIGURES``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("utilization", UTILIZATION), ("timing", TIMING), ("power", POWER)):
        (folder / f"{name}.rpt").write_text(text)
