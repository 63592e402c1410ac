"""The paper's runs and ours, in one form."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.json_files import is_number, is_text, read_json, shown
from qpolicy_ros.policy import PolicyArtifact, load_policy, require_task
from qpolicy_training.report.seeds import Repeated, is_repetition, repeated
from qpolicy_training.runs.curve import read_curve
from qpolicy_training.select.ledger import Row, read_ledger

DATA = Path(__file__).resolve().parents[1] / "data"
TASKS = ("hopper", "walker2d", "halfcheetah", "ant", "humanoid")
_FP32 = 32  # bits
_CLOCK_MHZ = 100.0  # of the paper's hardware
_MOST_BYTES = 4 << 20
_REMEDY = "give the rows of the hardware benchmark (docs/benchmarks/fpga.json)"


class PaperRun(NamedTuple):
    """One run of the paper; bits are 32 for its FP32 runs."""

    task: str
    hidden: int
    b_in: int
    b_core: int
    b_out: int
    seed: int
    return_: float

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Width, input, core and output bits."""
        return self.hidden, self.b_in, self.b_core, self.b_out


class Point(NamedTuple):
    """One of our policies.

    Attributes:
        task, name: as in ``hopper``, ``paper``.
        hidden: width of the widest hidden layer.
        b_in, b_core, b_out: bits, 32 for FP32.
        mean, std: of the episodes' returns.
        episodes: how many.
        seed: of the training, -1 if the file does not say.
        cycles, lut: of its hardware; None if not known.
    """

    task: str
    name: str
    hidden: int
    b_in: int
    b_core: int
    b_out: int
    mean: float
    std: float
    episodes: int
    seed: int
    cycles: float | None
    lut: float | None


class Made(NamedTuple):
    """How one of our policies was made.

    Attributes:
        policy: as in ``hopper/paper``.
        provenance: of its file.
        function: hash of what it computes.
        method: of its training; of a selected policy the one that its candidate was trained by.
        rounds: of a selected policy's candidate; empty if not known.
        curve_end: last step of its curve; None without one, or where it has the chosen step alone.
    """

    policy: str
    provenance: dict[str, Any]
    function: str
    method: str
    rounds: str
    curve_end: int | None


class SweepLedger(NamedTuple):
    """A sweep of ours: its ledger's name, its hash, what is in it."""

    task: str
    ledger: str
    hash: str
    candidates: int
    stages: int
    cpu_seconds: float


class Hardware(NamedTuple):
    """What one of the paper's designs costs on its XC7A15T."""

    task: str
    design: str
    shape: tuple[int, int, int, int]
    cycles: float
    lut: float


@dataclass(frozen=True)
class Runs:
    """Everything that is drawn.

    Attributes:
        quantised, fp32: the paper's runs.
        hardware: the paper's designs.
        shipped: our shipped policies.
        made: how each of them was made.
        swept: candidates of our sweeps, the last stage of each.
        repeats: seeds of our recipes, the last stage of each.
        sweeps: ledgers of both.
        curves: (step, held-out return) by task and policy name.
        notes: what is missing.
    """

    quantised: list[PaperRun]
    fp32: list[PaperRun]
    hardware: list[Hardware]
    shipped: list[Point]
    made: list[Made]
    swept: list[Point]
    repeats: list[Repeated]
    sweeps: list[SweepLedger]
    curves: dict[tuple[str, str], list[tuple[int, float]]]
    notes: list[str] = field(default_factory=list)

    def paper(self, task: str, shape: tuple[int, int, int, int]) -> list[float]:
        """Returns of the paper's runs of one shape, by seed."""
        runs = [each for each in self.quantised if each.task == task and each.shape == shape]
        return [each.return_ for each in sorted(runs, key=lambda each: each.seed)]

    def paper_fp32(self, task: str) -> list[float]:
        """Returns of the paper's FP32 runs."""
        return [each.return_ for each in self.fp32 if each.task == task]

    def selected(self, task: str) -> tuple[int, int, int, int]:
        """Width, input, core and output bits that the paper selected for ``task``."""
        return next(
            each.shape for each in self.hardware if each.task == task and each.design == "selected"
        )


