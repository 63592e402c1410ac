"""The file can be read after every flush, and after one that failed."""

from __future__ import annotations

import errno
import os

import pytest
from rosbags.rosbag2 import Reader

from qpolicy_ros.nodes.recording.mcap_writer import McapWriter

DEFINITION = "builtin_interfaces/Time clock\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bag.mcap"


@pytest.fixture
def writer(path):
    return McapWriter(path, "test")


def read(path):
    with Reader(path) as reader:
        return [(c.topic, log, data) for c, log, data in reader.messages()]


def test_an_empty_file_is_complete(path, writer):
    with Reader(path) as reader:
        assert reader.message_count == 0
        assert reader.connections == []
    writer.close()


def test_every_flush_leaves_a_complete_file(path, writer):
    expected = []
    for index in range(30):
        if index in (0, 10):
            channel = writer.add_channel(f"/topic{index}", "a/msg/B", DEFINITION, "")
        writer.write(channel, 100 + index, 50 + index, index, bytes([index] * index))
        expected.append((f"/topic{10 if index >= 10 else 0}", 100 + index, bytes([index] * index)))
        if index % 3 == 0:
            writer.flush()
            assert read(path) == expected
    writer.close()
    assert read(path) == expected
    with Reader(path) as reader:
        assert reader.message_count == 30
        assert (reader.start_time, reader.end_time) == (100, 130)


def test_a_topic_without_messages_is_listed(path, writer):
    writer.add_channel("/silent", "a/msg/B", DEFINITION, "")
    writer.close()
    with Reader(path) as reader:
        assert [(c.topic, c.msgtype, c.msgcount) for c in reader.connections] == [
            ("/silent", "a/msg/B", 0)
        ]


def test_a_full_disk_loses_only_what_was_not_flushed(path, writer, monkeypatch):
    channel = writer.add_channel("/topic", "a/msg/B", DEFINITION, "")
    writer.write(channel, 1, 1, 1, b"kept")
    writer.flush()
    writer.write(channel, 2, 2, 2, b"lost" * 100)
    real, calls = os.pwrite, []

    def full_once(descriptor, content, offset):
        calls.append(offset)
        if len(calls) == 1:
            return real(descriptor, content[:50], offset)  # as far as there is room
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, content, offset)

    monkeypatch.setattr(os, "pwrite", full_once)
    with pytest.raises(OSError, match="No space left"):
        writer.flush()
    assert read(path) == [("/topic", 1, b"kept")]


def test_an_existing_file_is_kept(path):
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        McapWriter(path, "test")
    assert path.read_bytes() == b"precious"
