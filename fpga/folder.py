"""The folder of a generated core: its own old files go, and whatever a killed run left.

The manifest names the files of a whole folder. While files are written there is none, and a note
names what is being written, so that the next run knows what an interrupted one left.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from qpolicy_ros.common.files import make_folder, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MANIFEST = "manifest.json"
NOTE = "unfinished.json"


def write_folder(out: Path, texts: Mapping[str, str], manifest: Mapping[str, Any]) -> None:
    """Write generated files into ``out``, made if it is missing, and the manifest last.

    Args:
        out: the folder. Files of an earlier run go, what somebody else put there stays.
        texts: by name; a name may have a folder before it (``vivado/core.tcl``).
        manifest: what ``manifest.json`` shall hold.

    Raises:
        InputError: ``out`` cannot be made, or the manifest not be written.
        OSError: another file cannot be written.
    """
    make_folder(out)
    old = set(_names(out))
    note = {"files": sorted(old | set(texts))}
    write_atomically(out / NOTE, (json.dumps(note, indent=1) + "\n").encode())
    # The manifest goes first and comes last: a folder that has one is whole.
    (out / MANIFEST).unlink(missing_ok=True)
    for name in old:
        (out / name).unlink(missing_ok=True)
    for name, text in texts.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(text, encoding="utf-8")
    write_atomically(out / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    (out / NOTE).unlink()


def _names(out: Path) -> Iterator[str]:
    """Files of ``out`` that an earlier run wrote, or was writing when it ended.

    What cannot be read names nothing: the folder stays as it is.
    """
    for record in (MANIFEST, NOTE):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            found = json.loads((out / record).read_text(encoding="utf-8"))
            names = [
                *found["files"],
                *found.get("bench", []),
                *found.get("io", {}).get("files", []),
            ]
            # Nothing outside the folder, and no folder: the record may be a stranger's.
            yield from (name for name in names if isinstance(name, str) and _is_ours(out, name))


def _is_ours(out: Path, name: str) -> bool:
    inner = name.removeprefix("vivado/")
    return inner == (out / inner).name and (out / name).is_file()
