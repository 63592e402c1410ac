"""The backend over a device in Python: how it loses an accelerator and takes it back."""

from __future__ import annotations

import os
import termios
import threading
import time

import numpy as np
import pytest
from policy_builders import random_artifact

from qpolicy_ros.backends import BackendError, check_golden, create_backend
from qpolicy_ros.backends.fpga import backend as backend_module
from qpolicy_ros.backends.fpga import uart
from qpolicy_ros.backends.fpga.device import Identity, Unseen
from qpolicy_ros.backends.fpga.packing import Shape
from qpolicy_ros.backends.fpga.registers import MAGIC_VALUE, VERSION_VALUE
from qpolicy_ros.policy.numpy_engine import NumpyEngine

INPUTS = 11
ARTIFACT = random_artifact(3, INPUTS, hidden=(8,), outputs=3)
OBSERVATION = ARTIFACT.golden.observations[0]


class ModelDevice:
    """A core that computes the policy; ``offset`` is added to its codes, as damage would."""

    name = "model"
    unseen_reads = 4

    def __init__(self, offset=0):
        self._engine = NumpyEngine(ARTIFACT.network)
        self._offset = offset
        self.unplugged = False
        self.closed = False

    def identify(self):
        shape = Shape.of(ARTIFACT.network)
        return Identity(MAGIC_VALUE, VERSION_VALUE, ARTIFACT.function_hash[:32], shape)

    def infer(self, codes):
        if self.unplugged:
            raise BackendError("fpga: model: unplugged")
        observation = codes / ARTIFACT.network.gain + ARTIFACT.network.mean
        return self._engine.trace(observation.astype(np.float32))[-1] + self._offset

    def unseen(self, _value):
        return Unseen(0, 0, 0, 0)

    def forget(self):
        raise AssertionError

    def close(self):
        self.closed = True


class Opener:
    """Stands for ``open_device``: gives what the test has put into ``found``, a device or error."""

    def __init__(self):
        self.found = ModelDevice()
        self.asked = 0

    def __call__(self, *_, **__):
        self.asked += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def until_asked(self, times=2):
        """Wait until the search has been through at least one whole round more."""
        until(lambda goal=self.asked + times: self.asked >= goal)


def until(condition, limit=90.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


@pytest.fixture
def opener(monkeypatch):
    opener = Opener()
    monkeypatch.setattr(backend_module, "open_device", opener)
    monkeypatch.setattr(backend_module, "_RETRY", 0.005)
    return opener


@pytest.fixture
def backend(opener):
    assert not opener.asked
    backend = create_backend("fpga", ARTIFACT)
    yield backend
    backend.close()


def lose(backend):
    """Unplug the accelerator and notice it."""
    backend.device.unplugged = True
    with pytest.raises(BackendError, match="unplugged"):
        backend.act(OBSERVATION)


def test_a_lost_device_is_taken_back(backend, opener):
    first, opener.found = opener.found, ModelDevice()
    lose(backend)
    until(lambda: backend.device is not None)
    assert first.closed
    assert not backend.trouble
    check_golden(backend, ARTIFACT)


def test_a_core_that_answers_wrongly_is_refused(opener):
    opener.found = ModelDevice(offset=1)
    with pytest.raises(BackendError, match=r"model: golden vector 0, output 0: code .* instead of"):
        create_backend("fpga", ARTIFACT)
    assert opener.found.closed


def test_a_core_that_comes_back_wrong_is_not_taken(backend, opener):
    """It has the right magic and hash: only the golden vectors tell."""
    opener.found = ModelDevice(offset=1)
    lose(backend)
    opener.until_asked()
    assert backend.device is None
    assert "golden vector 0" in backend.trouble
    with pytest.raises(BackendError, match=r"golden vector 0.*looking for it every"):
        backend.act(OBSERVATION)
    opener.found = ModelDevice()
    until(lambda: backend.device is not None)
    check_golden(backend, ARTIFACT)


@pytest.mark.parametrize("error", [RuntimeError("odd"), termios.error(5, "Input/output error")])
def test_the_search_survives_an_error_that_nobody_expected(backend, opener, error):
    opener.found = error
    lose(backend)
    opener.until_asked()
    assert backend.trouble.startswith(f"fpga: {type(error).__name__}: ")
    opener.found = ModelDevice()
    until(lambda: backend.device is not None)


def test_closing_does_not_wait_for_a_search_that_goes_on(opener, monkeypatch):
    """The simulation of a large core is compiled for minutes."""
    monkeypatch.setattr(backend_module, "_CLOSE_LIMIT", 0.05)
    backend = create_backend("fpga", ARTIFACT)
    late, go_on = ModelDevice(), threading.Event()

    def compile_for_long(*_, **__):
        opener.asked += 1
        assert go_on.wait(90)
        return late

    opener.asked = 0
    monkeypatch.setattr(backend_module, "open_device", compile_for_long)
    lose(backend)
    until(lambda: opener.asked)
    backend.close()
    assert not late.closed
    go_on.set()
    until(lambda: late.closed)
    assert backend.device is None


@pytest.mark.parametrize("call", ["tcsetattr", "tcflush"])
def test_an_adapter_that_goes_while_its_port_is_opened_is_named(monkeypatch, call):
    def fail(*_):
        raise termios.error(5, "Input/output error")

    monkeypatch.setattr(termios, call, fail)
    master, slave = os.openpty()
    try:
        with pytest.raises(BackendError, match=r"/dev/.*: Input/output error; give"):
            uart.open_device(ARTIFACT, os.ttyname(slave), "")
    finally:
        os.close(master)
        os.close(slave)


def test_closing_a_port_whose_adapter_is_gone_is_no_error():
    class Gone:
        def close(self):
            raise OSError(5, "Input/output error")

    uart.UartDevice(Gone(), Shape.of(ARTIFACT.network), "gone").close()
