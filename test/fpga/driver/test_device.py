"""The register driver against registers that misbehave."""

from __future__ import annotations

import numpy as np
import pytest
from policy_builders import random_artifact

from qpolicy_ros.backends import BackendError
from qpolicy_ros.backends.fpga.device import Identity, RegisterDevice, check_identity
from qpolicy_ros.backends.fpga.packing import CoreShape
from qpolicy_ros.backends.fpga.registers import POISON, check_sizes
from qpolicy_ros.backends.fpga.transports import TRANSPORTS, open_device

SHAPE = CoreShape(11, 3, 8, 5, 11, 1)
HASH = "0123456789abcdef" * 4
IDENTITY = Identity(0x51504F4C, 0x00010000, HASH[:32], SHAPE)
STATUS, ERROR, CONTROL, OUTPUT = 0x028, 0x02C, 0x024, 0x080


class FakeRegisters:
    """Registers whose STATUS and ERROR are given; remembers what is written."""

    name = "fake"

    def __init__(self, status, error=0):
        self._values = {STATUS: status, ERROR: error}
        self.written = []

    def read(self, address, count):
        return np.full(count, self._values.get(address, 0), np.uint32)

    def write(self, address, words):
        self.written.append((address, words.tolist()))

    def close(self):
        pass


def infer(registers):
    return RegisterDevice(registers, SHAPE).infer(np.zeros(11, np.int32))


def test_a_core_that_is_never_done_is_named_and_reset():
    registers = FakeRegisters(status=0b0010)
    with pytest.raises(BackendError, match=r"not done after 0\.05 s \(STATUS 0x2\)"):
        infer(registers)
    assert registers.written[-1] == (CONTROL, [2])


def test_a_core_left_busy_is_reset_before_the_next_inference():
    registers = FakeRegisters(status=0b0110)
    infer(registers)
    assert registers.written[0] == (CONTROL, [2])


@pytest.mark.parametrize(
    ("error", "meaning"),
    [(4, "while busy"), (8, "where no code lies"), (1, "write outside the map"), (0, "ERROR 0x0")],
)
def test_a_refusal_is_named_and_cleared(error, meaning):
    registers = FakeRegisters(status=0b1001, error=error)
    with pytest.raises(BackendError, match=f"refused: .*{meaning}"):
        infer(registers)
    assert registers.written[-1] == (ERROR, [error])


@pytest.mark.parametrize(
    ("status", "reason"),
    [(POISON, "the bus did not answer in time"), (0xFFFFFFFF, "it is no qpolicy core")],
)
def test_a_bus_that_does_not_answer_is_named(status, reason):
    with pytest.raises(BackendError, match=f"STATUS reads 0x{status:08X}: {reason}"):
        infer(FakeRegisters(status))


class FakeOutput(FakeRegisters):
    """A core that is done; what OUTPUT and then STATUS read is given."""

    def __init__(self, *outputs, status=0b0101):
        super().__init__(status=0b0101)
        self._outputs = list(outputs)
        self._last = status

    def read(self, address, count):
        if address != OUTPUT:
            return super().read(address, count)
        self._values[STATUS] = self._last
        return np.full(count, self._outputs.pop(0), np.uint32)


def test_an_output_that_the_bus_lost_is_read_again():
    device = RegisterDevice(FakeOutput(POISON, 0), SHAPE)
    assert device.infer(np.zeros(11, np.int32)).tolist() == [0, 0, 0]


def test_an_output_that_the_bus_lost_for_good_is_named():
    with pytest.raises(BackendError, match="the bus did not answer in time"):
        infer(FakeOutput(POISON, status=POISON))


def test_codes_may_look_like_a_lost_output():
    assert infer(FakeOutput(POISON, POISON)).tolist() == [15, -9, 15]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"magic": 0}, "magic is 0x00000000 instead of 0x51504F4C: no qpolicy core is there"),
        ({"magic": POISON}, "magic is 0xDEADBEEF .* the bus did not answer"),
        ({"version": 0x00020000}, "register map version 2, this driver knows 1"),
        ({"function_hash": "f" * 32}, "it holds function ffffffffffff, the policy is 012345678"),
        ({"shape": SHAPE._replace(m=4)}, r"its sizes are .*m=4.* the policy's .*m=3"),
    ],
    ids=["magic", "poison", "version", "hash", "sizes"],
)
def test_a_wrong_identity_is_refused(change, message):
    with pytest.raises(BackendError, match=message):
        check_identity("fake", IDENTITY._replace(**change), HASH, SHAPE)


def test_a_minor_version_is_taken():
    check_identity("fake", IDENTITY._replace(version=0x00010007), HASH, SHAPE)


def test_the_identity_is_read_from_the_first_nine_words():
    words = [0x51504F4C, 0x00010000, *(int(HASH[i : i + 8], 16) for i in range(0, 32, 8))]
    words += [3 << 16 | 11, 5 << 8 | 8, 1 << 16 | 11]
    assert Identity.from_words(np.array(words, np.uint32)) == IDENTITY


def test_sizes_that_the_register_map_cannot_hold_are_named():
    assert check_sizes(376, 8, 8, 17, 8) == ""
    assert "5000 input codes of 8 bits need" in check_sizes(5000, 8, 32, 17, 8)
    assert "5000 output codes of 8 bits need 1250 words" in check_sizes(11, 8, 8, 5000, 8)


def test_a_transport_whose_package_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(TRANSPORTS, "usb", "qpolicy_ros.no_such_module")
    with pytest.raises(BackendError, match="transport 'usb': No module named"):
        open_device(random_artifact(), "usb", "", "")
