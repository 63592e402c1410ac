"""Options with which a run could not end well are refused before it begins."""

from __future__ import annotations

import pytest

from qpolicy_ros.cli.main import main

HUGE = str(10**24)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["train", "--task", "hopper", "--seed", HUGE], f"--seed: {HUGE} is too large; give 92"),
        (["train", "--task", "hopper", "--hidden", "8", HUGE], "give a width from 1 to 16384"),
        (["train", "--task", "hopper", "--sac.batch", HUGE], "--sac.batch: 1000"),
        (["train", "--task", "hopper", "--sac.critic-width", HUGE], "give 16384 at most"),
        (["train", "--task", "hopper", "--sac.steps", HUGE], "give 1000000000 at most"),
        (["select", "--task", "hopper", "--seeds", "1", HUGE], f"--seed: {HUGE} is too large"),
        (["export", "hopper", "--format", "qonnx", "--observations", HUGE], "give 1000000 at most"),
    ],
)
def test_a_number_that_no_memory_holds_is_refused(options, wrong, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path / "runs"))
    assert main([*options, "--out", str(tmp_path / "made.safetensors")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"qpolicy {options[0]}: error: ")
    assert wrong in error
    assert not list(tmp_path.iterdir())


DDPG = ["train", "--task", "hopper", "--algorithm", "ddpg"]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["train", "--sac.critic-width", "0"], "--sac.critic-width: 0 is too small"),
        (["train", "--sac.critic-width", "20000"], "--sac.critic-width: 20000 is too large; give"),
        (["train", "--sac.reward-scale", "0"], "--sac.reward-scale: 0.0 is too small; give a v"),
        (["train", "--sac.reward-scale", "nan"], "--sac.reward-scale: nan is too small; give a"),
        (["train", "--sac.reward-scale", "inf"], "--sac.reward-scale: inf is too large; give 1"),
        ([*DDPG, "--ddpg.reward-scale", "0.1"], "--ddpg.reward-scale: 0.1 is SAC's alone; leav"),
        (["select", "--last.steps", "-5"], "--last.steps: -5 is too small"),
        ([*DDPG, "--ddpg.critic-norm", "layer"], "--ddpg.critic-norm: layer is SAC's alone"),
        ([*DDPG, "--ddpg.products", "bfloat16"], "--ddpg.products: bfloat16 is SAC's alone"),
        ([*DDPG, "--ddpg.average", "9"], "--ddpg.average: 9 is SAC's alone; leave it out"),
    ],
)
def test_critics_that_cannot_be_are_refused(options, wrong, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path / "runs"))
    command, *more = options
    task = [] if "--task" in more else ["--task", "hopper"]
    assert main([command, *task, *more, "--out", str(tmp_path / "made.safetensors")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"qpolicy {command}: error: --")
    assert wrong in error
    assert not list(tmp_path.iterdir())


def test_a_place_where_nothing_can_be_written_is_refused(tmp_path, capsys):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "x.safetensors"
    assert main(["train", "--task", "hopper", "--out", str(out)]) == 2
    wrong = f"--out: {tmp_path / 'file'}: folder: a file has this name; give another folder"
    assert wrong in capsys.readouterr().err
