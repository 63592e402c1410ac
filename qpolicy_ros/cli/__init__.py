"""The `qpolicy` command; every subcommand is one module with `Args` and `main(args) -> int`."""

from __future__ import annotations


class UsageError(ValueError):
    """A wrong call: one line that names the argument, its value and the remedy."""
