"""The table of RL options: what is trained, what is kept, what it says."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace

import pytest

from qpolicy_ros.bench import algorithms
from qpolicy_ros.bench.training import TrainingError
from qpolicy_ros.cli.main import main

STEPS = 1000


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """Commands that were run; each leaves a file that says what it returned."""
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path / "runs"))
    commands = []
    run = subprocess.run

    def train(command, **options):
        if "train" not in command:  # the revision of the page's conditions
            return run(command, **options)
        commands.append(command)
        out = algorithms.Path(command[-1])
        algorithms.make_folder(algorithms.Path(options["env"]["QPOLICY_RUNS"]))
        out.write_text(str(len(commands)))
        return SimpleNamespace(returncode=0, stderr="")

    def load(path):
        if not path.exists():
            raise algorithms.InputError(str(path))
        returns = {"fp32": {"mean": float(path.read_text()), "std": 1.0}}
        facts = {"steps_trained": STEPS, "returns": returns, "git_revision": "0123456789ab"}
        return SimpleNamespace(provenance=facts)

    monkeypatch.setattr(subprocess, "run", train)
    monkeypatch.setattr(algorithms, "load_policy", load)
    return commands


def _run(tmp_path, seeds):
    said = []
    tasks = ("hopper",)
    rows = algorithms.run(tmp_path, said.append, 2.0, tasks=tasks, seeds=seeds)
    return rows, said


def test_every_option_gets_the_same_time_and_every_seed_counts(trained, tmp_path):
    rows, _ = _run(tmp_path, (1, 2))
    count = len(algorithms.VARIANTS)
    assert len(rows) == len(trained) == 2 * count
    assert all(c[c.index("--cpu-minutes") + 1] == "2" for c in trained)
    page = (tmp_path / "algorithms.md").read_text()
    # The first option was trained first and behind all others of the first seed.
    first = next(iter(algorithms.VARIANTS))
    assert f"| {first} | {(1 + 1 + count) / 2:,.0f} (1 to {1 + count}; 1 k) |" in page
    assert "trained at the revisions 0123456789ab." in page
    assert [row["seed"] for row in json.loads((tmp_path / "algorithms.json").read_text())]
    assert not [p for p in tmp_path.glob("runs/*/*") if p.is_dir()], "replay buffers are gone"


def test_what_is_trained_is_not_trained_again(trained, tmp_path):
    _run(tmp_path, (1,))
    before = len(trained)
    _run(tmp_path, (1, 2))
    assert len(trained) == 2 * before


def test_rows_of_other_seeds_stay(trained, tmp_path):
    _run(tmp_path, (1, 2))
    algorithms.run(tmp_path, print, 2.0, tasks=("hopper",), seeds=(2, 3))
    rows = json.loads((tmp_path / "algorithms.json").read_text())
    assert [row["seed"] for row in rows] == sorted([1, 2, 3] * len(algorithms.VARIANTS))
    page = (tmp_path / "algorithms.md").read_text()
    assert "mean of 3 seeds" in page
    algorithms.run(tmp_path, print, 3.0, tasks=("hopper",), seeds=(4,))  # another time
    rows = json.loads((tmp_path / "algorithms.json").read_text())
    assert {row["seed"] for row in rows} == {4}
    assert len(trained) == 4 * len(algorithms.VARIANTS)


@pytest.mark.parametrize("seeds", [["1", "1"], ["-1"]])
def test_seeds_are_checked_first(seeds, capsys):
    assert main(["bench", "algorithms", "--seeds", *seeds]) == 2
    assert f"--seeds: {' '.join(seeds)}; give different ones" in capsys.readouterr().err


def test_a_run_that_fails_is_named_in_one_line(trained, tmp_path, monkeypatch):
    failed = SimpleNamespace(returncode=2, stderr="progress\n\nqpolicy train: error: disk full\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(TrainingError, match=r"--task hopper .*: qpolicy train: error: disk full$"):
        _run(tmp_path, (1,))
    assert not trained


def test_no_time_is_refused(capsys):
    assert main(["bench", "algorithms", "--minutes", "0"]) == 2
    assert "--minutes: 0.0 is no time; give CPU minutes above 0" in capsys.readouterr().err