def gather(policies: Path, hardware: Path | None) -> Runs:
    """Read the paper's data and what lies under ``policies``.

    Args:
        policies: folder of ``<task>/<name>.safetensors``, their curves ``<name>.csv`` and ledgers
            ``<name>.ledger.jsonl``.
        hardware: rows of ``task``, ``policy``, ``cycles``, ``lut`` (JSON), or None.

    Raises:
        InputError: a file does not fit, or there is no policy.
    """
    notes: list[str] = []
    costs = _costs(hardware, notes)
    shipped, made, swept, repeats, sweeps = [], [], [], [], []
    curves = {}
    for task in TASKS:
        files = sorted((policies / task).glob("*.safetensors"))
        names = [file.stem for file in files if "." not in file.stem]
        if not names:
            notes.append(f"{task}: no policy of ours yet")
        trained: dict[str, Row] = {}
        for ledger in sorted((policies / task).glob("*.ledger.jsonl")):
            rows = read_ledger(ledger)
            if is_repetition(rows):
                repeats += repeated(task, rows)
            else:
                swept += _swept(task, rows)
            sweeps.append(_sweep(ledger, task, rows))
            trained |= {row.hash: row for row in rows if row.returns}
        for name in names:
            artifact = load_policy(policies / task / f"{name}.safetensors")
            require_task(artifact, task)
            shipped.append(_point(artifact, task, name, costs))
            curve = policies / task / f"{name}.csv"
            if curve.exists():
                curves[task, name] = read_curve(curve)
            steps = curves.get((task, name))
            made.append(_made(artifact, f"{task}/{name}", trained, steps))
    if not shipped:
        wrong = f"no <task>/<name>.safetensors of {', '.join(TASKS)}"
        raise InputError.at(policies, "policies", wrong, "give a folder of policies")
    return Runs(
        quantised=[_paper_run(row, int(row["size"])) for row in _rows("sac_quantized_returns")],
        fp32=[_paper_run(row, 256) for row in _rows("sac_fp32_returns")],
        hardware=[_hardware(row) for row in _rows("hardware")],
        shipped=shipped,
        made=made,
        swept=swept,
        repeats=repeats,
        sweeps=sweeps,
        curves=curves,
        notes=notes,
    )


