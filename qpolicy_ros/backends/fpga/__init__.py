"""The policy in an FPGA: one backend, one driver, three transports."""

from __future__ import annotations

from qpolicy_ros.backends.fpga.backend import FpgaBackend

__all__ = ["FpgaBackend"]
