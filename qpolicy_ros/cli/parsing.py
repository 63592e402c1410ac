"""Parses a subcommand's arguments; what is wrong with them is one line."""

from __future__ import annotations

import contextlib
import difflib
import io
import itertools
import re
from typing import Any

from qpolicy_ros.common.errors import UsageError


def parse(args_class: type, name: str, description: str, arguments: list[str]) -> Any:
    """Parse `arguments` into `args_class`; a wrong call raises UsageError with one line."""
    import tyro  # noqa: PLC0415  not needed by --help and --version

    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            return tyro.cli(
                args_class,
                prog=f"qpolicy {name}",
                description=description,
                args=arguments,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        wrong = _unbox(errors.getvalue()) + _nearest_option(args_class, arguments)
        raise UsageError(f"{wrong}; see `qpolicy {name} --help`") from None


def _nearest_option(args_class: type, arguments: list[str]) -> str:
    """Return a hint for the first option that does not exist; empty if all do, or none is near."""
    import tyro  # noqa: PLC0415  as above

    text = io.StringIO()
    chosen = [word for word in arguments[:1] if not word.startswith("-")]  # a subcommand has more
    with (
        contextlib.redirect_stdout(text),
        contextlib.redirect_stderr(text),
        contextlib.suppress(SystemExit),
    ):
        tyro.cli(args_class, args=[*chosen, "--help"])
    known = set(re.findall(r"--[a-z][\w.-]*", text.getvalue()))
    for word in arguments:
        option = word.partition("=")[0]
        if option.startswith("--") and option.replace("_", "-") not in known:
            near = difflib.get_close_matches(option, sorted(known), n=1)
            return f"; did you mean {near[0]}?" if near else ""
    return ""


def _unbox(text: str) -> str:
    """Return the first paragraph in the frame that the argument parser draws, as one line.

    Where the terminal is not UTF-8, its frame is a line of hyphens below the title.
    """
    rows = text.splitlines()
    tops = [at for at, row in enumerate(rows) if row.startswith("╭")]
    rules = [at - 1 for at, row in enumerate(rows) if at and row.strip() and not row.strip("- ")]
    if not tops and not rules:
        return " ".join(text.split())
    title, *lines = [row.strip("╭╮╰╯│─ ") for row in rows[(tops or rules)[0] :]]
    if not tops:
        del lines[0]
    end = next((i for i, line in enumerate(lines) if not line.strip("-")), len(lines))
    message = " ".join(lines[:end])
    if message.startswith("Missing from"):
        return _missing(rows)
    if value := re.match(r"Error parsing (\S+: )(.+)", message):
        field, reason = value.groups()
        return reason if reason.startswith("--") else field + reason  # ours names its option
    return message if message.startswith(f"{title}:") else f"{title}: {message}"


def _missing(rows: list[str]) -> str:
    """Say which options are missing, of the list that the argument parser explains in full."""
    bare = [row.strip("│").rstrip() for row in rows]
    first = next(at for at, row in enumerate(bare) if "Missing from" in row) + 1
    indent = len(bare[first]) - len(bare[first].lstrip())
    listed = itertools.takewhile(lambda row: row[:indent].isspace(), bare[first:])
    names = [row.strip() for row in listed if not row[indent].isspace()]
    return f"{' and '.join(names)} {'are' if names[1:] else 'is'} missing"
