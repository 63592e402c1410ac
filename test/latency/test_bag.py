"""What is no bag, or a bag that is damaged, is said in one line or used as far as it goes."""

from __future__ import annotations

import json
import sqlite3

import pytest
from bags import PERIOD, WALL, answers, reported, topics_of, write_bag, write_humble
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from qpolicy_ros.latency import compressed, db3
from qpolicy_ros.latency.bag import BagError, open_bag

EXPECTED = {"/observation": 50, "/action_stamped": 50, "/timing": 50, "/diagnostics": 1}


@pytest.fixture
def messages():
    return [reported(), *answers([300.0] * 50)]


@pytest.mark.parametrize("storage", StoragePlugin)
@pytest.mark.parametrize("version", [8, 9])
def test_bags_of_jazzy_and_kilted(tmp_path, messages, storage, version):
    bag = write_bag(tmp_path / "bag", messages, storage=storage, version=version)
    assert topics_of(bag) == EXPECTED


COMPRESSIONS = pytest.mark.parametrize(
    "compression", [CompressionMode.FILE, CompressionMode.MESSAGE]
)


@pytest.mark.parametrize("storage", StoragePlugin)
@COMPRESSIONS
def test_bags_that_rosbag2_compressed(tmp_path, messages, compression, storage):
    bag = write_bag(tmp_path / "bag", messages, storage=storage, compression=compression)
    assert topics_of(bag) == EXPECTED


def test_a_bag_of_humble(tmp_path, messages):
    bag = write_humble(tmp_path / "bag", messages)
    assert topics_of(bag) == EXPECTED
    assert open_bag(bag).version == 5


@pytest.mark.parametrize("storage", StoragePlugin)
def test_a_single_file_or_a_folder_without_metadata(tmp_path, messages, storage):
    bag = write_bag(tmp_path / "bag", messages, storage=storage)
    (file,) = (path for path in bag.iterdir() if path.suffix in (".mcap", ".db3"))
    assert topics_of(file) == EXPECTED
    (bag / "metadata.yaml").unlink()
    assert topics_of(bag) == EXPECTED
    assert "did not finish" in open_bag(bag).notes[0]


def test_a_cut_file_is_used_and_noted(tmp_path, messages):
    bag = write_bag(tmp_path / "bag", messages)
    file = bag / "bag.mcap"
    file.write_bytes(file.read_bytes()[:9000])
    opened = open_bag(bag)
    assert sum(len(batch.log) for batch in opened.batches(lambda *_: True)) > 10
    assert "messages before that are used" in opened.notes[0]


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999], ids=["half", "most", "all but a page"])
def test_a_cut_database_is_used_and_noted(tmp_path, messages, share):
    """A copy that was interrupted, within a page and at a page's end."""
    bag = write_humble(tmp_path / "bag", messages * 20)
    file = bag / "bag_0.db3"
    whole = file.read_bytes()
    wanted = [data for batch in open_bag(bag).batches(lambda *_: True) for data in batch.payloads]
    cut = int(len(whole) * share)
    for length in (cut, cut - cut % 4096):
        file.write_bytes(whole[:length])
        opened = open_bag(bag)
        kept = [data for batch in opened.batches(lambda *_: True) for data in batch.payloads]
        assert (share - 0.25) * len(wanted) < len(kept) < len(wanted) + (share == 0.999)
        assert set(kept) <= set(wanted)
        assert "bag_0.db3 is cut off" in opened.notes[0]
        assert file.stat().st_size == length


def test_a_damaged_database_is_used_and_noted(tmp_path, messages):
    """Pages in the middle are overwritten, as by a failing disk."""
    bag = write_humble(tmp_path / "bag", messages * 20)
    file = bag / "bag_0.db3"
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8192] = b"\xff" * 8192
    file.write_bytes(content)
    opened = open_bag(bag)
    try:
        kept = sum(len(batch.log) for batch in opened.batches(lambda *_: True))
    except BagError as error:
        assert "cannot be read" in str(error)  # noqa: PT017  either is right
    else:
        assert 0 < kept < 20 * len(messages)
        assert "damaged" in opened.notes[0]


