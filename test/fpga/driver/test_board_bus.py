"""The pynq transport's registers on the bus of the board design, whose errors must not kill it.

The timeout block is as `pynq_z2.tcl` sets it, RESPONSE OKAY, before the wrapper and a core.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from board_bus import BoardMmio, build_board
from policy_builders import random_artifact, random_observations

from qpolicy_fpga import generate
from qpolicy_fpga.vivado import board
from qpolicy_ros.backends import BackendError
from qpolicy_ros.backends.fpga.device import RegisterDevice, check_identity
from qpolicy_ros.backends.fpga.packing import CoreShape
from qpolicy_ros.backends.fpga.pynq_mmio import MmioRegisters
from qpolicy_ros.policy.numpy_engine import NumpyEngine

pytestmark = pytest.mark.slow
ARTIFACT = random_artifact(11, 11, (8,), 3)
ENGINE = NumpyEngine(ARTIFACT.network)
QUESTIONS = random_observations(3, 40, 11)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    generate(ARTIFACT, "xc7z020", 100.0, "latency", folder / "core")
    return build_board(folder / "core", folder / "wrapper")


@pytest.fixture
def mmio(library):
    mmio = BoardMmio(library)
    yield mmio
    mmio.close()


@pytest.fixture
def device(mmio):
    return RegisterDevice(MmioRegisters(mmio, "board"), CoreShape.of(ARTIFACT.network))


def right(device, index):
    """Whether the core's answer to a question is the engine's."""
    trace = ENGINE.trace(QUESTIONS[index % len(QUESTIONS)])
    return bool(np.array_equal(device.infer(trace[0]), trace[-1]))


def test_the_board_design_asks_for_the_response_that_is_simulated():
    script = Path(board.__file__).with_name("pynq_z2.tcl").read_text()
    bench = (Path(__file__).parents[2] / "helpers" / "board_bus.v").read_text()
    asked = re.search(r"CONFIG\.RESPONSE 0b(\d\d)", script).group(1)
    assert f"parameter [1:0] RESPONSE = 2'b{asked}" in bench


def test_the_core_is_known_and_answers(device):
    shape = CoreShape.of(ARTIFACT.network)
    check_identity("board", device.identify(), ARTIFACT.function_hash, shape)
    assert all(right(device, index) for index in range(len(QUESTIONS)))


def test_a_refused_write_is_named_and_does_not_kill(device, mmio):
    mmio.write(0xFFC, 0)
    with pytest.raises(BackendError, match="refused: write outside the map"):
        right(device, 0)
    assert right(device, 1)


def test_a_silent_bus_is_named(device, mmio):
    mmio.silent = range(1 << 30)
    with pytest.raises(BackendError, match="the bus did not answer in time"):
        right(device, 0)
    mmio.silent = range(0)
    assert right(device, 1)


@pytest.mark.parametrize("length", [1, 2, 3, 5])
def test_silence_anywhere_in_an_inference_gives_no_wrong_code(device, mmio, length):
    before = mmio.accesses
    assert right(device, 0)
    refusals = 0
    for start in range(mmio.accesses - before):
        mmio.silent = range(mmio.accesses + start, mmio.accesses + start + length)
        try:
            assert right(device, start + 1)
        except BackendError as error:
            refusals += 1
            assert "the bus did not answer in time" in str(error)  # noqa: PT017  one of two ways
        mmio.silent = range(0)
        try:
            assert right(device, 0)
        except BackendError:  # what was silent last is told by the next read
            assert right(device, 0)
    assert refusals
