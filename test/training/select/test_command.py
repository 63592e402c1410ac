"""`qpolicy select` from end to end on short runs, and what it says of bad input."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import tyro
from sweeps import TEACHER, Inline, MadeUp

from qpolicy_fpga.explore.estimate import hardware_figures
from qpolicy_ros.cli.main import main
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import PolicyError, load_policy
from qpolicy_training.cli.select_args import Args, AxesOptions
from qpolicy_training.cli.select_run import _config, run_sweep
from qpolicy_training.quant.qat_file import load_qat
from qpolicy_training.recipes import distill as distill_module
from qpolicy_training.recipes.config import DistillConfig
from qpolicy_training.recipes.student import StudentConfig
from qpolicy_training.runs.folder import Run
from qpolicy_training.select.config import Axes
from qpolicy_training.select.greedy import greedy
from qpolicy_training.select.ledger import Ledger, Row
from qpolicy_training.select.sweep import Sweep
from qpolicy_training.select.worker import Job, work

pytestmark = pytest.mark.slow

CRITIC = TEACHER.parents[3] / "training" / "checkpoints" / "hopper-fp32.safetensors"
SHORT_LAST = [
    *("--last.learning-starts", "300", "--last.evaluate-every", "400"),
    *("--last.evaluate-episodes", "1", "--last.train-frequency", "1"),
]
EPISODE_STEPS = 200  # the teacher falls in none of its 1000
TINY = DistillConfig(rounds=4, round_steps=300, round_updates=20, evaluate_episodes=1)
SHORT = [
    *("--task", "hopper", "--cost", "bytes", "--axes.hidden", "8", "--axes.b-core", "3", "4"),
    *("--axes.b-in", "6", "--candidates", "2", "--keep", "0.5", "--further", "1"),
    *("--distill.rounds", "3", "--distill.round-steps", "300", "--distill.round-updates", "20"),
    *("--distill.evaluate-episodes", "1", "--rung-episodes", "2", "--snapshot-episodes", "1"),
    *("--exam-episodes", "2", "--episodes", "2", "--finetune", "0"),
]


def _short(patch: pytest.MonkeyPatch, folder: Path) -> None:
    patch.setenv("QPOLICY_RUNS", str(folder / "runs"))
    patch.setattr("qpolicy_training.runs.snapshots.FINAL_EPISODES", 1)
    patch.setattr(gymnasium.spec("Hopper-v4"), "max_episode_steps", EPISODE_STEPS)


@pytest.fixture(autouse=True)
def _own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _short(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished sweep and its selected policy."""
    folder = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        _short(patch, folder)
        assert _select("--floor", "1", "--out", str(folder / "selected.safetensors")) == 0
    return folder


def _select(*options: str) -> int:
    args = tyro.cli(Args, args=[*SHORT, *options], config=(tyro.conf.FlagCreatePairsOff,))
    return run_sweep(args, load_policy(TEACHER), Inline())


