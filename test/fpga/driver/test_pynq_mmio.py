"""Transport pynq against a stand-in for pynq; test_pynq.py has the real package."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from policy_builders import random_artifact

from qpolicy_ros.backends import BackendError
from qpolicy_ros.backends.fpga import pynq_mmio
from qpolicy_ros.policy import PolicyError


class StandIn:
    """Overlay and MMIO of pynq; remembers what was asked of it."""

    def __init__(self):
        self.ip_dict = {"qpolicy_0": {"phys_addr": 0x43C00000}, "dma_0": {"phys_addr": 0}}
        self.words = {}
        self.downloads = 0
        self.mapped = None
        self.broken = None

    def overlay(self, _path, *, download):
        assert not download
        if self.broken:
            raise self.broken
        return SimpleNamespace(ip_dict=self.ip_dict, download=self.download)

    def download(self):
        self.downloads += 1

    def mmio(self, address, length):
        self.mapped = (address, length)
        return self

    def read(self, address):
        if self.broken:
            raise self.broken
        return self.words.get(address, 0)

    def write(self, address, word):
        if self.broken:
            raise self.broken
        assert type(word) is int  # pynq takes bytes and int, no NumPy scalar
        self.words[address] = word


@pytest.fixture
def board(monkeypatch):
    stand_in = StandIn()
    module = SimpleNamespace(Overlay=stand_in.overlay, MMIO=stand_in.mmio)
    monkeypatch.setitem(sys.modules, "pynq", module)
    monkeypatch.setattr(pynq_mmio, "_LOADED", set())
    return stand_in


@pytest.fixture
def bitstream(tmp_path):
    (tmp_path / "qpolicy.bit").touch()
    return str(tmp_path / "qpolicy.bit")


def test_a_bitstream_is_loaded_once_in_a_process(board, bitstream):
    for _ in range(2):
        pynq_mmio.open_device(random_artifact(), "", bitstream)
    assert board.downloads == 1
    assert board.mapped == (0x43C00000, 4096)


def test_an_ip_of_another_name_lists_those_there_are(board, bitstream):
    with pytest.raises(BackendError, match="no IP 'core_1'; it has: qpolicy_0, dma_0"):
        pynq_mmio.open_device(random_artifact(), "core_1", bitstream)
    assert board.mapped is None


def test_whatever_pynq_raises_is_named(board, bitstream):
    board.broken = RuntimeError("no .hwh file")
    with pytest.raises(BackendError, match=r"pynq: qpolicy\.bit: no \.hwh file"):
        pynq_mmio.open_device(random_artifact(), "", bitstream)


@pytest.mark.parametrize("bitstream", ["", "/nowhere/qpolicy.bit"])
def test_a_bitstream_that_is_not_there_is_refused(board, bitstream):
    with pytest.raises(PolicyError, match=r"fpga\.bitstream"):
        pynq_mmio.open_device(random_artifact(), "", bitstream)
    assert board.downloads == 0


def test_words_go_to_consecutive_addresses_and_come_back(board):
    registers = pynq_mmio.MmioRegisters(board, "pynq qpolicy_0")
    words = np.array([1, 0xFFFFFFFF, 3], np.uint32)
    registers.write(0x800, words)
    assert board.words == {0x800: 1, 0x804: 0xFFFFFFFF, 0x808: 3}
    found = registers.read(0x800, 3)
    assert found.dtype == np.uint32
    assert (found == words).all()


def test_a_bus_error_names_the_address(board):
    registers = pynq_mmio.MmioRegisters(board, "pynq qpolicy_0")
    board.broken = MemoryError("bus")
    with pytest.raises(BackendError, match="pynq qpolicy_0: read at 0x00C: bus"):
        registers.read(0x00C, 1)
    with pytest.raises(BackendError, match="pynq qpolicy_0: write at 0x010: bus"):
        registers.write(0x010, np.zeros(1, np.uint32))
