"""Finished pieces of a verification, kept on disk: an interrupted one goes on where it stopped."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qpolicy_ros.common.files import cache_folder, make_folder, write_atomically

_PAIR = 2  # state and result


class Journal:
    """Results by name for one policy.

    Kept in ``$XDG_CACHE_HOME/qpolicy/verify`` (``~/.cache/...``); a result of another state is made
    again.

    Args:
        key: hash of the policy's file; empty keeps nothing.
        label: what is verified, for the lines of progress.
        state: digest of all that a certificate says it was made with: sources, tools, hardware. A
            result kept from others would stand under their names.
    """

    def __init__(self, key: str, label: str, state: str) -> None:
        self._label, self._state = label, state
        self._file: Path | None = None
        self._kept: dict[str, Any] = {}
        if key:
            folder = make_folder(cache_folder("qpolicy/verify"))
            self._file = folder / f"{key[:32]}.json"
            if self._file.is_file():
                self._kept = self._read(self._file)

    def _read(self, file: Path) -> dict[str, Any]:
        """Return what is kept; nothing, and a line that says so, where the file is damaged."""
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(kept, dict) and all(
                isinstance(value, list) and len(value) == _PAIR for value in kept.values()
            ):
                return kept
        except (ValueError, RecursionError):
            pass
        self.say(f"{file} is damaged; everything is made again")
        return {}

    def once(self, name: str, work: Callable[[], Any]) -> Any:
        """Return the JSON-able result of ``work``, from the disk if it is there."""
        kept = self._kept.get(name)
        if kept is not None and kept[0] == self._state:
            return kept[1]
        started = time.monotonic()
        self.say(name)
        result = work()
        if time.monotonic() - started > 1.0:
            self.say(f"{name}: {time.monotonic() - started:.0f} s")
        self._kept[name] = [self._state, result]
        if self._file is not None:
            write_atomically(self._file, json.dumps(self._kept).encode())
        return result

    def say(self, text: str) -> None:
        """Print a line of progress."""
        print(f"{self._label}: {text}", file=sys.stderr, flush=True)  # noqa: T201  progress
