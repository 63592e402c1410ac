"""The register map: its header and its document follow from the table."""

from __future__ import annotations

import pytest

from qpolicy_fpga.wrappers import register_files
from qpolicy_ros.backends.fpga.registers import REGISTERS, check_sizes


def test_the_verilog_header_is_the_generated_one():
    assert register_files.HEADER.read_text(encoding="utf-8") == register_files.header()


def test_the_document_is_the_generated_one():
    assert register_files.DOCUMENT.read_text(encoding="utf-8") == register_files.document()


def test_addresses_are_aligned_and_unique():
    offsets = [register.offset for register in REGISTERS]
    assert all(offset % 4 == 0 for offset in offsets)
    assert sorted(set(offsets)) == offsets


@pytest.mark.parametrize("register", [r for r in REGISTERS if r.bits], ids=lambda r: r.name)
def test_fields_do_not_overlap(register):
    bits = [bit for field in register.bits for bit in range(field.low, field.high + 1)]
    assert len(set(bits)) == len(bits)
    assert max(bits) < 32


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ((376, 8, 32, 17, 8), ""),
        ((3072, 8, 32, 17, 8), ""),
        ((3073, 8, 32, 17, 8), "3073 input codes of 8 bits need 776 words"),
        ((11, 8, 11, 897, 8), "897 output codes of 8 bits need 225 words"),
    ],
)
def test_a_policy_too_large_for_the_map_is_told_so(sizes, reason):
    assert check_sizes(*sizes).startswith(reason)
    assert bool(check_sizes(*sizes)) == bool(reason)
