"""Opens a bag: rosbag2 of Humble to Kilted, MCAP or sqlite3, a folder or one of its files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import Reader
from rosbags.rosbag2.errors import ReaderError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from qpolicy_ros.latency.mcap import Batch, Scan, Wanted
from qpolicy_ros.policy import PolicyError

NEWEST = 9  # version of metadata.yaml that Kilted writes

_BATCH = 20_000  # messages
_SUFFIXES = (".mcap", ".db3")
_MOST_BYTES = 16 << 20  # of metadata.yaml


class BagError(PolicyError):
    """A bag, or what it holds, cannot be used; one line, as for PolicyError."""


@dataclass
class Bag:
    """One recording.

    Attributes:
        path: the folder or file that was asked for.
        files: its storage files, in order.
        storage: ``mcap`` or ``sqlite3``.
        version: of ``metadata.yaml``, 0 without one.
        compressed: whether rosbag2 has compressed files or messages.
        notes: what a reader of the figures should know, complete after :meth:`batches`.
        topics: types of all topics by name, complete after :meth:`batches`.
        count: messages of all topics, complete after :meth:`batches`.
    """

    path: Path
    files: list[Path]
    storage: str
    version: int = 0
    compressed: bool = False
    notes: list[str] = field(default_factory=list)
    topics: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def batches(self, wanted: Wanted) -> Iterator[Batch]:
        """Yield the messages of the topics and types that are ``wanted``.

        Raises:
            BagError: it cannot be read, or holds no messages.
        """
        try:
            if self.storage == "mcap" and not self.compressed:
                yield from self._scan(wanted)
            else:
                yield from self._read(wanted)
        except OSError as error:
            wrong = f"cannot be read: {error.strerror or error}"
            raise BagError.at(self.path, "bag", wrong, "give a bag that can be read") from error
        if not self.count:
            why = f" ({'; '.join(self.notes)})" if self.notes else ""
            remedy = "record while the nodes run"
            raise BagError.at(self.path, "bag", f"has no messages{why}", remedy)

    def _scan(self, wanted: Wanted) -> Iterator[Batch]:
        for path in self.files:
            scan = Scan(path, wanted)
            yield from scan.batches()
            self.topics |= scan.topics
            self.count += scan.count
            if scan.problem:
                kept = f"the {scan.count} messages before that are used"
                self.notes.append(f"{path.name} {scan.problem}; {kept}")

    def _read(self, wanted: Wanted) -> Iterator[Batch]:
        """Read by rosbags: sqlite3, and whatever rosbag2 has compressed."""
        whole = self.version > 0
        for path in [self.path] if whole else self.files:
            before = self.count
            try:
                yield from self._through_rosbags(path, wanted)
            except OSError:
                raise
            except ReaderError as error:
                raise self._unreadable(path, error) from error
            except Exception as error:
                # A damaged file surfaces as whatever error of sqlite3 or a decompressor.
                if self.count == before:
                    raise self._unreadable(path, error) from error
                kept = f"the {self.count - before} messages before that are used"
                reason = " ".join(str(error).split())
                self.notes.append(f"{path.name} is damaged ({reason}); {kept}")

    def _unreadable(self, path: Path, error: Exception) -> PolicyError:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        remedy = "give a bag of rosbag2 that `ros2 bag info` can read"
        return BagError.at(path, "bag", f"cannot be read: {reason}", remedy)

    def _through_rosbags(self, path: Path, wanted: Wanted) -> Iterator[Batch]:
        with Reader(path) as reader:
            self.topics |= {each.topic: each.msgtype for each in reader.connections}
            unwanted = [each for each in reader.connections if not wanted(each.topic, each.msgtype)]
            chosen = [each for each in reader.connections if wanted(each.topic, each.msgtype)]
            self.count += sum(each.msgcount for each in unwanted)
            if not chosen:
                return
            batches: dict[int, Batch] = {}
            try:
                for connection, log, data in reader.messages(chosen):
                    batch = batches.get(connection.id)
                    if batch is None:
                        batch = Batch(connection.topic, connection.msgtype, [], [], [])
                        batches[connection.id] = batch
                    # A damaged row may hold no bytes: first what can fail.
                    batch.payloads.append(bytes(data))
                    batch.log.append(log)
                    self.count += 1
                    if len(batch.log) >= _BATCH:
                        yield batches.pop(connection.id)
            except Exception:
                # What came before the damage is used too.
                yield from batches.values()
                raise
            yield from batches.values()


def open_bag(path: Path) -> Bag:
    """Find out what ``path`` is.

    Raises:
        BagError: it is no bag, or one of a newer rosbag2.
    """
    if not path.exists():
        raise BagError.at(path, "bag", "does not exist", "give a rosbag2 folder, .mcap or .db3")
    if path.is_file():
        if path.suffix not in _SUFFIXES:
            wrong = f"is a file of kind {path.suffix or 'unknown'!r}"
            raise BagError.at(path, "bag", wrong, "give a rosbag2 folder, .mcap or .db3")
        return _of_files(path, [path])
    if (path / "metadata.yaml").is_file():
        return _described(path)
    files = sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES)
    if not files:
        wrong = "is a folder without metadata.yaml, .mcap or .db3"
        raise BagError.at(path, "bag", wrong, "give the folder that was recorded")
    bag = _of_files(path, files)
    bag.notes.append("metadata.yaml is missing: the recorder did not finish")
    return bag


def _of_files(path: Path, files: list[Path]) -> Bag:
    kinds = {each.suffix for each in files}
    if len(kinds) > 1:
        wrong = "has .mcap and .db3 files and no metadata.yaml"
        raise BagError.at(path, "bag", wrong, "give one of the files")
    return Bag(path, files, "mcap" if kinds == {".mcap"} else "sqlite3")


def _described(path: Path) -> Bag:
    """Return the bag that ``metadata.yaml`` describes."""
    file = path / "metadata.yaml"
    remedy = "give a bag of rosbag2, or one of its .mcap or .db3 files"
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ValueError(f"is larger than {_MOST_BYTES} bytes")  # noqa: TRY301
        content: Any = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
        facts = content["rosbag2_bagfile_information"]
        version = int(facts["version"])
        storage = str(facts["storage_identifier"])
        names = [Path(str(name)).name for name in facts["relative_file_paths"]]
        compressed = str(facts.get("compression_mode") or "none").lower() != "none"
    except (
        YAMLError,
        UnicodeDecodeError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BagError.at(file, "metadata", f"does not fit: {reason}", remedy) from error
    if version > NEWEST:
        wrong = f"{version} is newer than {NEWEST}, the newest that is known (Kilted)"
        raise BagError.at(file, "version", wrong, "update qpolicy_ros, or convert the bag")
    if storage not in ("mcap", "sqlite3"):
        known = "convert it to mcap or sqlite3 by `ros2 bag convert`"
        raise BagError.at(file, "storage_identifier", f"{storage!r} is unknown", known)
    files = [path / name for name in names]
    missing = [each.name for each in files if not each.exists()]
    if missing or not files:
        wrong = f"{', '.join(missing) or 'no file'} {'is missing' if missing else 'is named'}"
        raise BagError.at(file, "relative_file_paths", wrong, "copy the whole folder")
    return Bag(path, files, storage, version, compressed)
