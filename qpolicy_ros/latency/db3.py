"""Reads a sqlite3 file of rosbag2, which may be damaged or come from a stranger.

SQLite checks its pages, not what a schema asks it to compute: a view or a generated column can be
endless, pages that several rows share make a small file large. So tables must be plain, a message's
length is looked at before its bytes, and work and bytes are bounded by the file's size.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from rosbags.rosbag2.errors import ReaderError

from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.latency.mcap import BATCH, LATEST, Batch, Wanted

MOST_BYTES = 64 << 20  # of one message; a camera's largest images take some megabytes
_HELD_BYTES = 64 << 20  # of messages in batches that are not handed out yet
_ROW_BYTES = 8  # that a row takes beside its message, at least
# Steps of SQLite's machine: some tens a row, which is tens of bytes long.
_STEPS, _STEPS_A_BYTE = 10_000_000, 50
_STEPS_AT_ONCE = 100_000
# MemoryError: SQLite takes a value's memory before it looks whether the file has its bytes.
_DAMAGE = (sqlite3.Error, ReaderError, OverflowError, UnicodeError, MemoryError)
_PLAIN = 0  # PRAGMA table_xinfo: neither hidden nor generated


@dataclass
class Scan:
    """Reads one file.

    Attributes:
        path: the file.
        wanted: whether to keep the messages of a topic and type.
        topics: types of all topics, by name.
        count: messages of all topics found so far.
        problem: why reading ended before the file's end, empty if it did not.
    """

    path: Path
    wanted: Wanted
    topics: dict[str, str] = field(default_factory=dict)
    count: int = 0
    problem: str = ""
    _batches: dict[int, Batch] = field(default_factory=dict)
    _steps: int = 0

    def batches(self) -> Iterator[Batch]:
        """Yield the wanted messages in batches; what comes before damage is used.

        Raises:
            ReaderError: nothing can be read.
            OSError: the file is not there.
        """
        size = self.path.stat().st_size
        if _missing_bytes(self.path):
            self.problem = "is cut off"
        try:
            yield from self._read(size)
        except _DAMAGE as error:
            reason = " ".join(str(error).split()).rstrip(".") or "asks for too much memory"
            if reason == "interrupted":
                reason = f"takes more work than {size} bytes explain"
            if not self.count:
                raise ReaderError(reason) from error
            self.problem = self.problem or f"is damaged ({reason})"
        yield from self._flush()

    def _read(self, size: int) -> Iterator[Batch]:
        with _whole(self.path) as path, closing(_connect(path)) as file:
            size += path.stat().st_size - self.path.stat().st_size
            limit = _STEPS + _STEPS_A_BYTE * size

            def work() -> bool:
                self._steps += _STEPS_AT_ONCE
                return self._steps > limit

            file.set_progress_handler(work, _STEPS_AT_ONCE)
            if sys.version_info >= (3, 11):
                file.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, min(size, MOST_BYTES))
            file.execute("PRAGMA trusted_schema = OFF")
            file.execute("PRAGMA cell_size_check = ON")
            if self.problem:  # SQLite reads no file that is shorter than it says, but so
                file.execute("PRAGMA writable_schema = ON")
            _check_tables(file)
            chosen = self._choose(file)
            numbers = ",".join(map(str, chosen))  # integers
            yield from self._messages(file, chosen, numbers, size)
            rest = f"SELECT count(*) FROM messages NOT INDEXED WHERE topic_id NOT IN ({numbers})"  # noqa: S608
            self.count += file.execute(rest).fetchone()[0]

    def _choose(self, file: sqlite3.Connection) -> dict[int, tuple[str, str]]:
        """Return topic and type by number of those that are wanted."""
        chosen = {}
        for number, topic, kind, form in file.execute(
            "SELECT id, name, type, serialization_format FROM topics ORDER BY id"
        ):
            if not (isinstance(number, int) and isinstance(topic, str) and isinstance(kind, str)):
                raise ReaderError(f"topic {number!r:.40} has no name or type")
            if form != "cdr":
                raise ReaderError(f"topic {topic!r:.80} is serialized as {form!r:.40}, not cdr")
            self.topics[topic] = kind
            if self.wanted(topic, kind):
                chosen[number] = (topic, kind)
        return chosen

    def _messages(
        self, file: sqlite3.Connection, chosen: dict[int, tuple[str, str]], numbers: str, size: int
    ) -> Iterator[Batch]:
        """Read the rows of the topics chosen in the order of the file.

        Not sorted by SQLite, which would copy all that rows claim to hold before the first comes.
        """
        held = spent = 0
        for number, log, length, data in file.execute(
            "SELECT topic_id, timestamp, length(data), "  # noqa: S608  only integers are put in
            f"CASE WHEN length(data) <= {MOST_BYTES} THEN data END FROM messages "
            f"NOT INDEXED WHERE topic_id IN ({numbers})"
        ):
            if isinstance(length, int) and length > MOST_BYTES:
                raise ReaderError(f"a message of {length} bytes, at most {MOST_BYTES} are read")
            if not isinstance(data, bytes):
                raise ReaderError("a message holds no bytes")
            if not (isinstance(log, int) and 0 <= log <= LATEST):
                raise ReaderError(f"a time of {log!r:.40} ns")
            spent += len(data) + _ROW_BYTES
            if spent > size:
                raise ReaderError(f"rows hold more than the {size} bytes of the file")
            batch = self._batches.get(number)
            if batch is None:
                batch = self._batches[number] = Batch.of(*chosen[number])
            batch.payloads.append(data)
            batch.log.append(log)
            self.count += 1
            batch.places.append(self.count)
            held += len(data)
            if len(batch.log) >= BATCH or held >= _HELD_BYTES:
                held = 0
                yield from self._flush()

    def _flush(self) -> Iterator[Batch]:
        yield from self._batches.values()
        self._batches = {}


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield a file with all messages, in whole pages.

    A recorder that was killed leaves the last ones in a write-ahead log beside the file (rosbag2's
    preset ``resilient``). SQLite puts them into the file when it opens both: into a copy, as a
    recording is not changed by being read.
    """
    log = path.with_name(f"{path.name}-wal")
    logged = log.is_file() and log.stat().st_size
    torn = path.stat().st_size % _page_bytes(path) if _missing_bytes(path) else 0
    if not logged and not torn:
        yield path
        return
    with scratch_folder() as folder:
        copy = Path(folder, "bag.db3")
        shutil.copyfile(path, copy)
        if torn:  # the rest of the last page would be read as zeros
            os.truncate(copy, path.stat().st_size - torn)
        if not logged:
            yield copy
            return
        shutil.copyfile(log, copy.with_name(f"{copy.name}-wal"))
        with closing(sqlite3.connect(copy, isolation_level=None)) as file:
            file.execute("PRAGMA trusted_schema = OFF")
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield copy


