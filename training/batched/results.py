"""What a batched run leaves: snapshots of every run, their returns, and the learning curves."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qpolicy_ros.common.files import write_atomically
from qpolicy_training.batched.plan import SIZES, StudentRun, TeacherRun

if TYPE_CHECKING:  # results are read without JAX
    from qpolicy_training.batched.loop import Session


class Results:
    """A folder with ``runs.json``, ``curves.jsonl``, ``log.txt`` and a file of arrays a task."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.facts: dict[str, Any] = {"facts": facts, "phases": {}}
        self.parents: list[int] = []
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """One line for the log, with the seconds so far."""
        line = f"{time.monotonic() - self._began:7.1f} s  {text}"
        print(line, flush=True)  # noqa: T201 a command's progress
        with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def row(self, phase: str, values: dict[str, Any]) -> None:
        """One evaluation of every run."""
        with (self.folder / "curves.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"phase": phase, **_short(values)}) + "\n")
        means = " ".join(f"{value:.0f}" for value in values["returns"])
        extra = {k: round(float(np.mean(v)), 3) for k, v in values.items() if k in _SHOWN}
        head = f"{values['seconds']:.0f} s, {values['updates']} updates, {values['steps']} steps"
        self.say(f"{phase}: {head}, {extra}: {means}")

    def counts(self, phase: str, session: Session) -> None:
        """What a phase has done."""
        done = asdict(session.counts) | {"seconds": session.seconds()}
        self.facts["phases"][phase] = done
        self.say(f"{phase}: {done}")

    def save(
        self, kind: str, runs: Sequence[TeacherRun | StudentRun], session: Session,
        most: int = 3,
    ) -> None:  # fmt: skip
        """Write the snapshots of ``runs``, at most ``most`` each, the best first."""
        summary: list[dict[str, Any]] = []
        arrays: dict[str, dict[str, np.ndarray]] = {}
        for index, (run, found) in enumerate(zip(runs, session.candidates, strict=True)):
            kept = sorted(found, key=lambda c: -_score(c))[:most]
            entry = {
                **asdict(run), "run": index,
                "candidates": [
                    {"mean": c.mean, "seconds": c.seconds, "updates": c.updates, "steps": c.steps,
                     "final": c.final} for c in kept
                ],
            }  # fmt: skip
            if self.parents and len(self.parents) == len(runs):
                entry["parent"] = self.parents[index]
            summary.append(entry)
            for place, candidate in enumerate(kept):
                for name, value in cut(candidate.params, run).items():
                    arrays.setdefault(run.task, {})[f"{index}/{place}/{name}"] = value
        self.facts[kind] = summary
        self.facts["facts"]["seconds"] = time.monotonic() - self._began
        write_atomically(self.folder / "runs.json", json.dumps(self.facts).encode())
        if kind == "teachers":
            merged = {k: v for part in arrays.values() for k, v in part.items()}
            _save_arrays(self.folder / f"{kind}.npz", merged)
        else:
            for task, part in arrays.items():
                _save_arrays(self.folder / f"{kind}-{task}.npz", part)


_SHOWN = ("alpha", "critic_loss", "distil_loss", "q", "entropy", "calls", "wait_accelerator_ms",
          "wait_physics_ms")  # fmt: skip


def _score(candidate: Any) -> float:
    return float(np.mean(candidate.final)) if candidate.final else candidate.mean


def _short(values: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(values), parse_float=lambda text: float(f"{float(text):.6g}"))


def cut(params: dict[str, Any], run: TeacherRun | StudentRun) -> dict[str, np.ndarray]:
    """One run's arrays without padding, as torch has them: weights ``(out, in)``."""
    n, m, width = params["mean"].size, _actions(run), run.width
    arrays = {
        "weight.0": params["first"][:n, :width].T,
        "weight.1": params["hidden"][:width, :width].T,
        "weight.2": params["last"][:width, :m].T,
        "bias.0": params["bias"][0][:width],
        "bias.1": params["bias"][1][:width],
        "bias.2": params["bias"][2][:m],
        "mean": params["mean"],
        "std": params["std"],
    }
    if "range" in params:
        arrays["range"] = np.abs(params["range"])
    return {k: np.ascontiguousarray(v, np.float32) for k, v in arrays.items()}


def _actions(run: TeacherRun | StudentRun) -> int:
    return SIZES[run.task][1]


def _save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    payload = io.BytesIO()
    keywords: dict[str, Any] = arrays
    np.savez(payload, **keywords)
    write_atomically(path, payload.getvalue())
