"""The errors that a user can meet."""

from __future__ import annotations

from typing import Literal, TypeVar

_MOST_CHARACTERS = 300  # of a value that a hostile file puts into the text

Reason = Literal[
    "non_finite",
    "wrong_length",
    "missing",
    "extra",
    "misnamed",
    "implausible",
    "waiting",
    "stale",
    "unseen",
]


_Error = TypeVar("_Error", bound="InputError")  # typing.Self is newer than Python 3.10


class InputError(ValueError):
    """Something that a user gave is wrong: an option, a file, a folder, a recording.

    The text is one line: ``<file>: <field>: <what is wrong, with the value>; <remedy>``.
    """

    @classmethod
    def at(cls: type[_Error], file: object, field: str, wrong: str, remedy: str) -> _Error:  # noqa: PYI019
        """Build the error from its four parts; an empty ``file`` is left out.

        ``field`` and ``wrong`` may quote a file: they are cut, and what would break the line or
        steer a terminal is escaped.
        """
        where = f"{file}: " if str(file) else ""
        return cls(f"{where}{_one_line(field)}: {_one_line(wrong)}; {remedy}")


def printable(text: str) -> str:
    """Return ``text`` with the escapes of what would break a line or steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _one_line(text: str) -> str:
    return printable(text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}...")


class PolicyError(InputError):
    """A policy file, a policy's name or a request about a policy is wrong."""


class UsageError(InputError):
    """A wrong call: one line that names the argument, its value and the remedy."""


class ObservationError(ValueError):
    """An observation cannot be used; ``reason`` names why in one word.

    Attributes:
        reason: ``non_finite``, ``wrong_length``, ``missing``, ``extra``, ``misnamed``; of a robot's
            messages also ``implausible``, ``waiting`` or ``stale``; of a supervisor ``unseen``.
        index: position of the offending value in the observation, -1 where there is none.
    """

    def __init__(self, reason: Reason, message: str, index: int = -1) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.index = index


class NodeError(RuntimeError):
    """A node ended too early, or did not answer; the text is one line with the node's reason."""
