"""Zip files from a stranger: what is in them is known and bounded before it is unpacked."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.interchange.incoming.graph import MOST_BYTES

MOST_ENTRIES = 10_000


class Zip:
    """A zip file whose directory was checked.

    Args:
        path: of the file.

    Attributes:
        names: of its entries.

    Raises:
        InputError: it is damaged, or holds more than ``MOST_BYTES``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        entries = _entries(path, path)
        self.names = [entry.filename for entry in entries]
        self._sizes = {entry.filename: entry.file_size for entry in entries}

    def read(self, name: str) -> bytes:
        """Return an entry's content.

        Raises:
            InputError: there is none of that name, or it is damaged.
        """
        if name not in self._sizes:
            raise InputError.at(self.path, name, "is missing in the file", "save it again")
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(name) as stream:
                content = stream.read(self._sizes[name] + 1)
        except Exception as error:  # zlib.error and lzma's have no common base
            raise _damaged(self.path, error) from error
        if len(content) != self._sizes[name]:
            raise _damaged(self.path, f"{name} is longer than its entry says")
        return content

    def ending(self, *ends: str) -> list[str]:
        """Return the names that end so."""
        return [name for name in self.names if name.endswith(ends)]


def check_zip(path: Path, content: bytes) -> None:
    """Refuse content that is a zip file and unpacks to more than ``MOST_BYTES``.

    Raises:
        InputError: it does, or it is a damaged zip file.
    """
    if content[:2] == b"PK":
        _entries(path, io.BytesIO(content))


def _entries(path: Path, source: Path | io.BytesIO) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(source) as archive:
            entries = archive.infolist()
    except Exception as error:  # damaged files raise errors of many kinds
        raise _damaged(path, error) from error
    if len(entries) > MOST_ENTRIES:
        wrong = f"{len(entries)} entries, at most {MOST_ENTRIES}"
        raise InputError.at(path, "file", wrong, "give a policy's file")
    size = sum(entry.file_size for entry in entries)
    if size > MOST_BYTES:
        wrong = f"unpacks to {size} bytes, at most {MOST_BYTES} are read"
        raise InputError.at(path, "file", wrong, "give a policy's file")
    return entries


def _damaged(path: Path, error: object) -> InputError:
    return InputError.at(path, "file", f"is a damaged zip file: {error}", "save it again")
