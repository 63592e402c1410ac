"""From a batched run's folder to policies and to a table of all its seeds.

Every run is played through the integer engine, whatever its return; none is left out.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from qpolicy_ros.backends import create_backend
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.policy import PolicyArtifact, PolicyError, make_artifact, save_policy
from qpolicy_ros.sim.rollout import evaluate
from qpolicy_training.batched.convert import Entry, baseline, quant_actor, read_runs
from qpolicy_training.batched.plan import StudentRun
from qpolicy_training.experience.task_env import TrainingEnv
from qpolicy_training.quant.integer_policy import integer_policy
from qpolicy_training.recipes.deliver import deliver
from qpolicy_training.recipes.student import Student
from qpolicy_training.recipes.teacher import Teacher
from qpolicy_training.report.statistics import estimate
from qpolicy_training.runs.curve import write_curve
from qpolicy_training.runs.golden import golden_observations, measured_returns
from qpolicy_training.runs.provenance import provenance, teacher_facts

COLUMNS = ("task", "label", "width", "b_in", "b_core", "teacher", "rank", "seed", "held_out",
           "mean", "std", "worst", "episodes", "first_seed")  # fmt: skip


def score(entry: Entry) -> float:
    """Mean held-out return of an entry's best snapshot, ``-inf`` where it has none."""
    if not entry.candidates:
        return float("-inf")
    final = entry.candidates[0]["final"]
    return float(np.mean(final)) if final else float(entry.candidates[0]["mean"])


def best(folder: Path, task: str, label: str) -> Entry:
    """The student of ``task`` and ``label`` with the best held-out return.

    Raises ``PolicyError`` where there is none.
    """
    found = [e for e in read_runs(folder, "students") if getattr(e.run, "label", "") == label]
    found = [e for e in found if e.run.task == task and e.arrays]
    if not found:
        wrong = f"no snapshot of {task} with label {label}"
        raise PolicyError.at(folder / "runs.json", "students", wrong, "train it first")
    return max(found, key=score)


def student_of(entry: Entry) -> Student:
    """The best snapshot of a student's run as a torch module with its normalisation."""
    assert isinstance(entry.run, StudentRun)
    arrays = entry.arrays[0]
    return Student.of(quant_actor(entry.run, arrays), arrays["mean"], arrays["std"])


def ship(folder: Path, task: str, label: str, out: Path, episodes: int) -> PolicyArtifact:
    """Write the best student of ``task`` and ``label`` as ``out``, with module and curve beside."""
    entry = best(folder, task, label)
    teacher_entry = read_runs(folder, "teachers")[entry.parent or 0]
    teacher = teacher_policy(folder, teacher_entry, episodes)
    student = student_of(entry)
    facts = _facts(folder, entry) | teacher_facts(teacher)
    artifact = deliver(student, teacher, facts, episodes, out)
    write_curve(out.with_suffix(".csv"), _curve(folder, ("distil", "reinforce"), entry.index))
    return artifact


def ship_teacher(folder: Path, task: str, out: Path, episodes: int) -> PolicyArtifact:
    """Write the best teacher of ``task`` as the FP32 policy ``out`` with its curve beside."""
    found = [e for e in read_runs(folder, "teachers") if e.run.task == task and e.arrays]
    if not found:
        raise PolicyError.at(folder, "teachers", f"no snapshot of {task}", "train it first")
    entry = max(found, key=score)
    artifact = teacher_policy(folder, entry, episodes)
    save_policy(artifact, out)
    write_curve(out.with_suffix(".csv"), _curve(folder, ("teach",), entry.index))
    return artifact


