"""Distillation: CPU time of a 3-bit HalfCheetah student of the shipped teacher, and its return."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.backends import create_backend
from qpolicy_ros.bench.report import conditions, describe, write
from qpolicy_ros.bench.training import TrainingError
from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.policy import PolicyArtifact, find_policy, load_policy
from qpolicy_ros.sim.rollout import evaluate

Say = Callable[[str], None]

NAME = "distillation"
_TASK = "halfcheetah"
_EPISODES = 100
OPTIONS = (
    "--teacher halfcheetah/fp32 --method distill --hidden 256 256 --b-in 8 --b-core 3 "
    "--distill.loss divergence --critic training/checkpoints/halfcheetah-fp32.safetensors "
    "--distill.products bfloat16 --distill.rounds 14 --distill.round-updates 2000 "
    "--distill.learning-rate 0.002"
)
_ROOT = Path(__file__).resolve().parents[2]


def run(
    out: Path, say: Say, *, options: str = OPTIONS, episodes: int = _EPISODES
) -> list[dict[str, Any]]:
    """Distil and play, write ``distillation.json`` and ``.md``, return the row.

    Args:
        out: folder to write to.
        say: takes progress.
        options: of `qpolicy quantize`.
        episodes: of student and teacher each, seeds 0, 1, ...

    Raises:
        TrainingError: the command failed.
    """
    facts = conditions(command=f"qpolicy quantize {options}", threads=1)
    say(f"qpolicy quantize {options}")
    with scratch_folder() as scratch:
        file = scratch / "student.safetensors"
        cpu = _distil(options, file)
        student = load_policy(file)
    say(f"{cpu:.0f} s of CPU; {episodes} episodes of student and teacher")
    played = {
        name: _play(load_policy(find_policy(f"{_TASK}/fp32")) if name == "fp32" else student,
                    name, episodes)
        for name in ("integer", "fp32")
    }  # fmt: skip
    mine, teachers = played["integer"], played["fp32"]
    row = {
        "bench": NAME,
        "subject": f"{_TASK}, 3 bit",
        "peer": f"{_TASK}/fp32",
        "cpu_s": round(cpu, 1),
        "episodes": episodes,
        "mean_return": float(np.mean(mine)),
        "teacher_return": float(np.mean(teachers)),
        "median_return": float(np.median(mine)),
        "least_return": float(np.min(mine)),
    }
    write(out, NAME, [row], facts, _table(row, facts))
    return [row]


def _distil(options: str, file: Path) -> float:
    """Run the command with nothing to go on from; return its CPU time, s."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "qpolicy_ros.cli.main", "quantize", *options.split()]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        # One episode behind the proof: the figures are played here.
        [*command, "--episodes", "1", "--out", str(file)],
        cwd=_ROOT,  # where the teacher's checkpoint lies
        env={**os.environ, **threads, "QPOLICY_RUNS": str(file.parent / "runs")},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise TrainingError(f"quantize: {lines[-1] if lines else f'status {done.returncode}'}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _play(artifact: PolicyArtifact, backend: str, episodes: int) -> list[float]:
    act = create_backend(backend, artifact).act
    return list(evaluate(act, artifact.contract.env_id, episodes, 0))


def _table(row: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    """Return the Markdown page."""
    share = row["mean_return"] / row["teacher_return"]
    figures = [f"{row['cpu_s']:.0f}", f"{row['mean_return']:.0f}", f"{share:.1%}"]
    figures += [f"{row['median_return']:.0f}", f"{row['least_return']:.0f}"]
    return [
        "# Distillation",
        "",
        _HOW,
        "",
        "| student | CPU, s | mean return | of the teacher's | median | least |",
        "|---|---:|---:|---:|---:|---:|",
        f"| {row['subject']} | {' | '.join(figures)} |",
        "",
        f"`{facts['command']}`",
        "",
        *describe(facts),
    ]


_HOW = (
    "CPU time of the whole command below: from the shipped teacher, with no data, to a policy file "
    f"whose every code was compared with torch. Returns are of {_EPISODES} episodes on seeds that "
    "neither training nor the choice among snapshots has seen, through the integer backend; the "
    "teacher plays the same ones. `qpolicy bench distill` writes this page."
)
