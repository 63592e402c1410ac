"""Frames on the serial line: found among garbage, damaged ones skipped."""

from __future__ import annotations

import pytest

from qpolicy_ros.backends.fpga.frames import Decoder, Frame, crc16, encode

FRAME = Frame(0x82, 7, bytes(range(20)))


def test_crc_has_its_published_check_value():
    assert crc16(b"123456789") == 0x29B1


def test_a_frame_comes_out_as_it_went_in():
    assert Decoder(64).feed(encode(FRAME)) == [FRAME]


def test_a_frame_may_come_byte_by_byte():
    decoder = Decoder(64)
    frames = [frame for byte in encode(FRAME) for frame in decoder.feed(bytes([byte]))]
    assert frames == [FRAME]


@pytest.mark.parametrize(
    "garbage",
    [b"\x00\x01\x02", b"\xa5", b"\xa5\xa5\xa5", b"\xa5\x82\x07\xff\xff", encode(FRAME)[:12]],
    ids=["noise", "sync", "syncs", "impossible length", "half frame"],
)
def test_a_frame_after_garbage_is_found(garbage):
    decoder = Decoder(64)
    frames = decoder.feed(garbage + encode(FRAME))
    # A false start may hold the frame back until as many bytes as it claims have come.
    frames += decoder.feed(bytes(80))
    assert frames == [FRAME]


@pytest.mark.parametrize("position", range(1, len(encode(FRAME))))
def test_a_damaged_byte_is_noticed(position):
    data = bytearray(encode(FRAME))
    data[position] ^= 0x10
    decoder = Decoder(64)
    assert decoder.feed(bytes(data)) + decoder.feed(bytes(80)) == []


def test_missing_counts_down_to_the_end_of_the_frame():
    decoder = Decoder(64)
    data = encode(FRAME)
    decoder.feed(data[:5])
    assert decoder.missing == len(data) - 5
