"""What to say of a name that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

_LISTED = 12


def nearest(name: str, known: Sequence[str]) -> str:
    """Return the names of ``known`` that are most like ``name``, and all if they are few."""
    named = [other for other in known if other]
    near = difflib.get_close_matches(name, named, n=3, cutoff=0.5)
    guess = f"nearest: {', '.join(near)}" if near else ""
    if near and len(named) > _LISTED:
        return guess
    listed = f"{', '.join(named[:_LISTED])}{', …' if len(named) > _LISTED else ''}"
    return f"{guess}; known: {listed}" if guess else f"known: {listed}"
