"""The ledger of a sweep: one JSON line a finished run, from which a sweep goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.policy.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

Row = dict[str, Any]
NAME = "ledger.jsonl"
INVOCATION = "invocation"
"""Stage of the rows that say with what options a sweep was called; one a call."""


def read_json(path: Path) -> Any:
    """Read what a sweep wrote beside its ledger; ``PolicyError`` for a file that is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        remedy = "delete it: what it held is made again"
        raise PolicyError.at(path, "content", f"damaged ({error})", remedy) from None


class Ledger:
    """Rows by the configuration hash of their run and its stage, on disk as soon as added.

    Raises ``PolicyError`` for a file that is damaged, and when the disk is full: the rows so far
    stay.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        if path.exists():
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                self.rows.append(_parsed(path, number, line))
        self._known = {(row["hash"], row["stage"]): row for row in self.rows}

    def find(self, run_hash: str, stage: str) -> Row | None:
        """The row of a stage of a run, if it is finished."""
        return self._known.get((run_hash, stage))

    def add(self, row: Row) -> None:
        """Append a row; one that is known already is a bug of the caller."""
        key = (row["hash"], row["stage"])
        if key in self._known and row["stage"] != INVOCATION:
            message = f"run twice: {key}"
            raise RuntimeError(message)
        lines = [json.dumps(each, sort_keys=True) for each in (*self.rows, row)]
        write_atomically(self.path, ("\n".join(lines) + "\n").encode())
        self.rows.append(row)
        self._known[key] = row

    @property
    def stages(self) -> int:
        """How many stages of candidates there are."""
        return sum(row["stage"] not in ("sweep", INVOCATION) for row in self.rows)

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all rows."""
        return sum(row["cpu_seconds"] for row in self.rows)


def _parsed(path: Path, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if isinstance(row, dict) and {"hash", "stage", "cpu_seconds"} <= row.keys():
        return row
    remedy = "delete this line; what it held is taken from the run's own folder"
    raise PolicyError.at(path, f"line {number}", "is not a row of a ledger", remedy)
