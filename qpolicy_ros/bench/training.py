"""Training speed: environment steps with a gradient update each, against other libraries.

Every subject is a process of its own (``train_worker.py``) that stops after each block of steps;
one of them runs at a time, all on the same core.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qpolicy_ros.bench.environments import CLEANRL, TRAINERS, interpreter
from qpolicy_ros.bench.figure import draw_bars
from qpolicy_ros.bench.measure import Latency, summary
from qpolicy_ros.bench.report import Row, compare, conditions, describe, write
from qpolicy_ros.bench.train_worker import WARM_UP
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import scratch_folder

Say = Callable[[str], None]
Subjects = dict[str, tuple[Path, str, list[str]]]

NAME = "training"
RETURNS = "training_returns"
_WORKER = Path(__file__).with_name("train_worker.py")
_MANY_STEPS = 1_000_000  # more than anybody asks for
_OURS = {
    "ours, QAT, bfloat16": "ours:qat:bfloat16",
    "ours, QAT": "ours:qat:float32",
    "ours, FP32, bfloat16": "ours:fp32:bfloat16",
    "ours, FP32": "ours:fp32:float32",
}
_PEERS = {
    "Stable-Baselines3": "sb3",
    "sbx": "sbx",
    "sbx, policy_delay 2": "sbx:2",
}
_EVALUATION = {"ours, integer": "evaluate:ours", "SB3 evaluate_policy": "evaluate:sb3"}
_TASKS = ("HalfCheetah-v4", "Humanoid-v4")
_RETURN_TASKS = ("HalfCheetah-v4", "Hopper-v4")
_LAST = 5  # training episodes that count at the end of a short run


class TrainingError(RuntimeError):
    """A subject of the training benchmark failed; the text is one line."""


class Block(NamedTuple):
    """What a subject reports of one block of steps: s, s, and returns of ended episodes."""

    wall: float
    cpu: float
    returns: list[float]


class Worker:
    """A subject in a process of its own, that has taken ``warm_up`` steps.

    Raises:
        TrainingError: it ended before it was asked to.
    """

    def __init__(
        self,
        name: str,
        python: Path,
        subject: str,
        task: str,
        more: Sequence[str] = (),
        warm_up: int = WARM_UP,
    ) -> None:
        self._name = name
        self._kept = contextlib.ExitStack()
        scratch = self._kept.enter_context(scratch_folder())
        self._errors = (scratch / "errors.txt").open("w+")  # closed in `close`
        read, write_end = os.pipe()
        core = max(os.sched_getaffinity(0))
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        flags = "--xla_cpu_multi_thread_eigen=false"
        # File 3 of the child is the pipe; the core is chosen before any library counts cores.
        program = (
            f"import os, runpy, sys; os.sched_setaffinity(0, {{{core}}}); "
            f"os.dup2({write_end}, 3); sys.argv = sys.argv[1:]; "
            "runpy.run_path(sys.argv[0], run_name='__main__')"
        )
        self._process = subprocess.Popen(
            [str(python), "-W", "ignore", "-c", program, str(_WORKER), subject, task,
             str(_MANY_STEPS), str(warm_up), *more],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._errors, text=True,
            pass_fds=(write_end,), env={**os.environ, **threads, "XLA_FLAGS": flags,
                 "QPOLICY_RUNS": str(scratch)},
        )  # fmt: skip
        os.close(write_end)
        self._reports = os.fdopen(read)
        self._result()  # the warm-up

    def run(self, steps: int) -> Block:
        """Let it take ``steps`` steps."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return self._result()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._reports, self._errors):
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()
        self._kept.close()

    def _result(self) -> Block:
        line = self._reports.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            lines = [text.strip() for text in self._errors if text.strip()]
            self.close()
            raise TrainingError(f"{self._name}: {lines[-1] if lines else 'ended without a word'}")
        return Block(**json.loads(line))


