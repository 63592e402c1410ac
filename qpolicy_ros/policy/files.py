"""Files written so that a reader, or a crash, never meets half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

from qpolicy_ros.policy.errors import PolicyError


def write_atomically(target: Path, content: bytes) -> None:
    """Write beside ``target``, flush to the disk, then rename over it.

    Raises:
        PolicyError: the disk is full or the folder cannot be written; an old file stays whole.
    """
    temporary = ""
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
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space" if full else "choose a folder that exists and can be written"
        wrong = f"cannot be written, {len(content)} bytes: {error.strerror or error}"
        raise PolicyError.at(target, "file", wrong, remedy) from error
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; some systems cannot sync a folder, and the file is whole."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
