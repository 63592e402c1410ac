"""The ledger of a sweep: one JSON line a finished run, from which a sweep goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from qpolicy_ros.common import json_files
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.common.json_files import is_count, is_number, is_text, read_text, shown
from qpolicy_ros.policy import PolicyError
from qpolicy_training.select.config import Shape

NAME = "ledger.jsonl"
MOST_BYTES = 16 << 20
INVOCATION = "invocation"
"""Stage of the rows that say with what options a sweep was called; one a call."""
_NO_SHAPE = Shape((), 0, 0, 0)
_REMEDY = "delete this line; what it held is taken from the run's own folder"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A stage of a candidate; or a sweep itself, or a call of one, which have no shape.

    Attributes:
        stage: its name; ``(hash, stage)`` tells rows apart.
        hash: of the run's configuration.
        cpu_seconds: processor time of the stage.
        shape: of the candidate.
        task, method, rounds: how it was trained.
        seed: of the training.
        first_seed, episodes: of the episodes by which it is judged.
        returns, mean, std: of them; none of a run that diverged.
        snapshot, snapshot_step: what is judged: file inside the sweep's folder, and its step.
        training_cpu: processor time that the run has saved, s.
        interruptions: how often the run went on from its checkpoint.
        error: why the run has no result.
        cost: figures by name; ``cost`` is what shapes are compared by.
        required, bound, passes: the verdict of the sweep's rule.
        more: fields beside these: command and options of a sweep and of a call.
    """

    stage: str
    hash: str
    cpu_seconds: float
    shape: Shape = _NO_SHAPE
    task: str = ""
    method: str = ""
    rounds: int | None = None
    seed: int = 0
    first_seed: int = 0
    episodes: int = 0
    returns: tuple[float, ...] = ()
    mean: float = math.nan
    std: float = math.nan
    snapshot: str = ""
    snapshot_step: int = 0
    training_cpu: float = 0.0
    interruptions: int = 0
    error: str = ""
    cost: Mapping[str, float] = field(default_factory=dict)
    required: float = math.nan
    bound: float = math.nan
    passes: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_candidate(self) -> bool:
        """Whether this is a stage of a candidate."""
        return bool(self.shape.hidden)

    @property
    def price(self) -> float:
        """What shapes are compared by."""
        return self.cost["cost"]

    def as_json(self) -> dict[str, Any]:
        """Return the fields that a line has; what is not known is left out."""
        values = {name: getattr(self, name) for name in _ALWAYS}
        if self.is_candidate:
            plain = {name: getattr(self, name) for name in _OF_CANDIDATES}
            values |= {name: value for name, value in plain.items() if not _is_unknown(value)}
            values |= self.shape.fields()
        return {**values, **self.more}


_COUNTS = ("first_seed", "episodes", "snapshot_step", "interruptions")
_ALWAYS = ("stage", "hash", "cpu_seconds")
_OF_CANDIDATES = tuple(
    each.name for each in fields(Row) if each.name not in (*_ALWAYS, "shape", "more")
)


def _is_unknown(value: object) -> bool:
    return value in ("", None, {}) or (isinstance(value, float) and math.isnan(value))


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
    return [_parsed(path, f"line {number}", line) for number, line in enumerate(lines, 1)]


def read_row(path: Path) -> Row:
    """Read the row that a worker left; errors as ``read_ledger``."""
    remedy = "delete it: what it held is made again"
    return _parsed(path, "row", read_text(path, "row", MOST_BYTES, remedy))


class Ledger:
    """Rows by the configuration hash of their run and its stage, on disk as soon as added.

    Raises ``PolicyError`` for a file that is damaged, and when the disk is full: the rows so far
    stay.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = read_ledger(path) if path.exists() else []
        self._known = {(row.hash, row.stage): row for row in self.rows}

    def find(self, run_hash: str, stage: str) -> Row | None:
        """The row of a stage of a run, if it is finished."""
        return self._known.get((run_hash, stage))

    def add(self, row: Row) -> None:
        """Append a row; one that is known already is a bug of the caller."""
        key = (row.hash, row.stage)
        if key in self._known and row.stage != INVOCATION:
            message = f"run twice: {key}"
            raise RuntimeError(message)
        lines = [json.dumps(each.as_json(), sort_keys=True) for each in (*self.rows, row)]
        write_atomically(self.path, ("\n".join(lines) + "\n").encode())
        self.rows.append(row)
        self._known[key] = row

    @property
    def stages(self) -> int:
        """How many stages of candidates there are."""
        return sum(row.is_candidate for row in self.rows)

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all rows."""
        return sum(row.cpu_seconds for row in self.rows)


def _parsed(path: Path, place: str, line: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not row.keys() >= {*_ALWAYS}:
        raise PolicyError.at(path, place, "is not a row of a ledger", _REMEDY)
    for name, good in _rules(row).items():
        if not good:
            wrong = f"{shown(row.get(name))} is not one of a ledger"
            raise PolicyError.at(path, f"{place}, {name}", wrong, _REMEDY)
    known = {name: row.pop(name) for name in _ALWAYS}
    if "hidden" in row:
        shape = {name: row.pop(name) for name in ("hidden", "b_core", "b_in", "b_out")}
        known["shape"] = Shape(tuple(shape.pop("hidden")), **shape)
        known |= {name: row.pop(name) for name in _OF_CANDIDATES if row.get(name) is not None}
        known["returns"] = tuple(known["returns"])
    return Row(**known, more=row)


def _rules(row: dict[str, Any]) -> dict[str, bool]:
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
    rules |= {name: is_count(row.get(name, 0)) for name in _COUNTS}
    rules |= {name: is_text(row.get(name, "")) for name in ("task", "snapshot", "error")}
    rules["training_cpu"] = is_number(row.get("training_cpu", 0.0))
    rules["passes"] = isinstance(row.get("passes", False), bool)
    rules |= {name: _is_number_or_none(row.get(name)) for name in ("required", "bound")}
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


def _is_number_or_none(value: object) -> bool:
    return value is None or is_number(value)


def _is_width(value: object) -> bool:
    return is_count(value, 1)
