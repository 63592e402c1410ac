"""What to say of a name that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

_LISTED = 12


def nearest(name: str, known: Sequence[str]) -> str:
    """Return the names of ``known`` that are most like ``name``, or all if they are few."""
    named = [other for other in known if other]
    near = difflib.get_close_matches(name, named, n=3, cutoff=0.5)
    if near and len(named) > _LISTED:
        return f"nearest: {', '.join(near)}"
    return f"known: {', '.join(named[:_LISTED])}{', …' if len(named) > _LISTED else ''}"
