"""From a batched run's folder to the project's own modules: QuantActor and FP32 baseline."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qpolicy_ros.policy import Baseline, PolicyError
from qpolicy_training.batched.plan import SIZES, StudentRun, TeacherRun
from qpolicy_training.experience.normaliser import CLIP
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Entry:
    """One run of a batched session: what it is and its snapshots, the best first."""

    run: TeacherRun | StudentRun
    index: int
    parent: int | None
    """Number of a student's teacher among the teachers."""
    candidates: list[dict[str, Any]]
    arrays: list[Arrays]


def quant_actor(run: StudentRun, arrays: Arrays) -> QuantActor:
    """The trained student as a torch module, calibrated, in evaluation mode."""
    observations, actions = SIZES[run.task]
    hidden = (run.width, run.width)
    actor = QuantActor(ActorSpec(observations, actions, hidden, run.b_in, run.b_core, run.b_out))
    names = [f"{part}.{i}" for part in ("weight", "bias") for i in range(3)]
    values = [*(torch.tensor(r) for r in arrays["range"]), *(_tensor(arrays[n]) for n in names)]
    with torch.no_grad():
        for parameter, value in zip(actor.flat_parameters(), values, strict=True):
            parameter.copy_(value)
    for scaling in actor.scalings():
        scaling.counter = scaling.collect_stats_steps + 1
    return actor.eval()


def baseline(arrays: Arrays, scale: np.ndarray, bias: np.ndarray) -> Baseline:
    """A teacher as an artifact stores it; ``action * scale + bias`` is the task's action."""
    return Baseline(
        mean=arrays["mean"],
        std=arrays["std"],
        clip=CLIP,
        weights=tuple(arrays[f"weight.{i}"] for i in range(3)),
        biases=tuple(arrays[f"bias.{i}"] for i in range(3)),
        scale=scale.astype(np.float32),
        bias=bias.astype(np.float32),
    )


def read_runs(folder: Path, kind: str) -> list[Entry]:
    """The runs of ``kind`` (teachers, distilled, students) that ``folder`` holds.

    Raises ``PolicyError`` where it holds none.
    """
    path = folder / "runs.json"
    try:
        listed = json.loads(path.read_text("utf-8"))[kind]
    except (OSError, ValueError, KeyError) as error:
        wrong = f"cannot be read ({error})"
        raise PolicyError.at(path, kind, wrong, "give the --out of a batched run") from None
    return [_entry(folder, kind, values) for values in listed]


def _entry(folder: Path, kind: str, values: dict[str, Any]) -> Entry:
    of = TeacherRun if kind == "teachers" else StudentRun
    run = of(**{f.name: values[f.name] for f in fields(of)})
    file = folder / (f"{kind}.npz" if of is TeacherRun else f"{kind}-{run.task}.npz")
    arrays: list[Arrays] = [{} for _ in values["candidates"]]
    if arrays:
        with np.load(file) as stored:
            for place, part in enumerate(arrays):
                start = f"{values['run']}/{place}/"
                part.update({k[len(start) :]: stored[k] for k in stored if k.startswith(start)})
    return Entry(run, values["run"], values.get("parent"), values["candidates"], arrays)


def _tensor(value: np.ndarray) -> torch.Tensor:
    return torch.tensor(np.asarray(value, np.float32))