def teacher_policy(folder: Path, entry: Entry, episodes: int) -> PolicyArtifact:
    """An FP32 artifact of a teacher, its returns measured over ``episodes`` from seed 0."""
    task = entry.run.task
    env = TrainingEnv(task)
    base = baseline(entry.arrays[0], env.scale, env.bias)
    observations = golden_observations(Teacher.of(base).policy(), task)
    facts = _facts(folder, entry)

    def artifact(facts: dict[str, Any]) -> PolicyArtifact:
        return make_artifact(env.contract, base, None, provenance(**facts), observations)

    backend = create_backend("fp32", artifact(facts))
    facts["returns"] = {"fp32": measured_returns(backend, task, episodes)}
    return artifact(facts)


def table(folder: Path, out: Path, episodes: int, first_seed: int) -> dict[str, Any]:
    """Play every student ``episodes`` times from ``first_seed``; write and return what came.

    ``out`` is a CSV with a row a run; beside it, as JSON, the interquartile mean of each task and
    label, its interval, and how many runs reach what a caller compares with. A row that is there
    already is not played again, so that a killed call goes on.
    """
    rows = _read_rows(out)
    known = {(row["task"], row["label"], row["rank"], row["seed"]) for row in rows}
    entries = read_runs(folder, "students")
    for entry in tqdm(entries, unit="run", desc="integer engine"):
        run = asdict(entry.run)
        key = tuple(str(run[name]) for name in ("task", "label", "rank", "seed"))
        if key in known or not entry.arrays:
            continue
        returns = play(entry, episodes, first_seed)
        values = run | {
            "teacher": entry.parent, "held_out": f"{score(entry):.1f}",
            "mean": f"{np.mean(returns):.1f}", "std": f"{np.std(returns, ddof=1):.1f}",
            "worst": f"{min(returns):.1f}", "episodes": episodes, "first_seed": first_seed,
        }  # fmt: skip
        rows.append({name: str(values[name]) for name in COLUMNS})
        _write_rows(out, rows)
    return summary(rows)


def play(entry: Entry, episodes: int, first_seed: int) -> list[float]:
    """Returns of a student's best snapshot through the integer engine."""
    student, env = student_of(entry), TrainingEnv(entry.run.task)
    policy = integer_policy(student.actor, student.normaliser, env)
    return evaluate(policy, entry.run.task, episodes, first_seed)


def summary(rows: list[dict[str, str]]) -> dict[str, Any]:
    """Interquartile mean, 95 % interval and all means of each task and label.

    ``students``: seeds of one teacher, the best; ``pipelines``: the first student of each teacher.
    """
    groups: dict[str, list[float]] = {}
    for row in rows:
        name = f"{row['task']}/{row['label']}"
        if row["rank"] == "0":
            groups.setdefault(f"{name} students", []).append(float(row["mean"]))
        if row["rank"] != "0" or row["seed"] == "0":
            groups.setdefault(f"{name} pipelines", []).append(float(row["mean"]))
    result = {}
    for name, means in groups.items():
        found = estimate([means])
        result[name] = {
            "iqm": round(found.value, 1), "low": round(found.low, 1),
            "high": round(found.high, 1), "runs": found.runs, "means": means,
        }  # fmt: skip
    return result


def _facts(folder: Path, entry: Entry) -> dict[str, Any]:
    made = json.loads((folder / "runs.json").read_text("utf-8"))
    candidate = entry.candidates[0]
    return {
        "method": "batched",
        "seed": entry.run.seed,
        "steps": candidate["steps"],
        "updates": candidate["updates"],
        "training_seconds": round(candidate["seconds"]),
        "run": asdict(entry.run),
        "held_out": score(entry),
        "batched": {k: v for k, v in made["facts"].items() if k != "settings"},
    }


def _curve(folder: Path, phases: tuple[str, ...], run: int) -> list[tuple[int, float, float]]:
    rows, before, last = [], 0, 0
    for line in (folder / "curves.jsonl").read_text("utf-8").splitlines():
        values = json.loads(line)
        if values["phase"] in phases:
            if values["steps"] + before < last:
                before = last
            last = values["steps"] + before
            rows.append((last, float(values["returns"][run]), float(values["seconds"])))
    return rows


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
