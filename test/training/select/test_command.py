"""`qpolicy select` from end to end on short runs, and what it says of bad input."""

from __future__ import annotations

import errno
import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro
from sweeps import TEACHER, Inline, MadeUp

from qpolicy_ros.cli.main import main
from qpolicy_ros.policy import PolicyError, load_policy
from qpolicy_training import distill as distill_module
from qpolicy_training.cli_select import Args, _config, run_sweep
from qpolicy_training.qat_file import load_qat
from qpolicy_training.run import Run
from qpolicy_training.select.ledger import Ledger

SHORT = [
    *("--task", "hopper", "--cost", "bytes", "--axes.hidden", "8", "--axes.b-core", "3", "4"),
    *("--axes.b-in", "6", "--candidates", "2", "--keep", "0.5", "--further", "1"),
    *("--distill.rounds", "3", "--distill.round-steps", "300", "--distill.round-updates", "20"),
    *("--distill.evaluate-episodes", "1", "--rung-episodes", "2", "--snapshot-episodes", "1"),
    *("--exam-episodes", "2", "--episodes", "2"),
]


@pytest.fixture(autouse=True)
def _short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr("qpolicy_training.selection.FINAL_EPISODES", 1)


def _select(*options: str) -> int:
    args = tyro.cli(Args, args=[*SHORT, *options], config=(tyro.conf.FlagCreatePairsOff,))
    return run_sweep(args, load_policy(TEACHER), Inline())


def _ledger(folder: Path) -> list[dict[str, Any]]:
    (path,) = folder.glob("runs/*/ledger.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_selected_policy_its_module_curve_and_ledger_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "selected.safetensors"
    assert _select("--floor", "1", "--out", str(out), "--json") == 0
    result = json.loads(capsys.readouterr().out)
    artifact = load_policy(out)
    assert artifact.network is not None
    assert result["function_hash"] == artifact.function_hash
    assert [artifact.network.core_bits, [*artifact.network.hidden]] == [3, [8, 8]]
    qat = load_qat(out.with_suffix(".qat.safetensors"))
    assert qat.actor.spec.b_core == 3
    assert out.with_suffix(".csv").read_text().startswith("step,held_out_return")
    assert out.with_suffix(".ledger.jsonl").read_text() == "".join(
        json.dumps(row, sort_keys=True) + "\n" for row in _ledger(tmp_path)
    )


def test_the_ledger_says_of_every_run_what_it_was_and_what_it_took(tmp_path: Path) -> None:
    _select("--floor", "1")
    rows = _ledger(tmp_path)
    assert rows[0]["stage"] == "sweep"
    assert rows[0]["config"]["floor"] == 1.0
    for row in rows[1:]:
        assert row["cpu_seconds"] > 0
        assert len(row["returns"]) == row["episodes"]
        assert row["mean"] == pytest.approx(np.mean(row["returns"]), abs=1e-3)
        assert row["cost"]["bytes"] == -(-row["cost"]["macs"] * row["b_core"] // 8)
    seeds = [(row["stage"], row["first_seed"]) for row in rows[1:]]
    assert dict(seeds) == {"rung0": 4_000_000, "rung1": 4_100_000, "exam": 5_000_000}


def test_without_a_passing_candidate_the_status_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert _select() == 1
    assert "no candidate passes (nearest: 8-8 /" in capsys.readouterr().out


def test_the_papers_rule_takes_the_smallest_that_passes_on_each_axis(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _select("--rule", "paper", "--floor", "1", "--axes.b-core", "3", "--further", "1") == 0
    assert "8-8 / 3 / 6 / 8" in capsys.readouterr().out
    assert {row["stage"] for row in _ledger(tmp_path)} == {"sweep", "whole"}


def test_a_scope_trains_two_to_eight_bits_there_and_the_rest_at_eight(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made_up = MadeUp(lambda *_: 1.0)
    options = ("--scope", "input", "--method", "qat", "--algorithm", "ddpg", "--json")
    args = tyro.cli(Args, args=[*SHORT, *options], config=(tyro.conf.FlagCreatePairsOff,))
    assert run_sweep(args, load_policy(TEACHER), made_up) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    bits = [(row["b_in"], row["b_core"], row["b_out"]) for row in runs]
    assert bits == [(value, 8, 8) for value in range(2, 9)]


def test_a_candidate_that_diverges_is_a_row_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = distill_module._fit

    def diverge(state, *arguments):
        loss = fit(state, *arguments)
        return float("nan") if state.student.spec.b_core == 3 else loss

    monkeypatch.setattr(distill_module, "_fit", diverge)
    assert _select("--floor", "1", "--axes.b-core", "3", "8") == 0
    errors = [row for row in _ledger(tmp_path) if "error" in row]
    assert [row["b_core"] for row in errors] == [3]
    assert "the run diverged; the round before is kept" in errors[0]["error"]


def test_a_full_disk_ends_the_sweep_and_leaves_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Ledger.add

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def add_to_a_full_disk(ledger: Ledger, row: dict[str, Any]) -> None:
        with monkeypatch.context() as patch:
            if len(ledger.rows) == 2:
                patch.setattr(os, "fsync", full)
            add(ledger, row)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "add", add_to_a_full_disk)
        with pytest.raises(PolicyError, match="No space left on device; free some space"):
            _select()
    assert [row["stage"] for row in _ledger(tmp_path)] == ["sweep", "rung0"]
    trained = {path.name for path in tmp_path.glob("runs/*/rows/*")}
    assert len(trained) == 2, "the row that found no place is kept by its run"
    assert _select() == 1
    rows = [(row["hash"], row["stage"]) for row in _ledger(tmp_path)]
    assert len(rows) == len(set(rows)) == 4


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--task", "hoper"], "'hoper' is not known"),
        (["--task", "Reacher-v4"], "Reacher-v4 has no FP32 policy; train one with"),
        (["--task", "walker2d", "--teacher", "hopper/fp32"], "policy of 'hopper', but --task is"),
        (["--task", "hopper", "--method", "qat"], "rungs are made for distillation"),
        (["--task", "hopper", "--algorithm", "ddpg"], "belongs to --method qat"),
        (["--task", "hopper", "--critic", "x"], "give --finetune too"),
        (["--task", "hopper", "--axes.b-core", "1", "2"], "--axes.b-core: (1, 2): give values"),
        (["--task", "hopper", "--axes.b-in", "4", "4"], "a value is given twice"),
        (["--task", "hopper", "--keep", "1.5"], "--keep: 1.5: give a share between 0 and 1"),
        (["--task", "hopper", "--jobs", "0"], "--jobs: 0 is too small"),
        (["--task", "hopper", "--part", "xc9"], "part: 'xc9' is not known"),
        (["--task", "hopper", "--cpu-minutes", "-1"], "--cpu-minutes: -1.0 is below 0"),
    ],
)
def test_bad_input_is_one_line(options, expected, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["select", *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("qpolicy select: error: ")
    assert expected in error


def test_two_sweeps_do_not_share_a_folder() -> None:
    args = tyro.cli(Args, args=SHORT, config=(tyro.conf.FlagCreatePairsOff,))
    teacher = load_policy(TEACHER)
    in_use = pytest.raises(PolicyError, match="in use by another process; wait for it or stop it")
    with closing(Run("hopper-select", _config(args, teacher))), in_use:
        run_sweep(args, teacher, Inline())
