"""The revision of the source that runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def revision(*folders: Path) -> str:
    """Return the commit of this package's source, 12 digits, with ``+`` for uncommitted changes.

    Args:
        folders: further ones of the same repository whose changes count.

    Returns:
        ``unknown`` where the package is no part of a repository, for example installed.
    """
    try:
        # An environment may lie in the folder of somebody else's repository.
        _git("ls-files", "--error-unmatch", __file__)
        commit = _git("rev-parse", "--short=12", "HEAD")
        counted = [str(folder) for folder in (_PACKAGE, *folders)]
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", *counted)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+" if changed else "")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_PACKAGE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