def _page_bytes(path: Path) -> int:
    """Return the size of a page that the file's header says, 1 where it is no database."""
    with path.open("rb") as file:
        header = file.read(18)
    if not header.startswith(b"SQLite format 3\0") or len(header) < 18:
        return 1
    size = int.from_bytes(header[16:18], "big")
    return 65536 if size == 1 else max(size, 1)


def _missing_bytes(path: Path) -> int:
    """Return by how much a file is shorter than its header says.

    0 where the header does not say: SQLite's older versions, or no database.
    """
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or header[24:28] != header[92:96]:
        return 0
    said = int.from_bytes(header[28:32], "big") * _page_bytes(path)
    return max(said - path.stat().st_size, 0)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?immutable=1", uri=True)


def _check_tables(file: sqlite3.Connection) -> None:
    """Raise ReaderError unless all that rosbag2 writes is there, as plain tables."""
    kinds = {row[1]: row[2] for row in file.execute("PRAGMA table_list") if row[0] == "main"}
    for name, kind in kinds.items():
        if kind != "table":
            raise ReaderError(f"{name!r:.80} is a {kind}, rosbag2 has plain tables only")
    for name in ("topics", "messages"):
        columns = file.execute(f"PRAGMA table_xinfo({name})").fetchall()
        if not columns:
            raise ReaderError(f"there is no table {name!r}")
        for column in columns:
            if column[6] != _PLAIN:
                raise ReaderError(f"column {column[1]!r:.80} of {name!r} is computed")
