"""Faults on the way to the accelerator: a named error or the right codes, never wrong ones.

The board is a model of the serial protocol (docs/fpga/uart.md) or of the register map in Python, so
that thousands of faults cost seconds; `test_uart.py` has the same faults before the simulated RTL.
"""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest
from faults import FAULTS, spoil
from policy_builders import random_artifact, random_observations

from qpolicy_ros.backends import BackendError
from qpolicy_ros.backends.fpga import device as device_module
from qpolicy_ros.backends.fpga import uart
from qpolicy_ros.backends.fpga.device import RegisterDevice
from qpolicy_ros.backends.fpga.frames import Decoder, Frame, encode
from qpolicy_ros.backends.fpga.packing import CoreShape, Packer
from qpolicy_ros.backends.fpga.registers import OFFSET, POISON
from qpolicy_ros.policy import PolicyError
from qpolicy_ros.policy.numpy_engine import NumpyEngine

INPUTS = 11
ARTIFACT = random_artifact(3, INPUTS, hidden=(8,), outputs=3)
SHAPE = CoreShape.of(ARTIFACT.network)
ENGINE = NumpyEngine(ARTIFACT.network)
COUNT, FULL = 3000, 100_000


def unpacked(payload):
    """The input codes int32 ``(n,)`` that ``Packer`` put into bytes; its inverse, for one beat."""
    assert SHAPE.beats == 1
    bits = np.unpackbits(np.frombuffer(payload, np.uint8), bitorder="little")
    unsigned = bits[: SHAPE.n * SHAPE.b_in].reshape(-1, SHAPE.b_in) @ (1 << np.arange(SHAPE.b_in))
    return np.where(unsigned >> (SHAPE.b_in - 1), unsigned - (1 << SHAPE.b_in), unsigned)


def output_codes(codes):
    """What the core answers to input codes, signed int32 ``(m,)``."""
    observation = codes / ARTIFACT.network.gain + ARTIFACT.network.mean
    vector = np.asarray(observation, np.float32)
    assert (ENGINE.input_codes(vector) == codes).all()
    return ENGINE.trace(vector)[-1]


def packed_outputs(codes):
    """Output codes as the core packs them, bytes."""
    bits = (codes[:, None] >> np.arange(SHAPE.b_out)) & 1
    return np.packbits(bits.reshape(-1), bitorder="little").tobytes()


@pytest.fixture(scope="module")
def questions():
    """Input codes and the right answers."""
    codes = [ENGINE.input_codes(row) for row in random_observations(5, 64, INPUTS)]
    return [(row, output_codes(row)) for row in codes]


class ModelPort:
    """A board behind a serial port that spoils what passes either way."""

    baudrate = 10**12

    def __init__(self, rng):
        self._rng = rng
        self._decoder = Decoder(64)
        self._said = b""
        self._held = b""
        self.kinds = ()

    @property
    def in_waiting(self):
        return len(self._said)

    def write(self, data):
        self._said += self._held  # what was delayed comes with the next request
        self._held = b""
        self._decoder.clear()  # half a frame is forgotten in time
        for frame in self._decoder.feed(self._spoil(data)):
            codes = unpacked(frame.payload)
            payload = b"\0" + (12).to_bytes(4, "little") + packed_outputs(output_codes(codes))
            self._answer(encode(Frame(frame.kind | 0x80, frame.sequence, payload)))

    def _spoil(self, data):
        return spoil(data, self._rng.choice(self.kinds), self._rng) if self.kinds else data

    def _answer(self, data):
        data = self._spoil(data)
        if "delay" in self.kinds and self._rng.random() < 0.3:
            self._held += data
        else:
            self._said += data

    def read(self, count):
        said, self._said = self._said[:count], self._said[count:]
        return said

    def close(self):
        pass


@pytest.mark.parametrize("kind", [*FAULTS, "delay"])
def test_a_spoilt_line_gives_no_wrong_code(questions, monkeypatch, kind, full):
    monkeypatch.setattr(uart, "_ANSWER_LIMIT", 0.0)
    rng = random.Random(kind)
    port = ModelPort(rng)
    device = uart.UartDevice(port, SHAPE, "model")
    right, refusals = 0, []
    for index in range(FULL if full else COUNT):
        port.kinds = (kind, "none") if kind in FAULTS else ("delay", "none")
        codes, expected = questions[index % len(questions)]
        try:
            assert (device.infer(codes) == expected).all()
            right += 1
        except BackendError as error:
            refusals.append(str(error))
        if index % 50 == 0:  # and it recovers as soon as the line does
            port.kinds = ()
            assert (device.infer(codes) == expected).all()
    assert right
    # A reply that comes twice, or after noise, is found as it is.
    assert bool(refusals) == (kind not in {"repeat", "noise"})
    assert all(text.startswith("fpga: model: ") for text in refusals)