def change(bag, **facts):
    path = bag / "metadata.yaml"
    from ruamel.yaml import YAML  # noqa: PLC0415

    content = YAML(typ="safe").load(path.read_text())
    content["rosbag2_bagfile_information"] |= facts
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("facts", "wrong"),
    [
        ({"version": 11}, "version: 11 is newer than 10"),
        ({"storage_identifier": "cassette"}, "'cassette' is unknown"),
        ({"relative_file_paths": ["gone.mcap"]}, "gone.mcap is missing"),
        ({"relative_file_paths": []}, "no file is named"),
        ({"version": "new"}, "does not fit"),
        ({"compression_mode": "page"}, "compression_mode: 'page' by 'zstd' is unknown"),
        (
            {"compression_mode": "FILE", "compression_format": "rar"},
            "compression_mode: 'file' by 'rar' is unknown",
        ),
    ],
)
def test_metadata_that_cannot_be_followed(tmp_path, messages, facts, wrong):
    bag = write_bag(tmp_path / "bag", messages)
    change(bag, **facts)
    with pytest.raises(BagError, match=wrong):
        open_bag(bag)


@pytest.mark.parametrize(
    "text", ["", "- 1\n", "a: [", "rosbag2_bagfile_information: {}", "[" * 20_000]
)
def test_metadata_that_is_none(tmp_path, text):
    (tmp_path / "metadata.yaml").write_text(text)
    with pytest.raises(BagError, match=r"metadata\.yaml: metadata: does not fit"):
        open_bag(tmp_path)


