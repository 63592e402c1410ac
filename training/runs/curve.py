"""The learning curve of a run: `curve.csv` in its folder, `<name>.csv` beside its policy."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path

from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.common.json_files import read_text
from qpolicy_ros.policy import PolicyError

MOST_BYTES = 4 << 20
_MOST_STEPS = 2**53
_COLUMNS = ("step", "held_out_return", "seconds")
_REMEDY = "give the curve.csv of a training run, or delete it"


def write_curve(path: Path, rows: Iterable[tuple[int, float, float]]) -> None:
    """Write (step, held-out return, seconds) rows atomically."""
    lines = [",".join(_COLUMNS)]
    lines += [f"{step},{value!r},{seconds:.0f}" for step, value, seconds in rows]
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def read_curve(path: Path) -> list[tuple[int, float]]:
    """Return (step, held-out return) rows, at least one.

    Raises:
        PolicyError: the file cannot be read, lacks a column or a row, or a value is none; the
            text names the line.
    """
    file = io.StringIO(read_text(path, "curve", MOST_BYTES, _REMEDY), newline="")
    reader = csv.DictReader(file)
    try:
        names = reader.fieldnames or ()
        for column in _COLUMNS[:2]:
            if column not in names:
                raise PolicyError.at(path, f"column {column}", "is missing", _REMEDY)
        points = [_point(path, reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise PolicyError.at(path, f"line {reader.line_num}", str(error), _REMEDY) from error
    if not points:
        raise PolicyError.at(path, "curve", "has no rows", _REMEDY)
    return points


def _point(path: Path, line: int, row: dict[str, str | None]) -> tuple[int, float]:
    texts = [row[column] or "" for column in _COLUMNS[:2]]
    try:
        step, value = int(texts[0]), float(texts[1])
    except ValueError:
        step, value = -1, math.nan
    if not (0 <= step <= _MOST_STEPS and math.isfinite(value)):
        wrong = f"{','.join(texts)!r:.80} is no step and finite return"
        raise PolicyError.at(path, f"line {line}", wrong, _REMEDY)
    return step, value
