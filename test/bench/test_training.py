"""The training benchmark: subjects behind a gate, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qpolicy_ros.bench import environments
from qpolicy_ros.bench.environments import PeerEnvironmentError, interpreter
from qpolicy_ros.bench.train_worker import WARM_UP
from qpolicy_ros.bench.training import TrainingError, Worker
from qpolicy_ros.cli.main import main

PYTHON = Path(sys.executable)


def test_a_subject_takes_as_many_steps_as_it_is_let():
    worker = Worker("ours", PYTHON, "evaluate:ours", "HalfCheetah-v4")
    try:
        # Episodes of 1,000 steps: the warm-up ended one and left 200 steps of the next.
        assert WARM_UP == 1200
        assert worker.run(700).returns == []
        block = worker.run(1000)
    finally:
        worker.close()
    assert len(block.returns) == 1
    assert block.returns[0] > 1000  # the shipped policy runs; a random one does not
    assert block.cpu > 0


def test_our_training_runs_behind_the_gate():
    # The first updates are at step 500.
    worker = Worker("ours", PYTHON, "ours:qat:bfloat16", "Hopper-v4", warm_up=520)
    try:
        assert worker.run(10).cpu > 0
    finally:
        worker.close()


def test_a_subject_that_fails_is_named_in_one_line():
    with pytest.raises(TrainingError, match=r"^nobody: .*no_such_task"):
        Worker("nobody", PYTHON, "evaluate:ours", "no_such_task")


def test_an_environment_that_is_complete_is_used_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    made = []

    def install(command, **_):
        made.append(command)
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)

    monkeypatch.setattr(subprocess, "run", install)
    monkeypatch.setattr(environments, "_answers", lambda _: False)
    python = interpreter(("some==1",), lambda _: None)
    assert interpreter(("some==1",), lambda _: None) == python
    assert len(made) == 2
    assert "some==1" in made[1]
    assert interpreter(("some==2",), lambda _: None) != python


def test_an_environment_that_cannot_be_made_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    monkeypatch.setattr(environments, "_answers", lambda _: False)

    def refuse(command, **_):
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)
            return
        raise subprocess.CalledProcessError(1, command, stderr="...\nERROR: no such package\n")

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(PeerEnvironmentError, match=r"cannot be made: ERROR: no such package$"):
        interpreter(("nothing==1",), lambda _: None)


def test_a_checkout_that_is_none_is_refused_at_once(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path / "runs"))
    wanted = ["bench", "training", "--cleanrl", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(wanted) == 2
    assert "sac_continuous_action.py: --cleanrl: not found" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists(), "no peer's environment was made for it"
