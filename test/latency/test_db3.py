"""A bag's SQLite file that is damaged, hostile or no recording: one line, in bounded work."""

from __future__ import annotations

import sqlite3
import sys

import pytest
from bags import answers, reported, topics_of, write_humble

from qpolicy_ros.latency import db3
from qpolicy_ros.latency.bag import BagError, open_bag


@pytest.fixture
def messages():
    return [reported(), *answers([300.0] * 50)]


@pytest.fixture
def database(tmp_path, messages):
    """A bag of Humble, and a function that runs SQL in its file."""
    bag = write_humble(tmp_path / "bag", messages)

    def run(script):
        with sqlite3.connect(bag / "bag_0.db3") as file:
            file.executescript(script)
        file.close()

    return bag / "bag_0.db3", run


@pytest.mark.parametrize(
    ("script", "wrong"),
    [
        (
            (
                "DROP TABLE messages; CREATE TABLE messages(id INTEGER PRIMARY KEY, "
                "topic_id INTEGER, timestamp INTEGER, data BLOB AS (zeroblob(900000000)));"
                "INSERT INTO messages(topic_id, timestamp) VALUES (1, 1)"
            ),
            "column 'data' of 'messages' is computed",
        ),
        (
            (
                "DROP TABLE messages; CREATE VIEW messages AS WITH RECURSIVE endless(id) AS "
                "(SELECT 1 UNION ALL SELECT 1 FROM endless) SELECT id, 1 AS topic_id, "
                "1 AS timestamp, x'00' AS data FROM endless"
            ),
            "'messages' is a view, rosbag2 has plain tables only",
        ),
        ("DROP TABLE topics", "there is no table 'topics'"),
        ("UPDATE topics SET name = x'00'", "topic 1 has no name or type"),
        ("UPDATE topics SET serialization_format = 'json'", "is serialized as 'json', not cdr"),
        ("UPDATE messages SET timestamp = -1", "a time of -1 ns"),
        ("UPDATE messages SET timestamp = 1e300", "a time of 1e[+]300 ns"),
    ],
    ids=["computed", "endless", "topics", "name", "format", "negative", "fraction"],
)
def test_a_database_that_is_no_recording_is_named(database, script, wrong):
    file, run = database
    run(script)
    with pytest.raises(BagError, match=rf"bag_0\.db3: bag: cannot be read: .*{wrong}"):
        topics_of(file)


def test_a_long_message_is_not_read(database, monkeypatch):
    file, run = database
    monkeypatch.setattr(db3, "MOST_BYTES", 5000)
    run("UPDATE messages SET data = zeroblob(5001)")
    with pytest.raises(BagError, match="a message of 5001 bytes, at most 5000 are read"):
        topics_of(file)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="sqlite3 has limits since Python 3.11")
def test_a_value_is_no_longer_than_may_be_read(database, monkeypatch):
    file, run = database
    monkeypatch.setattr(db3, "MOST_BYTES", 5000)
    run("UPDATE topics SET name = printf('%5001s', 'x')")
    with pytest.raises(BagError, match="cannot be read: string or blob too big"):
        topics_of(file)


def test_a_value_that_memory_cannot_hold_is_damage(database, monkeypatch):
    """A damaged length made SQLite ask for more than there was (fuzzing found it)."""
    file, _ = database

    def choose(*_):
        raise MemoryError

    monkeypatch.setattr(db3.Scan, "_choose", choose)
    with pytest.raises(BagError, match="cannot be read: asks for too much memory"):
        topics_of(file)


def test_rows_that_share_pages_end_where_the_file_ends(database):
    """All messages' pages are one page, so the file holds a thousand rows and 30 pages of them."""
    file, run = database
    run("UPDATE messages SET data = zeroblob(400)")
    with sqlite3.connect(file) as opened:
        (size,) = opened.execute("PRAGMA page_size").fetchone()
        (root,) = opened.execute("SELECT rootpage FROM sqlite_master WHERE name = 'messages'")
    opened.close()
    content = bytearray(file.read_bytes())
    # The root's cells: 4 bytes of page number, a rowid. All of them shall name the first page.
    at = (root[0] - 1) * size
    assert content[at] == 5, "an interior page of a table"
    cells = int.from_bytes(content[at + 3 : at + 5], "big")
    places = [
        at + int.from_bytes(content[at + 12 + 2 * i : at + 14 + 2 * i], "big") for i in range(cells)
    ]
    child = content[places[0] : places[0] + 4]
    for place in places[1:]:
        content[place : place + 4] = child
    # And one more level of the same, on a page of its own: the rows are squared.
    content += content[at : at + size]
    added = len(content) // size
    content[28:32] = added.to_bytes(4, "big")
    for place in places:
        content[place : place + 4] = added.to_bytes(4, "big")
    file.write_bytes(content)
    opened = open_bag(file)
    kept = sum(len(batch.log) for batch in opened.batches(lambda *_: True))
    assert kept * 400 <= len(content)
    assert f"is damaged (rows hold more than the {len(content)} bytes" in opened.notes[0]


def test_endless_work_is_given_up(database, monkeypatch):
    file, _ = database
    monkeypatch.setattr(db3, "_STEPS", 0)
    monkeypatch.setattr(db3, "_STEPS_A_BYTE", 0)
    monkeypatch.setattr(db3, "_STEPS_AT_ONCE", 100)
    opened = open_bag(file)
    with pytest.raises(BagError, match=r"takes more work than .* bytes explain"):
        list(opened.batches(lambda *_: False))