class ModelRegisters:
    """The register map of a core, with faults as a bus can show them."""

    name = "model"

    def __init__(self, rng):
        self._rng = rng
        self._status = 0
        self._error = 0
        self._input = np.zeros(Packer(SHAPE, 32).pack(np.zeros(SHAPE.n, int)).size // 4, np.uint32)
        self._output = np.zeros(-(-SHAPE.m * SHAPE.b_out // 32), np.uint32)
        self.faulty = False
        self.stuck = False

    def _fault(self, chance=0.08):
        return self.faulty and self._rng.random() < chance

    def read(self, address, count):
        if self._fault():
            if self._rng.random() < 0.5:
                raise BackendError("fpga: model: read: SLVERR")
            if address == OFFSET["STATUS"]:
                return np.array([POISON], np.uint32)
        if address == OFFSET["STATUS"]:
            return np.array([self._status], np.uint32)
        if address == OFFSET["ERROR"]:
            return np.array([self._error], np.uint32)
        return self._output[:count].copy()

    def write(self, address, words):
        if self._fault():
            raise BackendError("fpga: model: write: no answer")
        if address == OFFSET["INPUT"]:
            self._input[: len(words)] = words
        elif address == OFFSET["ERROR"]:
            self._error = 0
            self._status &= ~0b100
        elif words[0] & device_module._RESET:
            self._status = 0
        elif words[0] & device_module._START:
            self._start()

    def _start(self):
        if self._fault():
            self._status = device_module._BUSY  # and never done
            return
        if self._fault():
            self._status = device_module._ERROR
            self._error = 1
            return
        codes = unpacked(self._input.tobytes())
        data = packed_outputs(output_codes(codes))
        self._output = np.frombuffer(data.ljust(self._output.size * 4, b"\0"), np.uint32).copy()
        self._status = device_module._DONE

    def close(self):
        pass


def test_a_faulty_bus_gives_no_wrong_code(questions, monkeypatch, full):
    monkeypatch.setattr(device_module, "_DONE_LIMIT", 0.0)
    monkeypatch.setattr(device_module, "_MIN_POLLS", 3)
    registers = ModelRegisters(random.Random(1))
    device = RegisterDevice(registers, SHAPE)
    right, refusals = 0, []
    for index in range(FULL if full else COUNT):
        registers.faulty = True
        codes, expected = questions[index % len(questions)]
        try:
            assert (device.infer(codes) == expected).all()
            right += 1
        except BackendError as error:
            refusals.append(str(error))
        if index % 50 == 0:
            registers.faulty = False
            assert (device.infer(codes) == expected).all()
    assert right
    assert refusals
    assert all(text.startswith("fpga: model: ") for text in refusals)


def test_a_reply_of_another_size_names_another_core():
    port = ModelPort(random.Random(0))
    port.write = lambda data: port._answer(encode(Frame(data[1] | 0x80, data[2], b"\0" * 4)))
    device = uart.UartDevice(port, SHAPE, "uart")
    with pytest.raises(BackendError, match="the reply has 4 bytes instead of 7; the core is not"):
        device.infer(np.zeros(INPUTS, np.int32))


def test_a_bitstream_is_not_taken_by_a_serial_line():
    with pytest.raises(PolicyError, match=r"fpga\.bitstream: is not taken by transport uart"):
        uart.open_device(ARTIFACT, "/dev/ttyUSB1", "board.bit")


def test_missing_pyserial_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(BackendError, match="pip install pyserial"):
        uart.open_device(ARTIFACT, "/dev/ttyUSB1", "")


def test_the_cycles_of_the_last_answer_are_kept(questions):
    device = uart.UartDevice(ModelPort(random.Random(0)), SHAPE, "uart")
    codes, answer = questions[0]
    assert (device.infer(codes) == answer).all()
    assert device.read_cycles() == 12
