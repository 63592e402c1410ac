"""The scanner sees what rosbags sees, and as much as there is of a file that is cut."""

from __future__ import annotations

import struct
import sys
import tracemalloc

import lz4.frame
import numpy as np
import pytest
from bags import PERIOD, WALL, answers, write_bag
from rosbags.rosbag2 import CompressionMode, Reader
from rosbags.rosbag2.errors import ReaderError

from qpolicy_ros.latency import mcap
from qpolicy_ros.latency.mcap import MAGIC, Scan, unpack
from qpolicy_ros.nodes.recording.mcap_writer import McapWriter

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def contents(path):
    scan = Scan(path, lambda *_: True)
    found = [
        (batch.topic, batch.kind, log, data)
        for batch in scan.batches()
        for log, data in zip(batch.log, batch.payloads, strict=True)
    ]
    return scan, found


@pytest.fixture(scope="module")
def latencies():
    return np.random.default_rng(0).uniform(100.0, 900.0, 200)


@pytest.mark.parametrize("compression", [CompressionMode.NONE, CompressionMode.STORAGE])
def test_it_reads_what_rosbags_reads(tmp_path, latencies, compression):
    bag = write_bag(tmp_path / "bag", answers(latencies), compression=compression)
    scan, found = contents(bag / "bag.mcap")
    with Reader(bag) as reader:
        expected = [(c.topic, c.msgtype, log, data) for c, log, data in reader.messages()]
    assert sorted(found) == sorted(expected)
    assert scan.problem == ""
    assert scan.count == len(expected) == 600


def test_a_cut_file_gives_its_prefix_and_says_so(tmp_path, latencies):
    whole = write_bag(tmp_path / "bag", answers(latencies)) / "bag.mcap"
    content = whole.read_bytes()
    _, everything = contents(whole)
    by_topic = {
        topic: [each for each in everything if each[0] == topic] for topic, *_ in everything
    }
    cut = tmp_path / "cut.mcap"
    seen = set()
    for size in np.linspace(9, len(content) - 40, 40).astype(int):
        cut.write_bytes(content[:size])
        scan, found = contents(cut)
        assert "ends" in scan.problem or found == everything
        for topic, expected in by_topic.items():
            prefix = [each for each in found if each[0] == topic]
            assert prefix == expected[: len(prefix)]
        seen.add(len(found))
    assert len(seen) > 10


def test_a_damaged_chunk_is_not_used(tmp_path):
    """Its checksum tells; the chunk before it is used."""
    path = tmp_path / "bag.mcap"
    writer = McapWriter(path, "test")
    channel = writer.add_channel("/topic", "a/msg/B", "", "")
    for data in (b"first" * 20, b"second" * 20):
        writer.write(channel, 1, 1, 0, data)
        writer.flush()
    writer.close()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"second" * 20, b"other!" * 20))
    scan, found = contents(path)
    assert "damaged" in scan.problem
    assert "checksum" in scan.problem
    assert [data for *_, data in found] == [b"first" * 20]


@pytest.mark.parametrize(("content", "problem"), [(b"", "is empty"), (b"SQLite format", "begin")])
def test_what_is_no_mcap_is_said(tmp_path, content, problem):
    path = tmp_path / "bag.mcap"
    path.write_bytes(content)
    scan, found = contents(path)
    assert problem in scan.problem
    assert found == []


def test_only_what_is_wanted_is_kept(tmp_path):
    bag = write_bag(tmp_path / "bag", answers([100.0, 200.0]))
    scan = Scan(bag / "bag.mcap", lambda topic, _: topic == "/timing")
    (batch,) = scan.batches()
    assert batch.topic == "/timing"
    assert batch.log == [WALL + 101_000, WALL + PERIOD + 201_000]
    assert scan.count == 6