def _ledger(folder: Path) -> list[dict[str, Any]]:
    """The rows of the sweep and its candidates."""
    (path,) = folder.glob("runs/*/ledger.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [row for row in rows if row["stage"] != "invocation"]


def test_the_selected_policy_its_module_curve_and_ledger_are_written(swept: Path) -> None:
    out = swept / "selected.safetensors"
    artifact = load_policy(out)
    assert artifact.network is not None
    assert [artifact.network.core_bits, [*artifact.network.hidden]] == [3, [8, 8]]
    assert artifact.provenance["sweep_stages"] == len(_ledger(swept)) - 1
    qat = load_qat(out.with_suffix(".qat.safetensors"))
    assert qat.actor.spec.b_core == 3
    assert out.with_suffix(".csv").read_text().startswith("step,held_out_return")
    (ledger,) = swept.glob("runs/*/ledger.jsonl")
    assert out.with_suffix(".ledger.jsonl").read_text() == ledger.read_text()


def test_the_ledger_has_a_row_for_every_call(tmp_path: Path) -> None:
    made_up = MadeUp(lambda *_: 1.0)
    for options in (("--cpu-minutes", "0.5"), ("--jobs", "2")):
        args = tyro.cli(Args, args=[*SHORT, *options], config=(tyro.conf.FlagCreatePairsOff,))
        assert run_sweep(args, load_policy(TEACHER), made_up) == 1
    (path,) = tmp_path.glob("runs/*/ledger.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    calls = [row for row in rows if row["stage"] == "invocation"]
    assert [(row["cpu_minutes"], row["jobs"]) for row in calls] == [(0.5, 1), (0.0, 2)]
    assert len(made_up.ran) == len(set(made_up.ran)), "the second call went on from the first"


def test_the_ledger_says_of_every_run_what_it_was_and_what_it_took(swept: Path) -> None:
    rows = _ledger(swept)
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
    assert "no candidate passes: the nearest, 8-8 /" in capsys.readouterr().out


def test_the_papers_rule_takes_the_smallest_that_passes_on_each_axis(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _select("--rule", "paper", "--floor", "1", "--axes.b-core", "3", "--further", "1") == 0
    assert "8-8 / 3 / 6 / 8" in capsys.readouterr().out
    assert {row["stage"] for row in _ledger(tmp_path)} == {"sweep", "whole"}


def _by_the_papers_rule(*options: str) -> Row:
    """Sweep by the paper's rule over made-up returns: from 3 core bits on their mean is enough."""
    made_up = MadeUp(lambda shape, _: 100.0 if shape.b_core >= 3 else 1.0)
    args = tyro.cli(
        Args,
        args=[*SHORT, "--rule", "paper", "--floor", "99.9", *options],
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    teacher = load_policy(TEACHER)
    sweep = Sweep(_config(args, teacher), teacher, made_up, hardware_figures)
    with closing(sweep):
        row = greedy(sweep)
        assert row is not None
        return row


def test_the_papers_rule_judges_by_its_own_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its episodes spread, so that no lower bound of the mean would reach the floor."""
    row = _by_the_papers_rule("--axes.b-core", "2", "3")
    assert row.shape.b_core == 3
    assert row.passes
    assert row.required == 99.9
    assert row.bound == pytest.approx(0.1)
    passes = {each["b_core"]: each["passes"] for each in _ledger(tmp_path)[1:]}
    assert passes == {2: False, 3: True}
    said = capsys.readouterr().err
    assert "asked 99.9, mean less that" in said
    assert "bound" not in said


def test_the_papers_rule_has_the_papers_axes_where_none_are_given() -> None:
    axes = AxesOptions().of("paper")
    assert axes.b_core == axes.b_in == tuple(range(2, 9))
    assert axes.hidden[-1] == 256
    assert AxesOptions(hidden=(16,)).of("paper").hidden == (16,)
    assert AxesOptions().of("bound") == Axes()


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


def test_seeds_of_one_shape_end_in_a_table_and_the_best_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--scope", "seeds", "--seeds", "1", "2", "--axes.b-core", "3")
    out = tmp_path / "best.safetensors"
    assert _select(*options, "--out", str(out)) == 0
    exams = [row for row in _ledger(tmp_path) if row["stage"] == "exam"]
    assert [row["seed"] for row in exams] == [1, 2]
    means = [row["mean"] for row in exams]
    said = capsys.readouterr().out
    assert f"interquartile mean {np.mean(means):.1f}, 95 % interval {min(means):.1f} to " in said
    assert "; 2 of 2 seeds, 2 episodes" in said
    facts = load_policy(out).provenance
    assert facts["seed"] == max(exams, key=lambda row: row["mean"])["seed"]
    assert facts["chosen_of_seeds"] == [1, 2]
    assert out.with_suffix(".ledger.jsonl").exists()


def test_the_last_rung_goes_on_by_rl_with_the_teachers_critics(tmp_path: Path) -> None:
    tuned = ["--finetune", "1", "--critic", str(CRITIC), "--last.steps", "400", *SHORT_LAST]
    args = tyro.cli(Args, args=[*SHORT, *tuned], config=(tyro.conf.FlagCreatePairsOff,))
    teacher = load_policy(TEACHER)
    assert run_sweep(args, teacher, Inline()) == 1
    (row,) = [row for row in _ledger(tmp_path) if row["stage"] == "rl"]
    assert row["method"] == "qat"
    assert row["snapshot_step"] == 400
    sweep = Sweep(_config(args, teacher), teacher, Inline(), hardware_figures, 0.0, CRITIC)
    with closing(sweep):
        (tuned,) = [row for row in sweep.ledger.rows if row.stage == "rl"]
        exam = work(sweep.exam(tuned))
    assert exam.hash == tuned.hash
    assert exam.snapshot == tuned.snapshot, "nothing was trained anew"


def test_a_candidate_that_was_trained_further_is_judged_as_it_stands(tmp_path: Path) -> None:
    job = Job(
        config=StudentConfig(
            "distill", "Hopper-v4", "t", (8, 8), 6, 3, 8, 1, distill=TINY, further=(1,)
        ),
        stage="rung1",
        rung=None,
        folder=tmp_path,
        teacher=TEACHER,
        snapshot_episodes=1,
        first_seed=4_000_000,
        episodes=2,
    )
    row = work(job)
    again = work(dataclasses.replace(job, stage="exam", rung=0))
    assert again.snapshot == row.snapshot
    assert again.returns == row.returns


def test_a_candidate_that_diverges_is_a_row_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = distill_module.fit

    def diverge(student: Any, *arguments: Any) -> float:
        loss = fit(student, *arguments)
        return float("nan") if student.spec.b_core == 3 else loss

    monkeypatch.setattr(distill_module, "fit", diverge)
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

    def add_to_a_full_disk(ledger: Ledger, row: Row) -> None:
        with monkeypatch.context() as patch:
            if len(ledger.rows) == 3:
                patch.setattr(os, "fsync", full)
            add(ledger, row)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "add", add_to_a_full_disk)
        with pytest.raises(InputError, match="No space left on device; free some space"):
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
        (["--task", "CartPole-v1"], "action space Discrete is not supported"),
        (["--task", "walker2d", "--teacher", "hopper/fp32"], "policy of 'hopper', but --task is"),
        (["--task", "hopper", "--method", "qat"], "rungs are made for distillation"),
        (["--task", "hopper", "--algorithm", "ddpg"], "belongs to --method qat"),
        (["--task", "hopper", "--critic", "x", "--finetune", "0"], "belongs to the last rung"),
        (["--task", "hopper", "--distill.loss", "divergence"], "give its checkpoint by --critic"),
        (
            ["--task", "hopper", "--critic", str(CRITIC), "--last.critic-width", "64"],
            "11 + 3 inputs and width 64 with --last.critic-norm none; give the teacher's own",
        ),
        (
            ["--task", "hopper", "--critic", str(CRITIC), "--last.critic-norm", "layer"],
            "with --last.critic-norm layer; give the teacher's own",
        ),
        (["--task", "walker2d", "--critic", str(CRITIC)], "holds no critics of 17 + 6 inputs"),
        (
            [
                *("--task", "walker2d", "--critic", str(CRITIC), "--finetune", "0"),
                *("--distill.loss", "divergence"),
            ],
            "holds no FP32 actor with an exploration head",
        ),
        (
            ["--task", "hopper", "--critic", str(TEACHER.parent)],
            "checkpoint: is not a regular file",
        ),
        (["--task", "hopper", "--sac.steps", "9"], "the last rung's options begin with --last"),
        (["--task", "hopper", "--axes.b-core", "1", "2"], "--axes.b-core: (1, 2): give values"),
        (["--task", "hopper", "--axes.b-in", "4", "4"], "a value is given twice"),
        (["--task", "hopper", "--seeds", "1", "1"], "--seeds: (1, 1): give different ones"),
        (["--task", "hopper", "--keep", "1.5"], "--keep: 1.5: give a share between 0 and 1"),
        (["--task", "hopper", "--jobs", "0"], "--jobs: 0 is too small"),
        (["--task", "hopper", "--jobs", "0", "--executor", "ray"], "--jobs: 0 is too small"),
        (["--task", "hopper", "--part", "xc9"], "part: 'xc9' is not known"),
        (["--task", "hopper", "--cpu-minutes", "-1"], "--cpu-minutes: -1.0 is no time"),
        (["--task", "hopper", "--cpu-minutes", "nan"], "--cpu-minutes: nan is no time"),
        (["--task", "hopper", "--floor", "nan"], "--floor: nan: give a finite return"),
        (
            ["--task", "hopper", "--scope", "seeds", "--axes.hidden", "16"],
            "--axes.b-core: (2, 3, 4): --scope seeds trains one shape; give one value",
        ),
    ],
)
def test_bad_input_is_one_line(
    options, expected, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["select", *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("qpolicy select: error: ")
    assert expected in error
    assert not list(tmp_path.glob("runs/*")), "no folder is left behind"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ledger.jsonl", "line 1: is not a row of a ledger; delete this line"),
        ("baseline.json", "cannot be read: .* delete it: what it held is made again"),
        ("costs.json", "cannot be read: .* delete it"),
    ],
)
def test_a_damaged_file_is_named(name: str, expected: str) -> None:
    args = tyro.cli(Args, args=SHORT, config=(tyro.conf.FlagCreatePairsOff,))
    teacher = load_policy(TEACHER)
    with closing(Run("hopper-select", _config(args, teacher))) as run:
        (run.folder / name).write_text('{"stage": ')
    with pytest.raises(InputError, match=rf"{name}: .*{expected}"):
        run_sweep(args, teacher, Inline())


def test_two_sweeps_do_not_share_a_folder() -> None:
    args = tyro.cli(Args, args=SHORT, config=(tyro.conf.FlagCreatePairsOff,))
    teacher = load_policy(TEACHER)
    in_use = pytest.raises(PolicyError, match="in use by another process; wait for it or stop it")
    with closing(Run("hopper-select", _config(args, teacher))), in_use:
        run_sweep(args, teacher, Inline())
