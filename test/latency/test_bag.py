"""What is no bag, or a bag that is damaged, is said in one line or used as far as it goes."""

from __future__ import annotations

import json

import pytest
from bags import answers, reported, write_bag, write_humble
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from qpolicy_ros.latency.bag import BagError, open_bag


def topics_of(path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for batch in open_bag(path).batches(lambda *_: True):
        counts[batch.topic] = counts.get(batch.topic, 0) + len(batch.log)
    return counts


EXPECTED = {"/observation": 50, "/action_stamped": 50, "/timing": 50, "/diagnostics": 1}


@pytest.fixture
def messages():
    return [reported(), *answers([300.0] * 50)]


@pytest.mark.parametrize("storage", StoragePlugin)
@pytest.mark.parametrize("version", [8, 9])
def test_bags_of_jazzy_and_kilted(tmp_path, messages, storage, version):
    bag = write_bag(tmp_path / "bag", messages, storage=storage, version=version)
    assert topics_of(bag) == EXPECTED


@pytest.mark.parametrize("compression", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_bags_that_rosbag2_compressed(tmp_path, messages, compression):
    storage = StoragePlugin.SQLITE3
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
        ({"version": 10}, "version: 10 is newer than 9"),
        ({"storage_identifier": "cassette"}, "'cassette' is unknown"),
        ({"relative_file_paths": ["gone.mcap"]}, "gone.mcap is missing"),
        ({"relative_file_paths": []}, "no file is named"),
        ({"version": "new"}, "does not fit"),
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
