"""Text and JSON from files that may be damaged or a stranger's, and what their fields may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qpolicy_ros.common.errors import InputError

_LONGEST = 2000
_LARGEST = 1e18


def read_text(path: Path, field: str, most: int, remedy: str) -> str:
    """Return the UTF-8 text of a file of at most ``most`` bytes.

    Args:
        path: of the file.
        field: what to call its content in an error.
        most: bytes.
        remedy: what an error advises.

    Raises:
        InputError: there is none, it is no regular file, larger, or not UTF-8.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would block
            raise InputError.at(path, field, "is no regular file", remedy)
        with path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise InputError.at(path, field, f"is larger than {most} bytes", remedy)
        return content.decode()
    except FileNotFoundError:
        raise InputError.at(path, field, "not found", remedy) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError.at(path, field, f"cannot be read: {reason}", remedy) from error


def read_json(path: Path, field: str, most: int, remedy: str) -> Any:
    """Return the JSON value in a file; arguments and errors as ``read_text``, or it is no JSON."""
    text = read_text(path, field, most, remedy)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError.at(path, field, f"cannot be read: {error}", remedy) from error


def is_text(value: object) -> bool:
    """Whether ``value`` is text that can be shown in a line, of 2,000 characters at most."""
    return isinstance(value, str) and len(value) <= _LONGEST and value.isprintable()


def is_number(value: object, least: float = -_LARGEST, most: float = _LARGEST) -> bool:
    """Whether ``value`` is a finite number, no truth value, from ``least`` to ``most``."""
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and least <= value <= most  # type: ignore[operator]


def is_count(value: object, least: int = 0, most: int = 2**53) -> bool:
    """Whether ``value`` is a whole number, no truth value, from ``least`` to ``most``."""
    return isinstance(value, int) and is_number(value, least, most)


def shown(value: object) -> str:
    """Return what an error says of a JSON value: a scalar itself, of others their kind."""
    scalar = value is None or isinstance(value, (str, int, float))
    return f"{value!r:.80}" if scalar else f"a {type(value).__name__}"