def run(out: Path, say: Say, *, quick: bool = False, cleanrl: Path | None = None) -> list[Row]:
    """Time training and evaluation, write ``training.json``, ``.md``, ``.png``, return the rows.

    Args:
        out: folder to write to.
        say: takes progress.
        quick: one task, few rounds.
        cleanrl: a checkout of CleanRL to time as well.

    Raises:
        TrainingError, PeerEnvironmentError: a subject or its environment cannot run.
    """
    theirs, peers = _cleanrl(cleanrl, say), interpreter(TRAINERS, say)
    rounds, steps = (5, 60) if quick else (12, 100)
    tasks = _TASKS[:1] if quick else _TASKS
    facts = conditions(rounds=rounds, steps_per_round=steps, peers=list(TRAINERS))
    if theirs:
        facts["cleanrl"] = list(CLEANRL)
    found: dict[str, dict[str, Latency]] = {}
    rows: list[Row] = []
    for task in tasks:
        subjects = _subjects(peers, theirs)
        found[task] = _time(subjects, task, rounds, steps, say)
        others = [name for name in subjects if name not in _OURS]
        rows += [
            compare(f"{NAME}/{task}", ours, peer, found[task][ours], found[task][peer])
            for ours in _OURS
            for peer in others
        ]
    mine, other = _EVALUATION
    python = {mine: Path(sys.executable), other: peers}
    players: Subjects = {name: (python[name], what, []) for name, what in _EVALUATION.items()}
    played = _time(players, _TASKS[0], rounds, 10 * steps, say)
    rows.append(compare(f"evaluation/{_TASKS[0]}", mine, other, played[mine], played[other]))
    write(out, NAME, rows, facts, _table(found, played, facts))
    speeds = {task: {n: 1e6 / v.p50 for n, v in times.items()} for task, times in found.items()}
    draw_bars(speeds, "environment steps with an update each, a CPU second", out / f"{NAME}.png")
    return rows


def run_returns(out: Path, say: Say, steps: int, *, cleanrl: Path | None = None) -> None:
    """Train all subjects for the same short number of steps; write their returns.

    Rows of the JSON file are one subject each. Raises as ``run`` does.
    """
    theirs, peers = _cleanrl(cleanrl, say), interpreter(TRAINERS, say)
    facts = conditions(steps=steps, last_episodes=_LAST)
    rows = []
    for task in _RETURN_TASKS:
        for name, (python, what, more) in _subjects(peers, theirs).items():
            say(f"{task}: {name}: {steps} steps")
            worker = Worker(name, python, what, task, more)
            block = worker.run(steps)
            worker.close()
            last = block.returns[-_LAST:]
            rows.append(
                {
                    "bench": f"{RETURNS}/{task}",
                    "subject": name,
                    "mean_return": float(np.mean(last)) if last else float("nan"),
                    "returns": [round(value, 2) for value in last],
                    "cpu_s": round(block.cpu, 1),
                    "conditions": facts,
                }
            )
    write(out, RETURNS, rows, facts, _returns_table(rows, facts))


def _cleanrl(checkout: Path | None, say: Say) -> Subjects:
    """CleanRL's subject, if there is a checkout of it."""
    if checkout is None:
        return {}
    script = checkout / "cleanrl" / "sac_continuous_action.py"
    if not script.is_file():
        raise InputError(f"{script}: --cleanrl: not found; give a checkout of CleanRL")
    return {"CleanRL": (interpreter(CLEANRL, say), "cleanrl", [str(checkout.resolve())])}


def _subjects(peers: Path, more: Subjects) -> Subjects:
    """Interpreter, subject and more arguments of the worker, by name."""
    subjects: Subjects = {name: (Path(sys.executable), what, []) for name, what in _OURS.items()}
    subjects |= {name: (peers, what, []) for name, what in _PEERS.items()}
    return subjects | more


