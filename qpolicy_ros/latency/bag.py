"""Opens a bag: rosbag2 of Humble to Kilted, MCAP or sqlite3, a folder or one of its files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rosbags.rosbag2.errors import ReaderError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.latency import db3, mcap
from qpolicy_ros.latency.compressed import FORMAT, MODES, unpack_file, unpack_messages
from qpolicy_ros.latency.mcap import Batch, Wanted

NEWEST = 10  # version of metadata.yaml; Kilted writes 9, and what is read here is as in 9

_SUFFIXES = (".mcap", ".db3")
_MOST_BYTES = 16 << 20  # of metadata.yaml


class BagError(InputError):
    """A bag, or what it holds, cannot be used; one line, as for InputError."""


@dataclass
class Bag:
    """One recording.

    Attributes:
        path: the folder or file that was asked for.
        files: its storage files, in order.
        storage: ``mcap`` or ``sqlite3``.
        version: of ``metadata.yaml``, 0 without one.
        compression: what rosbag2 has compressed: ``none``, ``file`` or ``message``.
        notes: what a reader of the figures should know, complete after :meth:`batches`.
        topics: types of all topics by name, complete after :meth:`batches`.
        count: messages of all topics, complete after :meth:`batches`.
    """

    path: Path
    files: list[Path]
    storage: str
    version: int = 0
    compression: str = "none"
    notes: list[str] = field(default_factory=list)
    topics: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def batches(self, wanted: Wanted) -> Iterator[Batch]:
        """Yield the messages of the topics and types that are ``wanted``.

        Raises:
            BagError: it cannot be read, or holds no messages.
        """
        try:
            for path in self.files:
                yield from self._read(path, wanted)
        except OSError as error:
            wrong = f"cannot be read: {error.strerror or error}"
            raise BagError.at(self.path, "bag", wrong, "give a bag that can be read") from error
        if not self.count:
            why = f" ({'; '.join(self.notes)})" if self.notes else ""
            remedy = "record while the nodes run"
            raise BagError.at(self.path, "bag", f"has no messages{why}", remedy)

    def _read(self, path: Path, wanted: Wanted) -> Iterator[Batch]:
        """Read one storage file, which rosbag2 may have compressed."""
        before = self.count
        try:
            if self.compression == "file":
                with scratch_folder() as folder:
                    plain = Path(folder, "bag")
                    unpack_file(path, plain)
                    yield from self._scan(path, plain, wanted)
            else:
                yield from self._scan(path, path, wanted)
        except ReaderError as error:
            if self.count == before:
                raise self._unreadable(path, error) from error
            self._note(path, f"is damaged ({_reason(error)})", before)

    def _scan(self, path: Path, plain: Path, wanted: Wanted) -> Iterator[Batch]:
        scan = mcap.Scan(plain, wanted) if self.storage == "mcap" else db3.Scan(plain, wanted)
        before = self.count
        try:
            for batch in scan.batches():
                for part in unpack_messages(batch) if self.compression == "message" else (batch,):
                    self.count += len(part.log)
                    yield part._replace(places=[before + place for place in part.places])
        finally:
            self.topics |= scan.topics
        self.count = before + scan.count
        if scan.problem:
            self._note(path, scan.problem, before)

    def _note(self, path: Path, problem: str, before: int) -> None:
        kept = f"the {self.count - before} messages before that are used"
        self.notes.append(f"{path.name} {problem}; {kept}")

    def _unreadable(self, path: Path, error: Exception) -> InputError:
        remedy = "give a bag of rosbag2 that `ros2 bag info` can read"
        return BagError.at(path, "bag", f"cannot be read: {_reason(error)}", remedy)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


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
        compression = str(facts.get("compression_mode") or "none").lower()
        packer = str(facts.get("compression_format") or FORMAT)
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
        wrong = f"{version} is newer than {NEWEST}, the newest that is known"
        raise BagError.at(file, "version", wrong, "update qpolicy_ros, or convert the bag")
    if storage not in ("mcap", "sqlite3"):
        known = "convert it to mcap or sqlite3 by `ros2 bag convert`"
        raise BagError.at(file, "storage_identifier", f"{storage!r} is unknown", known)
    if compression not in MODES or (compression != "none" and packer != FORMAT):
        wrong = f"{compression!r} by {packer!r} is unknown"
        raise BagError.at(file, "compression_mode", wrong, "convert it by `ros2 bag convert`")
    files, notes = [path / name for name in names], []
    missing = [each.name for each in files if not each.exists()]
    if missing or not files:
        wrong = f"{', '.join(missing) or 'no file'} {'is missing' if missing else 'is named'}"
        raise BagError.at(file, "relative_file_paths", wrong, "copy the whole folder")
    for extra in _unlisted(path, names):
        if compression == "none" and _continues(extra.name, names):
            files.append(extra)
            notes.append(f"{extra.name} is not listed in metadata.yaml, and read too")
        else:
            notes.append(f"{extra.name} is not listed in metadata.yaml and is left out")
    return Bag(path, files, storage, version, compression, notes)


def _unlisted(path: Path, names: list[str]) -> list[Path]:
    """Return the storage files that ``metadata.yaml`` does not know, in the order of splits."""
    others = [each for each in path.iterdir() if each.suffix in _SUFFIXES]
    others = [each for each in others if each.name not in names]
    return sorted(others, key=lambda each: (_split(each.name)[1], each.name))


def _continues(name: str, names: list[str]) -> bool:
    """Whether ``name`` is a later split of the same recording."""
    stem, number, suffix = _split(name)
    known = [_split(each) for each in names]
    return number >= 0 and any(
        (stem, suffix) == (each[0], each[2]) and number > each[1] for each in known
    )


def _split(name: str) -> tuple[str, int, str]:
    """Return the parts of ``<stem>_<number><suffix>``; the number is -1 where there is none."""
    stem, suffix = Path(name).stem, Path(name).suffix
    head, _, number = stem.rpartition("_")
    return (head, int(number), suffix) if number.isdecimal() else (stem, -1, suffix)
