"""Stages of a build: each is made whole or not at all, and not again while its inputs are the same.

A stage works in a folder of its own; when it is done, its files move to their places and their
hashes are written down. An interrupted one leaves the files of the last build as they were.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import is_full, make_folder, write_atomically
from qpolicy_ros.common.json_files import read_json

RECORD = "board/stages.json"
_MOST_BYTES = 16 << 20
_WORK = ".working-"


class Stages:
    """The stages of one build.

    Args:
        folder: where their files go.
        say: takes a line of progress.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = make_folder(folder)
        self.record = folder / RECORD
        self._say = say
        self._record: dict[str, Any] = {}
        for left in folder.glob(f"{_WORK}*"):
            shutil.rmtree(left, ignore_errors=True)
        if self.record.is_file():
            try:
                kept = read_json(self.record, "stages", _MOST_BYTES, "")
                self._record = kept if isinstance(kept, dict) else {}
            except InputError:
                say(f"{self.record} is damaged; everything is made again")

    def run(
        self, name: str, inputs: Iterable[Path | str], work: Callable[[Path], None]
    ) -> list[Path]:
        """Make the files of a stage unless they are there, made from the same inputs.

        Args:
            name: of the stage.
            inputs: files, by their content, and texts that it depends on.
            work: makes them in the folder that it is given; they move to the same places here.

        Returns:
            The files.

        Raises:
            InputError: the disk is full, or a tool fails.
        """
        key = _key(name, inputs)
        kept = self._files(name)
        same = bool(kept) and self._record[name].get("key") == key
        if same and all(_digest(self.folder / file) == value for file, value in kept.items()):
            self._say(f"{name}: as before")
            return [self.folder / file for file in kept]
        self._say(name)
        started = time.monotonic()
        try:
            made = self._make(work)
        except OSError as error:
            raise _disk_error(self.folder, error) from error
        for file in set(kept) - set(made):
            (self.folder / file).unlink(missing_ok=True)
        hashes = {file: _digest(self.folder / file) for file in made}
        self._record[name] = {"key": key, "files": hashes}
        self._save()
        self._say(f"{name}: {time.monotonic() - started:.0f} s")
        return [self.folder / file for file in made]

    def trim(self, name: str, file: str) -> None:
        """Delete all files of a stage but one, with which it still counts as made."""
        kept = self._files(name)
        if set(kept) != {file}:
            for other in set(kept) - {file}:
                (self.folder / other).unlink(missing_ok=True)
            self._record[name]["files"] = {file: kept[file]}
            self._save()

    def forget(self, name: str) -> None:
        """Delete the files of a stage that nothing needs any more; asked for, it is made again."""
        for file in self._files(name):
            (self.folder / file).unlink(missing_ok=True)
        if self._record.pop(name, None) is not None:
            self._save()

    def _files(self, name: str) -> dict[str, str]:
        """Files of a stage and their hashes, as the last build wrote them down."""
        kept = self._record.get(name)
        files = kept.get("files") if isinstance(kept, dict) else None
        if not isinstance(files, dict) or not all(map(_is_inside, files)):
            return {}
        return files

    def _make(self, work: Callable[[Path], None]) -> list[str]:
        with tempfile.TemporaryDirectory(prefix=_WORK, dir=self.folder) as scratch:
            place = Path(scratch)
            work(place)
            made = sorted(path.relative_to(place).as_posix() for path in place.rglob("*.*"))
            made = [file for file in made if (place / file).is_file()]
            for file in made:
                (self.folder / file).parent.mkdir(parents=True, exist_ok=True)
                (place / file).replace(self.folder / file)
        return made

    def _save(self) -> None:
        text = json.dumps(self._record, indent=1) + "\n"
        make_folder(self.record.parent)
        write_atomically(self.record, text.encode())


def _is_inside(name: object) -> bool:
    """Whether a name of the record, which may be a stranger's, stays within the folder."""
    return isinstance(name, str) and not Path(name).is_absolute() and ".." not in Path(name).parts


def _key(name: str, inputs: Iterable[Path | str]) -> str:
    digest = hashlib.sha256(name.encode())
    for item in inputs:
        if isinstance(item, str):
            digest.update(b"\0text\0" + item.encode())
        else:
            digest.update(b"\0file\0" + item.name.encode() + b"\0" + item.read_bytes())
    return digest.hexdigest()


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _disk_error(folder: Path, error: OSError) -> InputError:
    remedy = "free some space" if is_full(error) else "choose a folder that can be written"
    return InputError.at(folder, "folder", str(error.strerror or error), remedy)
