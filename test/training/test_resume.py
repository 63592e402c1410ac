"""A killed run goes on exactly; a light checkpoint goes on warm; damage is named."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import math
import multiprocessing
import os
import shutil
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
from training_child import train_in_child

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import PolicyError
from qpolicy_training.experience.replay import Batch
from qpolicy_training.recipes.teacher import TeacherConfig, train_teacher
from qpolicy_training.rl.config import SacConfig
from qpolicy_training.rl.fast_sac import FastLearner
from qpolicy_training.runs import checkpoint as run_module
from qpolicy_training.runs.config import config_hash
from qpolicy_training.runs.curve import read_curve
from qpolicy_training.runs.folder import Run
from qpolicy_training.runs.progress import Progress
from qpolicy_training.runs.state import load_state, save_state

pytestmark = pytest.mark.slow

SHORT = SacConfig(
    steps=1500, learning_starts=300, evaluate_every=250, evaluate_episodes=1, critic_width=32
)
CONFIG = TeacherConfig(task="hopper", seed=3, hidden=(32, 32), sac=SHORT)

# Children are forked from a process that imports torch once, and has computed nothing.
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload([train_teacher.__module__])


def _child(runs: Path) -> BaseProcess:
    child = FORKED.Process(target=train_in_child, args=(CONFIG, runs))
    child.start()
    return child


def _end(child: BaseProcess) -> int | None:
    """Wait for its exit status."""
    child.join(timeout=300)
    return child.exitcode


def _folder(runs: Path) -> Path:
    return runs / f"hopper-fp32-sac-{config_hash(CONFIG)}"


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("unbroken")
    assert _end(_child(runs)) == 0
    return _folder(runs)


def _curve_values(folder: Path) -> list[tuple[int, float]]:
    return read_curve(folder / "curve.csv")


def test_a_killed_run_resumes_exactly(unbroken: Path, tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    child = _child(tmp_path)
    deadline = time.monotonic() + 120
    while not (folder / "candidate_000000750.safetensors").exists():
        assert child.is_alive(), "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.kill()
    child.join()
    stopped_at = load_state(folder / "checkpoint.safetensors")[1]["step"]
    assert 300 < stopped_at < 1500
    assert _end(_child(tmp_path)) == 0

    assert _curve_values(folder) == _curve_values(unbroken)
    tensors, meta = load_state(folder / "checkpoint.safetensors")
    expected, _ = load_state(unbroken / "checkpoint.safetensors")
    assert meta["resumes"] == [{"step": stopped_at, "kind": "exact"}]
    assert tensors.keys() == expected.keys()
    for name, value in tensors.items():
        assert np.array_equal(value.numpy(), expected[name].numpy()), name


def test_a_light_checkpoint_resumes_warm(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    light = tmp_path / "light.safetensors"
    tensors, meta = load_state(unbroken / "checkpoint.safetensors")
    save_state(light, tensors, {**meta, "step": 900})
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    monkeypatch.setattr("qpolicy_training.runs.snapshots.FINAL_EPISODES", 1)
    _, run, _ = train_teacher(CONFIG, resume_from=light)
    run.close()
    assert run.resumes == [{"step": 900, "kind": "warm"}]
    final = load_state(run.checkpoint_path)[1]
    assert final["step"] == 1500
    assert final["replay_rows"] == 600, "only what was collected after the warm resume"
    assert final["updates"] > meta["updates"]


def test_a_run_can_be_finished_as_it_stands(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors, meta = load_state(unbroken / "checkpoint.safetensors")
    folder = _folder(tmp_path)
    shutil.copytree(unbroken, folder)
    before = [row for row in meta["curve"] if row[0] <= 900]
    save_state(folder / "checkpoint.safetensors", tensors, {**meta, "step": 900, "curve": before})
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    monkeypatch.setattr("qpolicy_training.runs.snapshots.FINAL_EPISODES", 1)
    _, run, winner = train_teacher(CONFIG, finish=True)
    run.close()
    assert load_state(run.checkpoint_path)[1]["step"] == 900
    assert run.curve[-1][0] == 750
    assert read_curve(folder / "curve.csv")[-1][0] == 750, "what came after the checkpoint is gone"
    assert winner.step in meta["candidates"] or str(winner.step) in meta["candidates"]


def test_a_run_ends_when_its_processor_time_is_used_up_and_goes_on_exactly(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    monkeypatch.setattr("qpolicy_training.runs.snapshots.FINAL_EPISODES", 1)
    with monkeypatch.context() as patch:
        # A second an episode: past the first evaluation, before the last step.
        seconds = itertools.count()
        patch.setattr(Progress, "count_cpu", lambda _self: float(next(seconds)))
        _, run, _ = train_teacher(CONFIG, cpu_seconds=40.0)
        run.close()
    stopped_at = load_state(run.checkpoint_path)[1]["step"]
    assert 300 < stopped_at < 1500
    _, run, _ = train_teacher(CONFIG)
    run.close()
    assert run.resumes == [{"step": stopped_at, "kind": "exact"}]
    assert _curve_values(_folder(tmp_path)) == _curve_values(unbroken)


def test_without_a_run_there_is_nothing_to_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    with pytest.raises(PolicyError, match=r"--finish: .*: there is no run to finish; give the opt"):
        train_teacher(CONFIG, finish=True)
    assert not list(tmp_path.iterdir()), "no folder is left behind"


@pytest.mark.parametrize(
    "change",
    [{"products": "bfloat16"}, {"policy_lr": 1e-4, "critic_lr": 3e-4, "products": "bfloat16"}],
    ids=["products", "learning_rates"],
)
def test_other_products_or_learning_rates_go_on_from_the_same_checkpoint(
    change: dict[str, object], unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The replay buffer and the candidates beside the checkpoint come along."""
    before = tmp_path / "before"
    shutil.copytree(unbroken, before)
    tensors, meta = load_state(unbroken / "checkpoint.safetensors")
    start = {**meta, "step": 900, "replay_rows": 900}
    save_state(before / "checkpoint.safetensors", tensors, start)
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    monkeypatch.setattr("qpolicy_training.runs.snapshots.FINAL_EPISODES", 1)
    config = dataclasses.replace(CONFIG, sac=dataclasses.replace(SHORT, **change))
    _, run, _ = train_teacher(config, resume_from=before / "checkpoint.safetensors")
    run.close()
    assert run.resumes == [{"step": 900, "kind": "exact", "of": config_hash(CONFIG)}]
    final = load_state(run.checkpoint_path)[1]
    assert (final["replay_rows"], final["hash"]) == (1500, config_hash(config))
    assert {int(step) for step in meta["candidates"]} & set(run.candidates)


