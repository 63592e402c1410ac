"""A worker that is killed: nothing is lost and nothing is done twice, on processes and on Ray."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sweeps import TEACHER

from qpolicy_training.distill import DistillConfig
from qpolicy_training.select import executors
from qpolicy_training.select.executors import Executor, LocalExecutor, RayExecutor, report_death
from qpolicy_training.select.worker import Job, work
from qpolicy_training.state import load_state
from qpolicy_training.student import StudentConfig

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
        )
        for seed in (1, 2)
    ]


def _kill_after_a_round(folder: Path, count: int, pids: Any, done: list[int]) -> None:
    """Kill one of ``count`` workers as soon as each of them has saved a round."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and not done:
        saved = len(list(folder.glob("*/distill.safetensors")))
        if saved >= count and (found := pids()):
            os.kill(found[0], signal.SIGKILL)
            done.append(found[0])
        time.sleep(0.005)


def _rows(executor: Executor, count: int, folder: Path, pids: Any) -> list[dict[str, Any]]:
    killed: list[int] = []
    killer = threading.Thread(target=_kill_after_a_round, args=(folder, count, pids, killed))
    killer.start()
    with closing(executor):
        rows = sorted(executor.run(_jobs(folder)), key=lambda row: row["seed"])
    killer.join()
    assert killed, "no worker was killed"
    return rows


def _check(rows: list[dict[str, Any]], folder: Path, unbroken: Path) -> None:
    assert [row["seed"] for row in rows] == [1, 2]
    for row, job in zip(rows, _jobs(unbroken), strict=True):
        expected = work(job)
        assert row["returns"] == expected["returns"]
        (state,) = folder.glob(f"*{job.hash}/distill.safetensors")
        assert load_state(state)[1]["done"] == 4
    assert sum(row["interruptions"] for row in rows) >= 1, "it went on, and did not begin again"


def test_a_killed_process_is_replaced_and_its_run_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    executor = LocalExecutor(1)
    rows = _rows(
        executor, 1, folder, lambda: [*((executor._pool and executor._pool._processes) or {})]
    )
    _check(rows, folder, tmp_path / "unbroken")


def test_a_killed_ray_worker_is_replaced_and_its_run_goes_on(tmp_path: Path, full: bool) -> None:
    if not full:
        pytest.skip("starts a Ray cluster; `make test-full` runs it")
    pytest.importorskip("ray")
    psutil = pytest.importorskip("psutil")

    def workers() -> list[int]:
        children = psutil.Process().children(recursive=True)
        return [each.pid for each in children if "ray::work" in " ".join(each.cmdline())]

    folder = tmp_path / "killed"
    folder.mkdir()
    rows = _rows(RayExecutor(None, 2), 2, folder, workers)
    _check(rows, folder, tmp_path / "unbroken")


def test_workers_that_die_again_and_again_end_the_sweep(tmp_path: Path) -> None:
    jobs = _jobs(tmp_path)
    for deaths in range(1, executors.MAX_DEATHS + 1):
        report_death(deaths, jobs)
    with pytest.raises(executors.PolicyError, match=r"died 4 times in a row .* fewer --jobs"):
        report_death(executors.MAX_DEATHS + 1, jobs)
