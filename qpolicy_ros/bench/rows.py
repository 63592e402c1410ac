"""The rows of the benchmarks' JSON files as records: each file is read and checked once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.json_files import is_number

_REMEDY = "run its benchmark again"
_NONE = math.nan  # of a figure that a row may lack


@dataclass(frozen=True)
class LoopConditions:
    """What a ROS 2 loop was measured under: its length, s, and deadlines missed by node."""

    sustained_s: float = 0
    missed_deadlines: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Ratio:
    """How many times faster a subject is than a peer."""

    bench: str
    subject: str
    peer: str
    ratio: float

    @property
    def case(self) -> str:
        """Of what the bench measured: the text behind its slash."""
        return self.bench.partition("/")[2]


@dataclass(frozen=True)
class Comparison(Ratio):
    """A ratio with its times, µs; ``_low`` and ``_high`` are quartiles."""

    p50_us: float
    p99_us: float
    peer_p50_us: float
    peer_p99_us: float
    p50_low_us: float = _NONE
    p50_high_us: float = _NONE
    conditions: LoopConditions = field(default_factory=LoopConditions)

    @property
    def p99_ratio(self) -> float:
        """The peer's p99 over the subject's; above 1 the subject is faster."""
        return self.peer_p99_us / self.p99_us


@dataclass(frozen=True)
class Soak:
    """Memory of a node over many ticks, KiB, at equal distances."""

    subject: str
    ticks: int
    rss_kib: Sequence[int]


@dataclass(frozen=True)
class Learner:
    """Mean return of a trainer's last episodes; ``bench`` ends in the task."""

    bench: str
    subject: str
    mean_return: float

    @property
    def task(self) -> str:
        """The task's name."""
        return self.bench.partition("/")[2]


@dataclass(frozen=True)
class Student:
    """A distilled student: processor time, s, and its and its teacher's mean return."""

    cpu_s: float
    episodes: int
    mean_return: float
    teacher_return: float


@dataclass(frozen=True)
class Generation:
    """Verilog made from a policy: wall clock, s, and memory, MiB."""

    subject: str
    wall_s: float
    memory_mib: float


@dataclass(frozen=True)
class PaperCore:
    """What the paper says of its core: latency, µs, and what it takes."""

    latency_us: float
    lut: int
    dsp: int


@dataclass(frozen=True)
class Whole:
    """A core with its front and its back: latency, µs, and longest path, ns."""

    latency_us: float
    fits: bool
    depth_ns: float


@dataclass(frozen=True)
class Core:
    """A synthesised core: cycles, latency in µs, what it takes, longest path in ns."""

    subject: str
    policy: str
    cycles: int
    target_cycles: int
    p50_us: float
    lut: int
    dsp: int
    fits: bool
    depth_ns: float
    depth_allowed_ns: float
    paper: PaperCore
    end_to_end: Whole | None = None


@dataclass(frozen=True)
class Results:
    """The rows that targets and tables are made from; what was not measured is empty."""

    inference: tuple[Comparison, ...] = ()
    batches: tuple[Comparison, ...] = ()
    cortex_m: tuple[Ratio, ...] = ()
    loops: tuple[Comparison, ...] = ()
    soaks: tuple[Soak, ...] = ()
    training: tuple[Comparison, ...] = ()
    returns: tuple[Learner, ...] = ()
    students: tuple[Student, ...] = ()
    generation: tuple[Generation, ...] = ()
    closed_loops: tuple[Comparison, ...] = ()
    startup: tuple[Comparison, ...] = ()
    cores: tuple[Core, ...] = ()


class _Source(NamedTuple):
    """Where a field of ``Results`` comes from."""

    file: str  # without its ending
    kind: type[Any]
    wanted: Callable[[Mapping[str, Any]], bool] = lambda _: True


_SOURCES = {
    "inference": _Source("inference", Comparison),
    "batches": _Source("batches", Comparison),
    "cortex_m": _Source("cortex_m", Ratio),
    "loops": _Source("ros_loop", Comparison),
    "soaks": _Source("ros_soak", Soak),
    "training": _Source("training", Comparison),
    "returns": _Source("training_returns", Learner),
    "students": _Source("distillation", Student),
    "generation": _Source("fpga_tools", Generation, lambda row: row.get("bench") == "generation"),
    "closed_loops": _Source(
        "fpga_tools", Comparison, lambda row: row.get("bench") == "closed loop"
    ),
    "startup": _Source("startup", Comparison),
    "cores": _Source("fpga", Core),
}
_RECORDS: dict[str, type[Any]] = {
    "LoopConditions": LoopConditions,
    "PaperCore": PaperCore,
    "Whole | None": Whole,
}
_GOOD: dict[str, Callable[[object], bool]] = {
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": is_number,
    "Sequence[int]": lambda value: isinstance(value, list) and all(map(_GOOD["int"], value)),
    "Mapping[str, int]": lambda value: (
        isinstance(value, dict) and all(map(_GOOD["int"], value.values()))
    ),
}


def read_results(folder: Path) -> Results:
    """Return the rows of the JSON files in ``folder``.

    Raises:
        InputError: a file is not a list of rows, or a row lacks what is made of it.
    """
    rows = {}
    for file in sorted(folder.glob("*.json")):
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError.at(file, "file", str(error), _REMEDY) from error
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise InputError.at(file, "file", "not a list of rows", _REMEDY)
        rows[file.stem] = found
    return parse_results(rows, folder)


def parse_results(
    rows: Mapping[str, Iterable[Mapping[str, Any]]], folder: Path = Path()
) -> Results:
    """Return ``rows``, given by the name of their file without its ending, as records.

    Raises:
        InputError: a row lacks a field, or has one of another kind; the file in ``folder`` is
            named.
    """
    found = {}
    for name, source in _SOURCES.items():
        file = folder / f"{source.file}.json"
        chosen = [
            (f"row {number}", row)
            for number, row in enumerate(rows.get(source.file, ()))
            if source.wanted(row)
        ]
        found[name] = tuple(_record(source.kind, row, file, where) for where, row in chosen)
    return Results(**found)


def _record(kind: type[Any], row: Mapping[str, Any], file: Path, where: str) -> Any:
    """``row`` as a record of ``kind``; what the record has no field for is not looked at."""
    values = {}
    for each in fields(kind):
        name, place = each.name, f"{where}, {each.name}"
        if name not in row:
            if each.default is MISSING and each.default_factory is MISSING:
                raise InputError.at(file, place, "is missing", _REMEDY)
            continue
        value, inner = row[name], _RECORDS.get(str(each.type))
        if inner is not None:
            if not isinstance(value, dict):
                raise InputError.at(file, place, f"{value!r} is no record", _REMEDY)
            value = _record(inner, value, file, place)
        elif not _GOOD[str(each.type)](value):
            raise InputError.at(file, place, f"{value!r} is of another kind", _REMEDY)
        values[name] = value
    return kind(**values)
