"""Runs in pynq's own environment: the real pynq on a Device whose registers are simulated RTL.

``python pynq_offboard.py <model.so> <policy file> <other policy file> <folder>`` prints one JSON
object. It needs what the board has: pynq, NumPy below 2, safetensors, this package.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from pynq.pl_server.device import Device

from qpolicy_ros.backends import BackendError, check_golden, create_backend
from qpolicy_ros.policy import load_policy

BASE = 0x43C00000


class SimulatedDevice(Device):
    """A board with our IP and its timeout block at ``BASE``; a bus error ends the process."""

    _probe_priority_ = 1

    @classmethod
    def _probe_(cls):
        return []

    def __init__(self, library):
        super().__init__("simulated")
        self.name = "simulated"
        self.capabilities = {"REGISTER_RW": True}
        self.default_memory = None
        self.bitfile_name = self.timestamp = ""
        self.downloads = 0
        self._calls = ctypes.CDLL(library)
        self._calls.axi_new.restype = ctypes.c_void_p
        block = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_int]
        self._calls.axi_read_block.argtypes = self._calls.axi_write_block.argtypes = block
        self._calls.axi_mute.argtypes = [ctypes.c_void_p, ctypes.c_int]
        self._bus = self._calls.axi_new()

    def mute(self, silent):
        """Silence the core behind the timeout block, or wake it."""
        self._calls.axi_mute(self._bus, silent)

    def read_registers(self, address, length):
        words = np.zeros(length // 4, np.uint32)
        response = self._calls.axi_read_block(
            self._bus, address - BASE, words.ctypes.data, words.size
        )
        assert response == 0, f"read at 0x{address:X}: {response}"
        return words.tobytes()

    def write_registers(self, address, data):
        words = np.frombuffer(bytes(data), np.uint32)
        response = self._calls.axi_write_block(
            self._bus, address - BASE, words.ctypes.data, words.size
        )
        assert response == 0, f"write at 0x{address:X}: {response}"

    def get_bitfile_metadata(self, _bitfile_name):
        entry = {
            "phys_addr": BASE,
            "addr_range": 4096,
            "type": "qpolicy-ros.example:robotics:qpolicy_axi_timeout:1.0",
            "fullpath": "qpolicy_0",
            "registers": {},
            "state": None,
        }
        empty = ("gpio_dict", "interrupt_controllers", "interrupt_pins", "hierarchy_dict")
        empty += ("mem_dict", "clock_dict")
        rest = {name: {} for name in empty}
        return SimpleNamespace(ip_dict={"qpolicy_0": entry}, systemgraph=None, **rest)

    def download(self, bitstream, _parser=None):
        self.downloads += 1
        self.bitfile_name = bitstream.bitfile_name

    def gen_cache(self, _bitstream, _parser=None):
        pass


def refusal(call):
    """Text of the BackendError that ``call`` raises, empty if none."""
    try:
        call()
    except BackendError as error:
        return str(error)
    return ""


def main(library, policy, other, folder):
    bitstream = Path(folder, "qpolicy.bit")
    bitstream.touch()
    bitstream.with_suffix(".hwh").touch()
    device = Device.active_device = SimulatedDevice(library)
    artifact = load_policy(policy)
    options = {"transport": "pynq", "bitstream": str(bitstream)}
    backend = create_backend("fpga", artifact, options)
    check_golden(backend, artifact)
    result = {"numpy": np.__version__, "downloads": device.downloads}
    observations = np.random.default_rng(1).normal(0, 30, (200, 11)).astype(np.float32)
    integer = create_backend("integer", artifact, {"engine": "numpy"})
    result["equal"] = all(
        (backend.act(observation) == integer.act(observation)).all() for observation in observations
    )
    result["other"] = refusal(lambda: create_backend("fpga", load_policy(other), options))
    result["name"] = refusal(
        lambda: create_backend("fpga", artifact, {**options, "device": "nothing_0"})
    )
    device.write_registers(BASE + 0xFFC, b"\0\0\0\0")
    result["refused"] = refusal(lambda: backend.act(observations[0]))
    limit = time.monotonic() + 60
    while backend.trouble and time.monotonic() < limit:  # it is opened again by itself
        time.sleep(0.01)
    assert not backend.trouble, backend.trouble
    device.mute(1)
    result["silent"] = refusal(lambda: backend.act(observations[0]))
    backend.close()
    result["foreign"] = sorted({"torch", "rclpy", "qpolicy_fpga", "serial"} & set(sys.modules))
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