@pytest.mark.parametrize("compression", ["lz4", "zstd", ""])
def test_a_chunk_takes_no_more_memory_than_it_names(compression):
    bomb = bytes(50 << 20)
    packed = {"lz4": lz4.frame.compress, "zstd": zstd.compress, "": lambda data: data}
    data = packed[compression](bomb)
    tracemalloc.start()
    with pytest.raises(ReaderError, match="does not unpack to the 1000 bytes"):
        unpack(data, compression, 1000, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 << 20


def test_a_chunk_that_promises_terabytes_is_refused():
    with pytest.raises(ReaderError, match="at most 1073741824 are read"):
        unpack(b"", "zstd", 1 << 42, 0)


def test_an_unknown_compression_is_named():
    with pytest.raises(ReaderError, match="unknown compression 'brotli'"):
        unpack(b"", "brotli", 0, 0)


def test_a_time_that_no_clock_shows_is_damage(tmp_path):
    path = tmp_path / "late.mcap"
    message = struct.pack("<HIQQ", 1, 0, 2**63, 0)
    path.write_bytes(MAGIC + struct.pack("<BQ", 5, len(message)) + message)
    scan = Scan(path, lambda *_: True)
    assert list(scan.batches()) == []
    assert "a time is beyond the year 2262" in scan.problem


def record(operation, content):
    return struct.pack("<BQ", operation, len(content)) + content


def text(value):
    return struct.pack("<I", len(value)) + value


def chunk(content, compression=b"", size=None):
    head = struct.pack("<QQQI", 0, 0, len(content) if size is None else size, 0)
    return record(6, head + text(compression) + struct.pack("<Q", len(content)) + content)


SCHEMA = record(3, struct.pack("<H", 1) + text(b"a/msg/B"))
CHANNEL = record(4, struct.pack("<HH", 7, 1) + text(b"/topic"))
MESSAGE = record(5, struct.pack("<HIQQ", 7, 0, 3, 2) + b"data")
ATTACHMENT = record(9, b"anything")


def test_records_of_no_interest_are_skipped_inside_a_chunk(tmp_path):
    path = tmp_path / "bag.mcap"
    path.write_bytes(MAGIC + chunk(SCHEMA + ATTACHMENT + CHANNEL + MESSAGE) + record(0x0F, b""))
    scan, found = contents(path)
    assert not scan.problem
    assert [data for *_, data in found] == [b"data"]
    assert scan.topics == {"/topic": "a/msg/B"}


@pytest.mark.parametrize(
    ("damaged", "problem"),
    [
        (chunk(b"no frame", b"zstd", 100), "a chunk cannot be unpacked"),
        (chunk(b"no frame", b"lz4", 100), "a chunk cannot be unpacked"),
        (record(5, b"short"), "cut record"),
        (chunk(MESSAGE[:-1]), "cut record"),
        (record(4, struct.pack("<HHI", 7, 1, 1000) + b"/topic"), "cut record"),
        (record(4, struct.pack("<HH", 7, 1) + text(b"\xff")), "cut record"),
        (record(3, b""), "cut record"),
    ],
)
def test_messages_before_damage_are_kept(tmp_path, damaged, problem):
    path = tmp_path / "bag.mcap"
    whole = MAGIC + SCHEMA + CHANNEL + MESSAGE
    path.write_bytes(whole + damaged + MESSAGE)
    scan, found = contents(path)
    assert f"is damaged at byte {len(whole)}: {problem}" in scan.problem
    assert [data for *_, data in found] == [b"data"]


def test_a_compressed_chunk_that_is_cut_gives_nothing(tmp_path):
    path = tmp_path / "bag.mcap"
    packed = chunk(zstd.compress(SCHEMA + CHANNEL + MESSAGE), b"zstd", 100)
    path.write_bytes(MAGIC + packed[:-3])
    scan, found = contents(path)
    assert found == []
    assert "3 are missing" in scan.problem


def test_a_long_file_comes_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(mcap, "BATCH", 2)
    path = tmp_path / "bag.mcap"
    path.write_bytes(MAGIC + SCHEMA + CHANNEL + 5 * MESSAGE + record(0x0F, b""))
    scan = Scan(path, lambda *_: True)
    assert [len(batch.log) for batch in scan.batches()] == [2, 2, 1]
