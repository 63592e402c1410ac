"""What each option of RL is worth: return of an FP32 policy after equal CPU time."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.bench.figure import draw_bars
from qpolicy_ros.bench.report import conditions, describe, write
from qpolicy_ros.bench.training import TrainingError
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import make_folder
from qpolicy_ros.policy import load_policy
from qpolicy_training.runs.folder import runs_folder

Say = Callable[[str], None]

NAME = "algorithms"
_SPARSE = "--sac.train-frequency 4"
_SCALED = f"{_SPARSE} --sac.reward-scale 0.1"
VARIANTS = {
    "SAC, an update every 4 steps": _SPARSE,
    "SAC, every 4 steps, reward scale 0.1": _SCALED,
    "SAC, every 4 steps, scale, layer normalisation": f"{_SCALED} --sac.critic-norm layer",
    "SAC": "",
    "DDPG": "--algorithm ddpg",
}
"""Options of `qpolicy train` by what the table calls them."""
TASKS = {"hopper": 1, "halfcheetah": 1, "ant": 2}
"""Tasks, and how many times MINUTES they get: an Ant that has learnt for as long as the others
stands still with all options."""
SEEDS = (1, 2, 3)
EPISODES = 20
_HOW = (
    "An FP32 policy of 256-256 after {minutes:g} CPU minutes of one core, Ant's after twice that, "
    "evaluation on the way included: mean of {seeds} seeds, each the mean of {episodes} episodes "
    "(seeds 0, 1, ...) of the best snapshot; in parentheses the lowest and the highest seed, and "
    "the environment steps that came of it, in thousands. `qpolicy train`'s defaults but for what "
    "the first column names, and SAC's bfloat16 products, which are float32 where the processor "
    "has none."
)
_STEPS = 400_000  # more than any of them comes to
_EVERY = 5_000


def run(
    out: Path,
    say: Say,
    minutes: float,
    *,
    tasks: Sequence[str] = tuple(TASKS),
    seeds: Sequence[int] = SEEDS,
) -> list[dict[str, Any]]:
    """Train each variant for ``minutes`` of processor time, Ant's for twice as long.

    Writes the page, returns its rows.

    What is trained is kept in the folder of the runs: the same call goes on where it was stopped.
    Rows of other seeds that ``out`` has, measured with the same time, stay: seeds may be trained
    side by side, or on different machines, since each seed compares all variants on one.

    Raises:
        TrainingError: a run failed.
    """
    folder = make_folder(runs_folder() / f"bench-{NAME}-{minutes:g}")
    rows: list[dict[str, Any]] = []
    for seed in seeds:  # outermost, so that the machine's hours are the same for all
        for task in tasks:
            for name, options in VARIANTS.items():
                spent = minutes * TASKS[task]
                say(f"{task}, seed {seed}: {name}, {spent:g} CPU minutes")
                label = re.sub(r"[^a-z0-9.]+", "-", options).strip("-") or "defaults"
                file = folder / f"{task}-{seed}-{label}.safetensors"
                _train(task, seed, options, spent, file)
                rows.append(_row(name, task, seed, file))
    facts = conditions(minutes=minutes, episodes=EPISODES, threads=1)
    rows = [row | {"conditions": facts} for row in rows]
    rows += _measured(out, minutes, seeds)
    rows.sort(key=lambda row: row["seed"])
    write(out, NAME, rows, facts, _table(rows))
    bars = {
        task: {name: float(np.mean(_returns(rows, task, name))) for name in VARIANTS}
        for task in tasks
    }
    title = f"mean return after {minutes:g} CPU minutes, Ant's twice that"
    draw_bars(bars, title, out / f"{NAME}.png")
    return rows


def _measured(out: Path, minutes: float, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Rows of other seeds that an earlier call left in ``out``."""
    file = out / f"{NAME}.json"
    before = json.loads(file.read_bytes()) if file.exists() else []
    return [
        row
        for row in before
        if row["seed"] not in seeds
        and (row["conditions"]["minutes"], row["conditions"]["episodes"]) == (minutes, EPISODES)
    ]


def _train(task: str, seed: int, options: str, minutes: float, file: Path) -> None:
    """Run `qpolicy train` unless its policy is there."""
    try:
        load_policy(file)
    except InputError:
        runs = file.with_suffix("")
        algorithm = "ddpg" if "ddpg" in options else "sac"
        common = f"--{algorithm}.steps {_STEPS} --{algorithm}.evaluate-every {_EVERY}"
        if algorithm == "sac":  # the other one has no such option
            common += " --sac.products bfloat16"
        command = (
            f"train --task {task} --seed {seed} --cpu-minutes {minutes:g} {common} {options} "
            f"--episodes {EPISODES}"
        )
        done = subprocess.run(
            [sys.executable, "-m", "qpolicy_ros.cli.main", *command.split(), "--out", str(file)],
            env={**os.environ, "OMP_NUM_THREADS": "1", "QPOLICY_RUNS": str(runs)},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            reason = lines[-1] if lines else f"status {done.returncode}"
            raise TrainingError(f"{command}: {reason}") from None
        shutil.rmtree(runs)  # replay buffers of 100 MB each


def _row(name: str, task: str, seed: int, file: Path) -> dict[str, Any]:
    facts = load_policy(file).provenance
    return {
        "bench": f"{NAME}/{task}",
        "subject": name,
        "seed": seed,
        "steps": facts["steps_trained"],
        "revision": facts["git_revision"],
        "mean_return": facts["returns"]["fp32"]["mean"],
        "std": facts["returns"]["fp32"]["std"],
    }


def _returns(rows: Sequence[dict[str, Any]], task: str, name: str) -> list[float]:
    return [row["mean_return"] for row in _of(rows, task, name)]


def _of(rows: Sequence[dict[str, Any]], task: str, name: str) -> list[dict[str, Any]]:
    return [row for row in rows if (row["bench"], row["subject"]) == (f"{NAME}/{task}", name)]


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the Markdown page."""
    calls: dict[str, tuple[dict[str, Any], set[int]]] = {}  # conditions and seeds, by date
    for row in rows:
        facts = row["conditions"]
        calls.setdefault(facts["date"], (facts, set()))[1].add(row["seed"])
    tasks = list(dict.fromkeys(row["bench"].partition("/")[2] for row in rows))
    seeds = len({row["seed"] for row in rows})
    lines = [
        "# Algorithms",
        "",
        _HOW.format(minutes=facts["minutes"], seeds=seeds, episodes=EPISODES),
        "",
        f"| options | {' | '.join(tasks)} |",
        "|---|" + "---:|" * len(tasks),
    ]
    for name in VARIANTS:
        cells = []
        for task in tasks:
            found = _of(rows, task, name)
            returns = [row["mean_return"] for row in found]
            steps = np.mean([row["steps"] for row in found]) / 1000
            span = f"{min(returns):,.0f} to {max(returns):,.0f}; {steps:.0f} k"
            cells.append(f"{np.mean(returns):,.0f} ({span})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", f"![return after equal time]({NAME}.png)"]
    for facts, trained in calls.values():
        lines += ["", f"Seed {', '.join(map(str, sorted(trained)))}:", "", *describe(facts)]
    # A call that finds policies of an earlier one was made at another revision than these.
    revisions = ", ".join(sorted({str(row["revision"]) for row in rows}))
    return [*lines, "", f"The policies were trained at the revisions {revisions}."]