def test_what_is_no_bag(tmp_path):
    with pytest.raises(BagError, match="does not exist"):
        open_bag(tmp_path / "gone")
    with pytest.raises(BagError, match="a folder without"):
        open_bag(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(BagError, match=r"kind '\.txt'"):
        open_bag(tmp_path / "notes.txt")


@pytest.mark.parametrize("suffix", ["mcap", "db3"])
def test_an_empty_or_foreign_file(tmp_path, suffix):
    for content in (b"", b"something else" * 100):
        file = tmp_path / f"bag.{suffix}"
        file.write_bytes(content)
        with pytest.raises(BagError) as error:
            topics_of(file)
        assert len(str(error.value).splitlines()) == 1


def test_an_empty_bag(tmp_path):
    bag = write_bag(tmp_path / "bag", [])
    with pytest.raises(BagError, match="has no messages"):
        topics_of(bag)


def test_a_folder_of_two_storages_is_refused(tmp_path):
    for name in ("a.mcap", "b.db3"):
        (tmp_path / name).touch()
    with pytest.raises(BagError, match=r"has \.mcap and \.db3 files and no metadata\.yaml"):
        open_bag(tmp_path)


def test_metadata_of_any_size_is_not_read(tmp_path):
    with (tmp_path / "metadata.yaml").open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(BagError, match="is larger than 16777216 bytes"):
        open_bag(tmp_path)


def test_a_long_bag_comes_in_batches(tmp_path, messages, monkeypatch):
    monkeypatch.setattr(db3, "BATCH", 20)
    bag = open_bag(write_humble(tmp_path / "bag", messages))
    batches = list(bag.batches(lambda topic, _: topic == "/timing"))
    assert [len(batch.log) for batch in batches] == [20, 20, 10]
    assert bag.count == 151


@pytest.mark.parametrize("storage", StoragePlugin)
def test_messages_that_nobody_wants_are_counted(tmp_path, messages, storage):
    bag = open_bag(write_bag(tmp_path / "bag", messages, storage=storage))
    assert list(bag.batches(lambda *_: False)) == []
    assert bag.count == 151
    assert set(bag.topics) == set(EXPECTED)


def test_rows_before_a_damaged_one_are_used(tmp_path, messages):
    bag = write_humble(tmp_path / "bag", messages)
    with sqlite3.connect(bag / "bag_0.db3") as file:
        file.execute("UPDATE messages SET data = 'no bytes' WHERE timestamp > ?", (WALL + PERIOD,))
    file.close()
    opened = open_bag(bag)
    batches = list(opened.batches(lambda *_: True))
    assert sum(len(batch.log) for batch in batches) == opened.count == 5
    assert all(len(batch.payloads) == len(batch.log) for batch in batches)
    assert "bag_0.db3 is damaged (a message holds no bytes)" in opened.notes[0]
    assert "the 5 messages before that are used" in opened.notes[0]


@pytest.mark.parametrize("storage", StoragePlugin)
def test_a_bag_that_vanishes_is_named(tmp_path, messages, storage):
    bag = write_bag(tmp_path / "bag", messages, storage=storage)
    opened = open_bag(bag)
    for file in bag.iterdir():
        file.unlink()
    with pytest.raises(BagError, match="cannot be read"):
        list(opened.batches(lambda *_: True))


def test_a_name_that_steers_a_uri_is_only_a_name(tmp_path, messages):
    bag = write_humble(tmp_path / "bag", messages)
    odd = tmp_path / "a%20b?mode=rwc#c.db3"
    odd.write_bytes((bag / "bag_0.db3").read_bytes())
    assert topics_of(odd) == EXPECTED


@pytest.mark.parametrize("storage", StoragePlugin)
def test_a_message_that_unpacks_to_too_much_is_named(tmp_path, messages, monkeypatch, storage):
    bag = write_bag(
        tmp_path / "bag", messages, storage=storage, compression=CompressionMode.MESSAGE
    )
    monkeypatch.setattr(compressed, "_MOST_MESSAGE_BYTES", 20)
    with pytest.raises(BagError, match="a message unpacks to more than 20 bytes"):
        topics_of(bag)


@pytest.mark.parametrize("storage", StoragePlugin)
def test_a_file_that_unpacks_to_too_much_is_named(tmp_path, messages, monkeypatch, storage):
    bag = write_bag(tmp_path / "bag", messages, storage=storage, compression=CompressionMode.FILE)
    monkeypatch.setattr(compressed, "_MOST_FILE_BYTES", 1000)
    with pytest.raises(BagError, match="unpacks to more than 1000 bytes; unpack it by `zstd -d`"):
        topics_of(bag)


@COMPRESSIONS
def test_damaged_compression_is_named(tmp_path, messages, compression):
    bag = write_bag(
        tmp_path / "bag", messages, storage=StoragePlugin.SQLITE3, compression=compression
    )
    if compression == CompressionMode.FILE:
        (file,) = bag.glob("*.zstd")
        file.write_bytes(file.read_bytes()[:-20])
    else:
        with sqlite3.connect(bag / "bag.db3") as file:
            file.execute("UPDATE messages SET data = x'00112233'")
        file.close()
    with pytest.raises(BagError, match="cannot be unpacked"):
        topics_of(bag)


def test_messages_before_a_damaged_one_are_unpacked(tmp_path, messages):
    bag = write_bag(
        tmp_path / "bag",
        messages,
        storage=StoragePlugin.SQLITE3,
        compression=CompressionMode.MESSAGE,
    )
    with sqlite3.connect(bag / "bag.db3") as file:
        file.execute("UPDATE messages SET data = substr(data, 1, 30) WHERE id > 7")
    file.close()
    opened = open_bag(bag)
    assert sum(len(batch.log) for batch in opened.batches(lambda *_: True)) < 151
    assert "cannot be unpacked" in opened.notes[0]


def test_messages_are_unpacked_in_pieces(tmp_path, messages, monkeypatch):
    monkeypatch.setattr(compressed, "_HELD_BYTES", 300)
    bag = write_bag(tmp_path / "bag", messages, compression=CompressionMode.MESSAGE)
    batches = list(open_bag(bag).batches(lambda topic, _: topic == "/timing"))
    assert len(batches) > 10
    assert sum(len(batch.log) for batch in batches) == 50
    assert all(len(batch.publish) == len(batch.log) for batch in batches)
