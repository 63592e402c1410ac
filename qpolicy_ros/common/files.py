"""Files written so that a reader, or a crash, never meets half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from qpolicy_ros.common.errors import InputError


def write_atomically(target: Path, content: bytes) -> None:
    """Write beside ``target``, flush to the disk, then rename over it; a link stays one.

    Raises:
        InputError: the disk is full, the folder cannot be written, or ``target`` is something
            else than a file (a device, say, which would be gone); an old file stays whole.
    """
    temporary = ""
    target = resolved(target)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(target)
        temporary = ""
        _sync_folder(target.parent)
    except OSError as error:
        remedy = "choose a folder that exists and can be written"
        remedy = "free some space" if is_full(error) else remedy
        wrong = f"cannot be written, {len(content)} bytes: {error.strerror or error}"
        raise InputError.at(target, "file", wrong, remedy) from error
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()


def resolved(target: Path) -> Path:
    """Return ``target`` behind its links, if it is a file or can become one.

    Raises:
        InputError: it is a folder, a device, a pipe or a loop of links.
    """
    path = Path(os.path.realpath(target))
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise InputError.at(target, "file", "is no regular file", "give a file's name")
    return path


def make_folder(folder: Path) -> Path:
    """Make ``folder`` and those above it, and return it.

    Raises:
        InputError: it cannot be made or written, or a file has its name.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        taken = isinstance(error, (FileExistsError, NotADirectoryError))
        wrong = "a file has this name" if taken else f"cannot be made: {error.strerror or error}"
        raise InputError.at(folder, "folder", wrong, "give another folder") from error
    if not os.access(folder, os.W_OK):
        raise InputError.at(folder, "folder", "cannot be written", "give another folder")
    return folder


def is_full(error: OSError) -> bool:
    """Whether the disk, or the user's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def writing_into(folder: Path, remedy: str = "free some space") -> Iterator[None]:
    """Name ``folder`` where what is written into it finds the disk full.

    A write through an open file fails without any name.

    Raises:
        InputError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise InputError.at(folder, "folder", f"{error.strerror}", remedy) from error


_SCRATCH_REMEDY = "free some space, or let TMPDIR name another folder"


def scratch_place() -> Path:
    """Return where temporary files lie; InputError where no folder can be written."""
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:  # it has tried to write into each: TMPDIR, /tmp, the working folder
        place = Path(os.environ.get("TMPDIR", "/tmp"))  # noqa: S108  to be named only
        wrong = f"no folder for temporary files can be written: {error.strerror}"
        raise InputError.at(place, "TMPDIR", wrong, _SCRATCH_REMEDY) from error


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder for temporary files, and remove it at the end.

    Raises:
        InputError: the disk that it lies on is full, or there is no folder that can be written.
    """
    place = scratch_place()
    with (
        writing_into(place, _SCRATCH_REMEDY),
        tempfile.TemporaryDirectory(prefix="qpolicy-") as folder,
    ):
        yield Path(folder)


def cache_folder(inner: str) -> Path:
    """Return ``inner`` below the user's cache, not made yet.

    ``$XDG_CACHE_HOME``, else ``~/.cache``. A user without a home (a bare container) has a folder of
    their own in the system's one for temporary files.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if base:
        return Path(base) / inner
    try:
        return Path.home() / ".cache" / inner
    except RuntimeError:  # neither $HOME nor an entry in the password file
        return Path(tempfile.gettempdir()) / f"qpolicy-{os.getuid()}" / inner


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; some systems cannot sync a folder, and the file is whole."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
