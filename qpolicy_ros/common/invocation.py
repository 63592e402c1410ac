"""The command that runs, as a user would type it: what files say of how they were made."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

_GIVEN: ContextVar[tuple[str, ...]] = ContextVar("given")


@contextlib.contextmanager
def invoked(words: Sequence[str]) -> Iterator[None]:
    """Within this the command ``words`` runs, whoever called it and in whatever process."""
    token = _GIVEN.set(tuple(words))
    try:
        yield
    finally:
        _GIVEN.reset(token)


def invocation() -> list[str]:
    """Return the words of the command that runs; where nobody named one, Python's own."""
    given = _GIVEN.get(None)
    return ["python", *sys.orig_argv[1:]] if given is None else list(given)