def paper_noise(task: str) -> dict[str, list[tuple[float, float]]]:
    """The paper's (sigma, return) by policy, ``fp32`` and ``quantized``; empty for other tasks."""
    return {
        row["policy"]: [
            (float(key.removeprefix("sigma_")), float(value))
            for key, value in row.items()
            if key.startswith("sigma_")
        ]
        for row in _rows("noise")
        if _task(row["task"]) == task
    }


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (DATA / f"paper_{name}.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _task(env: str) -> str:
    return env.partition("-")[0].lower()


def _paper_run(row: dict[str, str], hidden: int) -> PaperRun:
    bits = (int(row.get(key, _FP32)) for key in ("input_quant", "quant", "output_quant"))
    return PaperRun(_task(row["env"]), hidden, *bits, int(row["seed"]), float(row["return"]))


def _hardware(row: dict[str, str]) -> Hardware:
    shape = tuple(int(row[key]) for key in ("h", "b_in", "b_core", "b_out"))
    cycles = float(row["latency_us"]) * _CLOCK_MHZ
    assert len(shape) == 4
    return Hardware(_task(row["task"]), row["design"], shape, cycles, float(row["lut"]))


def _costs(path: Path | None, notes: list[str]) -> dict[tuple[str, str], tuple[float, float]]:
    """Return cycles and LUT by task and policy name."""
    if path is None:
        notes.append("no hardware figures of ours were given (--hardware)")
        return {}
    return read_costs(path)


def read_costs(path: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """Return cycles and LUT by task and policy name, of the rows of the hardware benchmark.

    Raises:
        InputError: the file holds something else; the text names row and field.
    """
    rows = read_json(path, "hardware", _MOST_BYTES, _REMEDY)
    if not isinstance(rows, list) or not rows:
        raise InputError.at(path, "hardware", f"{shown(rows)} is no list of rows", _REMEDY)
    costs = {}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise InputError.at(path, f"row {number}", f"{shown(row)} is no row", _REMEDY)
        for name in ("task", "policy", "cycles", "lut"):
            value = row.get(name)
            if not (is_text(value) if name in ("task", "policy") else is_number(value, 1)):
                wrong = f"{shown(value)} is not one of the hardware benchmark"
                raise InputError.at(path, f"row {number}, {name}", wrong, _REMEDY)
        # The shipped one is at the paper's shape; random weights are no policy.
        policy = "paper" if row["policy"] == "shipped" else row["policy"]
        if policy != "random":
            costs[row["task"], policy] = (float(row["cycles"]), float(row["lut"]))
    return costs


def _point(
    artifact: PolicyArtifact, task: str, name: str, costs: dict[tuple[str, str], Any]
) -> Point:
    network = artifact.network
    backend = "integer" if network else "fp32"
    facts = artifact.provenance.get("returns", {}).get(backend)
    if not isinstance(facts, dict) or not {"mean", "std", "episodes"} <= facts.keys():
        remedy = "export it again: that plays the episodes"
        raise InputError.at(artifact.path, f"returns.{backend}", "is missing", remedy)
    bits = (network.input_bits, network.core_bits, network.output_bits) if network else (_FP32,) * 3
    cycles, lut = costs.get((task, name), (None, None))
    return Point(
        task,
        name,
        max((network or artifact.baseline).hidden),
        *bits,
        mean=float(facts["mean"]),
        std=float(facts["std"]),
        episodes=int(facts["episodes"]),
        seed=int(artifact.provenance.get("seed", -1)),
        cycles=cycles,
        lut=lut,
    )


def _made(
    artifact: PolicyArtifact,
    policy: str,
    trained: dict[str, Row],
    curve: list[tuple[int, float]] | None,
) -> Made:
    """Return how a policy was made; ``trained``: rows of its task's ledgers by their run."""
    facts = artifact.provenance
    row = trained.get(facts.get("config_hash", ""))
    return Made(
        policy,
        facts,
        artifact.function_hash,
        (row.method if row else "") or str(facts.get("method", "")),
        "" if row is None or row.rounds is None else str(row.rounds),
        curve[-1][0] if curve and len(curve) > 1 else None,
    )


def _sweep(path: Path, task: str, rows: list[Row]) -> SweepLedger:
    """Return what a sweep was; only rows of candidates have a shape."""
    stages = [row for row in rows if row.is_candidate]
    named = [row.hash for row in rows if row.stage == "sweep"]
    return SweepLedger(
        task,
        path.name,
        named[0] if named else "not stated",
        len({row.hash for row in stages}),
        len(stages),
        sum(row.cpu_seconds for row in rows),
    )


def _swept(task: str, rows: list[Row]) -> list[Point]:
    """Return the last stage of each candidate of a sweep; those that failed have no returns."""
    latest = {row.hash: row for row in rows if row.returns}
    return [
        Point(
            task=task,
            name="sweep",
            hidden=max(row.shape.hidden),
            b_in=row.shape.b_in,
            b_core=row.shape.b_core,
            b_out=row.shape.b_out,
            mean=row.mean,
            std=row.std,
            episodes=len(row.returns),
            seed=row.seed,
            cycles=row.cost.get("cycles"),
            lut=row.cost.get("lut"),
        )
        for row in latest.values()
    ]
