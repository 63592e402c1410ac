"""The errors that a user of a policy can meet."""

from __future__ import annotations

from typing import Literal

Reason = Literal[
    "non_finite", "wrong_length", "missing", "extra", "misnamed", "implausible", "waiting", "stale"
]


class PolicyError(ValueError):
    """A policy file, a policy's name or a request about a policy is wrong.

    The text is one line: ``<file>: <field>: <what is wrong, with the value>; <remedy>``.
    """

    @classmethod
    def at(cls, file: object, field: str, wrong: str, remedy: str) -> PolicyError:
        """Build the error from its four parts; an empty ``file`` is left out."""
        where = f"{file}: " if str(file) else ""
        return cls(f"{where}{field}: {wrong}; {remedy}")


class ObservationError(ValueError):
    """An observation cannot be used; ``reason`` names why in one word.

    Attributes:
        reason: ``non_finite``, ``wrong_length``, ``missing``, ``extra``, ``misnamed``; of a robot's
            messages also ``implausible``, ``waiting`` or ``stale``.
        index: position of the offending value in the observation, -1 where there is none.
    """

    def __init__(self, reason: Reason, message: str, index: int = -1) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.index = index
