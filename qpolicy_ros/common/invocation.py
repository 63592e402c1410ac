"""The command that runs, as a user would type it: what files say of how they were made."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

_GIVEN: ContextVar[tuple[str, ...]] = ContextVar("given")


@contextlib.contextmanager
def invoked(arguments: Sequence[str]) -> Iterator[None]:
    """Within this `qpolicy` runs with ``arguments``, whoever called it."""
    token = _GIVEN.set(tuple(arguments))
    try:
        yield
    finally:
        _GIVEN.reset(token)


def invocation() -> list[str]:
    """Return the words of the `qpolicy` command that runs; without one, Python's own."""
    given = _GIVEN.get(None)
    return ["python", *sys.orig_argv[1:]] if given is None else ["qpolicy", *given]
