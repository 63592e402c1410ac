"""A worker that is killed: nothing is lost and nothing is done twice, on processes and on Ray."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import tyro
from sweeps import TEACHER, Inline

from qpolicy_ros.policy import load_policy
from qpolicy_training.cli.select_args import Args
from qpolicy_training.cli.select_run import run_sweep
from qpolicy_training.recipes.config import DistillConfig
from qpolicy_training.recipes.student import StudentConfig
from qpolicy_training.runs.state import load_state
from qpolicy_training.select import executors
from qpolicy_training.select.executors import Executor, LocalExecutor, RayExecutor, report_death
from qpolicy_training.select.ledger import Row
from qpolicy_training.select.worker import Job, work

SWEEP = [
    *("--task", "hopper", "--cost", "bytes", "--axes.hidden", "8", "--axes.b-core", "3", "4"),
    *("--axes.b-in", "6", "--candidates", "2", "--keep", "0.5", "--further", "1", "--floor", "1"),
    *("--distill.rounds", "4", "--distill.round-steps", "300", "--distill.round-updates", "200"),
    *("--distill.evaluate-episodes", "1", "--rung-episodes", "2", "--snapshot-episodes", "1"),
    *("--exam-episodes", "2", "--episodes", "2"),
]
COMMAND = ("qpolicy", "select", "--task", "hopper")
SHORT = DistillConfig(rounds=4, round_steps=300, round_updates=60, evaluate_episodes=1)


def _jobs(folder: Path) -> list[Job]:
    return [
        Job(
            config=StudentConfig("distill", "Hopper-v4", "t", (8, 8), 6, 3, 8, seed, distill=SHORT),
            stage="rung0",
            rung=0,
            folder=folder,
            teacher=TEACHER,
            snapshot_episodes=1,
            first_seed=4_000_000,
            episodes=2,
            command=COMMAND,
        )
        for seed in (1, 2)
    ]


def _kill_after_a_round(
    folder: Path, count: int, pids: Any, done: list[int], states: str = "*/distill.safetensors"
) -> None:
    """Kill one of ``count`` workers as soon as each of them has saved a round."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and not done:
        saved = len(list(folder.glob(states)))
        if saved >= count and (found := pids()):
            os.kill(found[0], signal.SIGKILL)
            done.append(found[0])
        time.sleep(0.005)


def _rows(executor: Executor, count: int, folder: Path, pids: Any) -> list[Row]:
    killed: list[int] = []
    killer = threading.Thread(target=_kill_after_a_round, args=(folder, count, pids, killed))
    killer.start()
    with closing(executor):
        rows = sorted(executor.run(_jobs(folder)), key=lambda row: row.seed)
    killer.join()
    assert killed, "no worker was killed"
    return rows


def _check(rows: list[Row], folder: Path, unbroken: Path) -> None:
    assert [row.seed for row in rows] == [1, 2]
    for row, job in zip(rows, _jobs(unbroken), strict=True):
        expected = work(job)
        assert row.returns == expected.returns
        (state,) = folder.glob(f"*{job.hash}/distill.safetensors")
        assert load_state(state)[1]["done"] == 4
        made = json.loads((state.parent / "config.json").read_text())
        assert made["command"] == list(COMMAND), "in a worker's process too"
    assert sum(row.interruptions for row in rows) >= 1, "it went on, and did not begin again"


def test_a_killed_process_is_replaced_and_its_run_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    executor = LocalExecutor(1)
    rows = _rows(
        executor, 1, folder, lambda: [*((executor._pool and executor._pool._processes) or {})]
    )
    _check(rows, folder, tmp_path / "unbroken")


def _ray_workers() -> list[int]:
    """The processes that are at a job, children of this one."""
    children = psutil.Process().children(recursive=True)
    found = []
    for each in children:
        with contextlib.suppress(psutil.Error):  # it may have ended meanwhile
            if "ray::work" in " ".join(each.cmdline()):
                found.append(each.pid)
    return found


def _sweep(executor: Executor, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Run a small sweep; return its ledger's stages of candidates."""
    monkeypatch.setenv("QPOLICY_RUNS", str(folder))
    args = tyro.cli(Args, args=SWEEP, config=(tyro.conf.FlagCreatePairsOff,))
    with closing(executor):
        assert run_sweep(args, load_policy(TEACHER), executor) == 0
    (path,) = folder.glob("*/ledger.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [row for row in rows if "hidden" in row]


def test_a_killed_ray_worker_loses_nothing_of_a_sweep(
    tmp_path: Path, full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not full:
        pytest.skip("starts a Ray cluster; `make test-full` runs it")
    killed: list[int] = []
    folder = tmp_path / "killed"
    folder.mkdir()
    arguments = (folder, 2, _ray_workers, killed, "*/*/distill.safetensors")
    killer = threading.Thread(target=_kill_after_a_round, args=arguments)
    killer.start()
    rows = _sweep(RayExecutor(None, 2), folder, monkeypatch)
    killer.join()
    assert killed, "no worker was killed"
    assert sum(row["interruptions"] for row in rows) >= 1, "it went on, and did not begin again"
    found = {(row["hash"], row["stage"]): row for row in rows}
    assert len(found) == len(rows), "nothing was run twice"
    expected = _sweep(Inline(), tmp_path / "unbroken", monkeypatch)
    assert found.keys() == {(row["hash"], row["stage"]) for row in expected}
    for row in expected:
        other = found[row["hash"], row["stage"]]
        same = ("returns", "required", "bound", "passes", "snapshot", "cost")
        assert {name: other[name] for name in same} == {name: row[name] for name in same}


def test_workers_that_die_again_and_again_end_the_sweep(tmp_path: Path) -> None:
    jobs = _jobs(tmp_path)
    for deaths in range(1, executors.MAX_DEATHS + 1):
        report_death(deaths, jobs)
    with pytest.raises(executors.InputError, match=r"died 4 times in a row .* fewer --jobs"):
        report_death(executors.MAX_DEATHS + 1, jobs)
