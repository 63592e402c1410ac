"""The table of transports: each is imported when it is opened, as pynq is on the board only."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from qpolicy_ros.backends.base import BackendError
from qpolicy_ros.backends.fpga.device import Device
from qpolicy_ros.common.errors import PolicyError
from qpolicy_ros.policy.model import PolicyArtifact

# Each has `open_device(artifact, device, bitstream)`.
TRANSPORTS = {
    "rtlsim": "qpolicy_fpga.driver.rtlsim",
    "pynq": "qpolicy_ros.backends.fpga.pynq_mmio",
    "uart": "qpolicy_ros.backends.fpga.uart",
}


def open_device(artifact: PolicyArtifact, transport: str, device: str, bitstream: str) -> Device:
    """Open the accelerator that ``transport`` reaches.

    Raises:
        PolicyError: an option is wrong.
        BackendError: the accelerator, or a package that the transport needs, is not there.
    """
    if transport not in TRANSPORTS:
        known = ", ".join(TRANSPORTS)
        wrong = f"{transport!r} is unknown"
        raise PolicyError.at("", "fpga.transport", wrong, f"choose one of {known}")
    try:
        module = importlib.import_module(TRANSPORTS[transport])
    except ImportError as error:
        message = f"fpga: transport {transport!r}: {error}; install what it needs"
        raise BackendError(message) from error
    opener: Callable[[PolicyArtifact, str, str], Device] = module.open_device
    return opener(artifact, device, bitstream)