def _time(
    subjects: Subjects,
    task: str,
    rounds: int,
    steps: int,
    say: Say,
) -> dict[str, Latency]:
    """CPU time a step of every subject."""
    workers: dict[str, Worker] = {}
    try:
        for name, (python, what, more) in subjects.items():
            say(f"{task}: warming up {name}")
            workers[name] = Worker(name, python, what, task, more)
        say(f"{task}: timing {rounds} rounds of {steps} steps")
        order, times = list(workers), {name: np.empty((rounds, 1), np.int64) for name in workers}
        shuffle = random.Random(0).shuffle  # noqa: S311  no secrets here
        for index in range(rounds):
            shuffle(order)
            for name in order:
                times[name][index] = round(workers[name].run(steps).cpu / steps * 1e9)
        return {name: summary(values) for name, values in times.items()}
    finally:
        for worker in workers.values():
            worker.close()


def _table(
    found: Mapping[str, Mapping[str, Latency]],
    played: Mapping[str, Latency],
    facts: Mapping[str, Any],
) -> list[str]:
    """Return the Markdown page."""
    lines = ["# Training speed", "", _HOW, ""]
    for task, times in found.items():
        lines += [
            f"## {task}",
            "",
            "| subject | steps a CPU second | CPU ms a step | spread | to SB3 | to sbx |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        for name, time in times.items():
            ratios = [times[peer].p50 / time.p50 for peer in ("Stable-Baselines3", "sbx")]
            lines.append(
                f"| {name} | {1e6 / time.p50:.0f} | {time.p50 / 1e3:.2f} "
                f"| {time.low / 1e3:.2f} to {time.high / 1e3:.2f} "
                f"| {ratios[0]:.2f} | {ratios[1]:.2f} |"
            )
        lines.append("")
    lines += ["![training speed](training.png)", "", "## Evaluation", "", _EVALUATED, ""]
    lines += ["| subject | episodes a CPU second | CPU µs a step |", "|---|---:|---:|"]
    lines += [
        f"| {name} | {1e3 / time.p50:.2f} | {time.p50:.0f} |" for name, time in played.items()
    ]
    lines += ["", *describe(facts)]
    lines.append(f"- {facts['rounds']} rounds of {facts['steps_per_round']} steps")
    lines.append(f"- peers in an environment of their own: {', '.join(facts['peers'])}")
    if "cleanrl" in facts:
        lines.append(f"- CleanRL in another one: {', '.join(facts['cleanrl'])}")
    return lines


def _returns_table(rows: list[dict[str, Any]], facts: Mapping[str, Any]) -> list[str]:
    lines = ["# Returns at equal steps", "", _RETURNS.format(**facts), ""]
    lines += ["| task | subject | mean return | each | CPU s |", "|---|---|---:|---|---:|"]
    for row in rows:
        each = ", ".join(f"{value:.0f}" for value in row["returns"])
        task, mean = row["bench"].partition("/")[2], f"{row['mean_return']:.0f}"
        lines.append(f"| {task} | {row['subject']} | {mean} | {each} | {row['cpu_s']:.0f} |")
    return [*lines, "", *describe(facts)]


_HOW = (
    "Environment steps with one gradient update each, SAC, batch 256, networks of 256-256, one "
    "core. `QAT`: 3-bit weights and activations, 8-bit input, past its statistics phase. "
    "`bfloat16`: `--sac.products bfloat16`. Every library with its own defaults: Stable-Baselines3 "
    "and sbx update the actor at every step, CleanRL at every second, twice, ours at every second, "
    "once; `policy_delay 2` does as ours. One process a subject, one of them running at a time, "
    "block by block in shuffled order. The time is the CPU time of the process, so that other work "
    "on the machine counts little; spread: quartiles of the rounds. `qpolicy bench returns` "
    "compares what short runs reach."
)
_EVALUATED = (
    "Deterministic episodes of 1,000 steps of HalfCheetah: the shipped 3-bit policy through the "
    "integer backend, and an untrained SAC policy of 256-256 by `evaluate_policy`."
)
_RETURNS = (
    "One seed each, {steps} steps, 1 update a step: the mean of the last {last_episodes} training "
    "episodes, exploration noise included. One seed of so short a run says whether a method "
    "learns, not which is better. `qpolicy bench returns` writes this page; it is no part of "
    "`make bench`, since returns do not depend on the machine's load."
)
