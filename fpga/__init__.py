"""From a policy artifact to Verilog; imports as `qpolicy_fpga`."""

from __future__ import annotations

from qpolicy_fpga.design import generate
from qpolicy_fpga.plan.devices import PARTS, Part, find_part

__all__ = ["PARTS", "Part", "find_part", "generate"]