def test_a_checkpoint_of_another_configuration_is_refused(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    other = TeacherConfig(task="hopper", seed=4, hidden=(32, 32), sac=SHORT)
    with pytest.raises(PolicyError, match="another configuration"):
        train_teacher(other, resume_from=unbroken / "checkpoint.safetensors")


def test_an_option_that_came_later_leaves_earlier_runs_their_name() -> None:
    assert config_hash(TeacherConfig("hopper", 1)) == "5acea9d55da3"
    slower = TeacherConfig("hopper", 1, sac=SacConfig(train_frequency=4))
    assert config_hash(slower) != "5acea9d55da3"


def test_updates_come_every_train_frequency_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    sac = dataclasses.replace(SHORT, steps=700, train_frequency=4)
    config = dataclasses.replace(CONFIG, sac=sac)
    _, run, _ = train_teacher(config)
    run.close()
    _, meta = load_state(run.checkpoint_path)
    assert meta["updates"] == (700 - 300) // 4 + 1


def test_a_foreign_checkpoint_leaves_the_runs_own_alone(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / unbroken.name
    shutil.copytree(unbroken, folder)
    own = (folder / "checkpoint.safetensors").read_bytes()
    tensors, meta = load_state(unbroken / "checkpoint.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    config = {**meta["config"], "seed": 9}
    save_state(foreign, tensors, {**meta, "hash": "0" * 12, "config": config, "step": 9000})
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    snapshot = next(unbroken.glob("candidate_*"))
    for file, reason in ((foreign, "another configuration"), (snapshot, "no checkpoint")):
        with pytest.raises(PolicyError, match=reason):
            train_teacher(CONFIG, resume_from=file)
        assert (folder / "checkpoint.safetensors").read_bytes() == own


def test_a_policy_is_not_called_a_damaged_checkpoint() -> None:
    policy = Path(__file__).parents[2] / "config" / "policies" / "hopper" / "fp32.safetensors"
    with pytest.raises(PolicyError, match="is not a checkpoint"):
        load_state(policy)


def test_a_run_that_diverges_keeps_its_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    monkeypatch.setattr(run_module, "CHECKPOINT_SECONDS", 0.0)
    update = FastLearner.update

    def diverge(learner: FastLearner, batch: Batch) -> float:
        loss = update(learner, batch)
        return loss if learner.updates < 700 else math.nan

    monkeypatch.setattr(FastLearner, "update", diverge)
    with pytest.raises(PolicyError, match="critic loss: nan at step 999: the run diverged"):
        train_teacher(CONFIG)
    _, meta = load_state(_folder(tmp_path) / "checkpoint.safetensors")
    assert 0 < meta["step"] < 999


def test_a_full_disk_ends_tensorboards_log_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full:
        def add_scalar(self, *_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    run = Run("hopper", CONFIG)
    run.log._writer = Full()  # type: ignore[assignment]
    run.log.scalar("train/return", 1.0, 1)
    run.log.scalar("train/return", 2.0, 2)
    run.close()
    assert capsys.readouterr().err.count("No space left on device; TensorBoard's log stops") == 1


def test_a_damaged_checkpoint_is_named(unbroken: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "checkpoint.safetensors"
    whole = (unbroken / "checkpoint.safetensors").read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"checkpoint\.safetensors.*damaged"):
        load_state(damaged)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"curve": 1}, "TypeError"),
        ({"seconds": 10**400}, "OverflowError"),
        ({"sample_rng": {}}, "Error"),
        ({"env_rng": None}, "TypeError"),
        ({"candidates": []}, "AttributeError"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_named(
    unbroken: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
    reason: str,
) -> None:
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    file = tmp_path / "forged.safetensors"
    tensors, meta = load_state(unbroken / "checkpoint.safetensors")
    save_state(file, tensors, {**meta, **change})
    with pytest.raises(PolicyError, match=rf"checkpoint: does not fit \(.*{reason}"):
        train_teacher(CONFIG, resume_from=file)


def test_a_checkpoint_that_is_no_object_is_named(tmp_path: Path) -> None:
    save_state(tmp_path / "list.safetensors", {}, [])  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match="is not a checkpoint"):
        load_state(tmp_path / "list.safetensors")


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PolicyError, match="is not a regular file"):
        load_state(tmp_path / "pipe")


def test_what_a_killed_process_left_half_written_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    folder = _folder(tmp_path)
    folder.mkdir()
    (folder / ".checkpoint.safetensors.k2j3h4g5").write_bytes(b"half")
    Run("hopper-fp32-sac", CONFIG).close()
    assert not list(folder.glob(".*.safetensors.*"))


def test_a_full_disk_leaves_the_previous_checkpoint(
    unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    shutil.copyfile(unbroken / "checkpoint.safetensors", path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left on device; free some space"):
        save_state(path, {}, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path], "no temporary file is left"


def test_a_full_disk_is_found_before_the_run_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(PolicyError, match=r"cannot reserve .* MiB .*No space left"):
        train_teacher(CONFIG)


def test_two_processes_do_not_share_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    first = Run("hopper", CONFIG)
    with pytest.raises(PolicyError, match="in use by another process"):
        Run("hopper", CONFIG)
    first.close()
    Run("hopper", CONFIG).close()


def test_every_field_of_the_configuration_names_the_run() -> None:
    assert config_hash(CONFIG) != config_hash(
        TeacherConfig(task="hopper", seed=3, hidden=(32, 32), sac=SacConfig(steps=1501))
    )
    assert config_hash(CONFIG) == config_hash(
        TeacherConfig(task="hopper", seed=3, hidden=(32, 32), sac=SHORT)
    )
