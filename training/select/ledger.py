"""The ledger of a sweep: one JSON line a finished run, from which a sweep goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from qpolicy_ros.common import json_files
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.common.json_files import is_count, is_number, is_text, read_text, shown
from qpolicy_ros.policy import PolicyError

if TYPE_CHECKING:
    from pathlib import Path

Row = dict[str, Any]
NAME = "ledger.jsonl"
MOST_BYTES = 16 << 20
INVOCATION = "invocation"
"""Stage of the rows that say with what options a sweep was called; one a call."""
_REMEDY = "delete this line; what it held is taken from the run's own folder"


def read_json(path: Path) -> Any:
    """Read what a sweep wrote beside its ledger; ``PolicyError`` for a file that is damaged."""
    remedy = "delete it: what it held is made again"
    return json_files.read_json(path, "content", MOST_BYTES, remedy)


def read_ledger(path: Path) -> list[Row]:
    """Return the rows of a ledger; fields that the report shows are checked.

    Raises:
        PolicyError: the file cannot be read, or a line is no row; the text names line and field.
    """
    remedy = "give an intact copy, or delete it: runs that are finished are found again"
    lines = read_text(path, "ledger", MOST_BYTES, remedy).splitlines()
    return [_parsed(path, number, line) for number, line in enumerate(lines, 1)]


class Ledger:
    """Rows by the configuration hash of their run and its stage, on disk as soon as added.

    Raises ``PolicyError`` for a file that is damaged, and when the disk is full: the rows so far
    stay.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        if path.exists():
            self.rows = read_ledger(path)
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
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not {"hash", "stage", "cpu_seconds"} <= row.keys():
        raise PolicyError.at(path, f"line {number}", "is not a row of a ledger", _REMEDY)
    for field, good in _rules(row).items():
        if not good:
            wrong = f"{shown(row.get(field))} is not one of a ledger"
            raise PolicyError.at(path, f"line {number}, {field}", wrong, _REMEDY)
    return row


def _rules(row: Row) -> dict[str, bool]:
    """Whether each field is as a sweep writes it; only rows of candidates have a shape."""
    rules = {name: is_text(row[name]) for name in ("hash", "stage")}
    rules["cpu_seconds"] = is_number(row["cpu_seconds"], 0.0)
    rules["method"] = is_text(row.get("method", ""))
    rules["rounds"] = is_count(row.get("rounds", 0))
    if not {"hidden", "returns"} & row.keys():
        return rules
    hidden, returns = row.get("hidden"), row.get("returns")
    rules["hidden"] = isinstance(hidden, list) and bool(hidden) and all(map(_is_width, hidden))
    rules |= {name: is_count(row.get(name), 1, 32) for name in ("b_in", "b_core", "b_out")}
    rules["seed"] = is_count(row.get("seed"))
    rules["returns"] = isinstance(returns, list) and all(map(is_number, returns))
    if returns:  # one that diverged has none
        rules |= {name: is_number(row.get(name)) for name in ("mean", "std")}
    cost = row.get("cost", {})
    rules["cost"] = isinstance(cost, dict) and all(
        # A design that does not fit its part has no figures of hardware.
        is_number(cost.get(name, 1), 1)
        for name in ("cycles", "lut")
    )
    return rules


def _is_width(value: object) -> bool:
    return is_count(value, 1)
