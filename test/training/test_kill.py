"""A run that is killed at random points, over and over, ends as if nobody had touched it."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from policy_builders import random_baseline
from tqdm import tqdm

from qpolicy_ros.sim import Simulation
from qpolicy_training.recipes.config import DistillConfig
from qpolicy_training.recipes.student import StudentConfig, train_student
from qpolicy_training.runs import snapshots
from qpolicy_training.runs.curve import read_curve
from qpolicy_training.runs.state import load_state

ROUNDS = DistillConfig(
    rounds=6, round_steps=60, round_updates=6, batch=16, evaluate_episodes=1
)  # evaluated from the third round on
KILLS = 4  # of one run
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


@pytest.fixture(scope="module")
def baseline():
    contract = Simulation("hopper").contract
    return random_baseline(0, len(contract.observation), (8,), len(contract.action))


@pytest.fixture
def train(baseline, monkeypatch):
    """Train a student to the end in a folder of runs; return the run's folder and winner."""
    monkeypatch.setattr(snapshots, "FINAL_EPISODES", 1)

    def run_to_the_end(runs: Path):
        os.environ["QPOLICY_RUNS"] = str(runs)
        config = StudentConfig(
            task="hopper", seed=1, teacher="test", method="distill", hidden=(8,),
            b_in=4, b_core=3, b_out=8, distill=ROUNDS, fan_in=(3, 0),
        )  # fmt: skip
        _, run, winner = train_student(config, baseline, None)
        run.close()
        return run.folder, winner

    monkeypatch.setenv("QPOLICY_RUNS", "")
    return run_to_the_end


def killed_after(seconds: float, work) -> bool:
    """Run ``work`` in a child, kill it after ``seconds``; return whether it was still at work."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        # tqdm's lock is shared with the parent, which would wait for ever if this one dies with it.
        tqdm.set_lock(threading.RLock())
        try:
            work()
        except BaseException:  # noqa: BLE001  the parent sees it in the status
            os._exit(1)
        os._exit(0)
    end = time.monotonic() + seconds
    ended, status = 0, 0
    while not ended and time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.002)
    if not ended:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed"
    return os.WIFSIGNALED(status)


def contents(folder: Path):
    """All that a run keeps: learning curve, candidates with their tensors, the last state."""
    varying = {"seconds", "cpu_seconds", "resumes"}
    files = {}
    for path in folder.glob("*.safetensors"):
        tensors, meta = load_state(path)
        meta = {key: value for key, value in meta.items() if key not in varying}
        meta["curve"] = [row[:2] for row in meta.get("curve", [])]
        values = {name: value.numpy().tobytes() for name, value in tensors.items()}
        files[path.name] = (meta, values)
    return files, read_curve(folder / "curve.csv")


def check_whole(runs: Path) -> None:
    """Every file that has its final name can be read."""
    for path in runs.glob("*/*.safetensors"):
        load_state(path)
    for path in runs.glob("*/curve.csv"):
        if path.read_text() != "step,held_out_return,seconds\n":  # nothing was evaluated yet
            assert all(np.isfinite(value) for _, value in read_curve(path))
    for path in runs.glob("*/config.json"):
        json.loads(path.read_text())


def share_left(runs: Path) -> float:
    """How much of a run is still to be done, by its checkpoint."""
    done = [load_state(path)[1]["done"] for path in runs.glob("*/checkpoint.safetensors")]
    return 1 - sum(done) / ROUNDS.rounds


def test_kills_at_random_points_change_nothing(train, tmp_path, full):
    begin = time.monotonic()
    folder, winner = train(tmp_path / "unbroken")
    length = time.monotonic() - begin
    expected = contents(folder)
    assert len(expected[1]) == 3, "rounds that were evaluated"
    rng = random.Random(11)
    wanted = 100 if full else 8
    kills = attempts = cases = 0
    while kills < wanted and attempts < 20 * wanted:
        runs = tmp_path / str(cases)
        cases += 1
        at_work = True
        for _ in range(KILLS):
            # An attempt that ends before its kill has ended the run: the next is another one.
            if at_work and kills < wanted:
                share, begin = share_left(runs), time.monotonic()
                after = rng.uniform(0.0, length * share)
                at_work = killed_after(after, lambda runs=runs: train(runs))
                kills += at_work
                attempts += 1
                if not at_work:  # the first run may have been a slow one
                    length = min(length, (time.monotonic() - begin) / share)
                check_whole(runs)
        folder, chosen = train(runs)
        assert contents(folder) == expected
        assert (chosen.step, chosen.selection_return) == (winner.step, winner.selection_return)
        assert not list(folder.glob(".*.safetensors.*")), "half written files"
    assert kills == wanted, f"{attempts} attempts"


def test_a_kill_loses_no_finished_run(train, tmp_path):
    folder, _ = train(tmp_path)
    expected = contents(folder)
    killed_after(0.3, lambda: train(tmp_path))
    check_whole(tmp_path)
    assert contents(folder) == expected
