"""`qpolicy train` and `qpolicy quantize` from end to end, on short runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from actor_builders import shorten_statistics

from qpolicy_ros.backends import create_backend
from qpolicy_ros.cli.main import main
from qpolicy_ros.policy import load_policy
from qpolicy_training.quant.quant_actor import ActorSpec
from qpolicy_training.recipes import distill as distill_module
from qpolicy_training.recipes.distill import plan, stages
from qpolicy_training.runs.state import load_state, save_state

pytestmark = pytest.mark.slow

TRAIN = [
    "train",
    "--task",
    "hopper",
    "--seed",
    "2",
    "--hidden",
    "32",
    "32",
    "--sac.steps",
    "1200",
    "--sac.learning-starts",
    "300",
    "--sac.evaluate-every",
    "300",
    "--sac.evaluate-episodes",
    "1",
    "--sac.critic-width",
    "32",
    "--episodes",
    "2",
]
BITS = ["--b-in", "6", "--b-core", "2", "--hidden", "16", "16", "--episodes", "2"]
DISTILL = [
    "--method",
    "distill",
    "--distill.rounds",
    "4",
    "--distill.round-steps",
    "300",
    "--distill.round-updates",
    "20",
    "--distill.evaluate-episodes",
    "1",
]
QAT = [
    "--method",
    "qat",
    "--sac.steps",
    "1600",
    "--sac.learning-starts",
    "300",
    "--sac.evaluate-every",
    "400",
    "--sac.evaluate-episodes",
    "1",
    "--sac.critic-width",
    "32",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher and a distilled student of it."""
    folder = tmp_path_factory.mktemp("policies")
    with pytest.MonkeyPatch.context() as patch:
        _short(patch, folder)
        assert main([*TRAIN, "--out", str(folder / "fp32.safetensors")]) == 0
        command = ["quantize", "--teacher", str(folder / "fp32.safetensors"), *BITS, *DISTILL]
        assert main([*command, "--out", str(folder / "paper.safetensors")]) == 0
    return folder


def _short(patch: pytest.MonkeyPatch, runs: Path) -> None:
    patch.setenv("QPOLICY_RUNS", str(runs / "runs"))
    patch.setattr("qpolicy_training.runs.snapshots.FINAL_EPISODES", 1)


@pytest.fixture
def quantize(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    _short(monkeypatch, folder)

    def call(*arguments: str) -> tuple[int, dict[str, Any], str]:
        teacher = str(folder / "fp32.safetensors")
        status = main(["quantize", "--teacher", teacher, *arguments, "--json"])
        captured = capsys.readouterr()
        return status, json.loads(captured.out or "{}"), captured.err

    return call


def test_the_teacher_is_an_artifact_without_an_integer_network(folder: Path) -> None:
    artifact = load_policy(folder / "fp32.safetensors")
    assert artifact.network is None
    assert artifact.contract.env_id == "Hopper-v4"
    assert artifact.provenance["returns"]["fp32"]["episodes"] == 2
    assert (folder / "fp32.csv").read_text().startswith("step,held_out_return")


def test_the_student_has_the_bits_asked_for_and_its_teacher_inside(folder: Path) -> None:
    teacher = load_policy(folder / "fp32.safetensors")
    student = load_policy(folder / "paper.safetensors")
    network = student.network
    assert network is not None
    assert (network.input_bits, network.core_bits, network.output_bits) == (6, 2, 8)
    assert network.hidden == (16, 16)
    assert student.provenance["teacher_file_hash"] == teacher.file_hash
    observation = teacher.golden.observations[0]
    actions = [create_backend("fp32", each).act(observation) for each in (teacher, student)]
    assert np.array_equal(*actions)


def test_export_makes_the_same_function_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.safetensors"
    source = str(folder / "paper.qat.safetensors")
    assert main(["export", source, "--out", str(out)]) == 0
    again = load_policy(out)
    assert again.function_hash == load_policy(folder / "paper.safetensors").function_hash


def test_a_killed_distillation_resumes_exactly(
    folder: Path, tmp_path: Path, quantize, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        save(*_)
        raise Killed

    save = distill_module._save
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(distill_module, "_save", killed)
        for _ in range(2):
            with pytest.raises(Killed):
                quantize(*BITS, *DISTILL)
    status, result, _ = quantize(*BITS, *DISTILL)
    assert status == 0
    assert [resume["step"] for resume in result["resumes"]] == [1, 2]
    resumed, _ = load_state(Path(result["run"]) / "distill.safetensors")
    unbroken, _ = load_state(next((folder / "runs").glob("hopper-distill-*/distill.safetensors")))
    assert resumed.keys() == unbroken.keys()
    for name, value in resumed.items():
        assert torch.equal(value, unbroken[name]), name


def test_ptq_keeps_the_widths_of_the_teacher(quantize) -> None:
    status, result, _ = quantize("--method", "ptq", "--hidden", "32", "32", "--episodes", "1")
    assert status == 0
    network = load_policy(result["policy"]).network
    assert network is not None
    assert network.hidden == (32, 32)


def test_ptq_at_another_width_is_refused(quantize) -> None:
    status, _, error = quantize("--method", "ptq", "--hidden", "16", "16")
    assert status == 2
    assert "ptq keeps the teacher's widths" in error


def test_qat_from_the_first_step(quantize, monkeypatch) -> None:
    shorten_statistics(monkeypatch, 30)
    status, result, _ = quantize(*BITS, *QAT)
    assert status == 0
    assert result["method"] == "qat"
    assert load_policy(result["policy"]).network is not None


def test_qat_can_be_finished_as_it_stands(quantize, monkeypatch) -> None:
    shorten_statistics(monkeypatch, 30)
    run = Path(quantize(*BITS, *QAT)[1]["run"])
    tensors, meta = load_state(run / "checkpoint.safetensors")
    save_state(run / "checkpoint.safetensors", tensors, {**meta, "step": 900})
    status, result, _ = quantize(*BITS, *QAT, "--finish")
    assert status == 0
    assert result["resumes"] == [{"step": 900, "kind": "exact"}]
    assert load_state(run / "checkpoint.safetensors")[1]["step"] == 900


def test_finish_belongs_to_qat(quantize) -> None:
    status, _, error = quantize(*BITS, *DISTILL, "--finish")
    assert status == 2
    assert "--finish belongs to --method qat and search; leave it out" in error


def test_qat_goes_on_from_a_student_and_its_teachers_critics(folder: Path, quantize) -> None:
    critic = next((folder / "runs").glob("hopper-fp32-sac-*/checkpoint.safetensors"))
    start = str(folder / "paper.qat.safetensors")
    status, result, _ = quantize(
        *BITS, *QAT, "--start", start, "--critic", str(critic), "--policy-starts", "100"
    )
    assert status == 0
    assert load_policy(result["policy"]).network is not None


MEASURED = [*DISTILL, "--distill.loss", "divergence"]


def test_distillation_measures_by_the_exploration_of_its_teachers_run(
    folder: Path, quantize
) -> None:
    critic = next((folder / "runs").glob("hopper-fp32-sac-*/checkpoint.safetensors"))
    status, result, _ = quantize(*BITS, *MEASURED, "--critic", str(critic))
    assert status == 0
    assert load_policy(result["policy"]).function_hash != (
        load_policy(folder / "paper.safetensors").function_hash
    )


def test_a_measure_without_its_checkpoint_is_refused(folder: Path, quantize) -> None:
    status, _, error = quantize(*BITS, *MEASURED)
    assert status == 2
    assert "--distill.loss: divergence: measures by the exploration" in error
    critic = next((folder / "runs").glob("hopper-fp32-sac-*/checkpoint.safetensors"))
    status, _, error = quantize(*BITS, *DISTILL, "--critic", str(critic))
    assert status == 2
    assert "--critic belongs to --method qat, and to distill with" in error


def test_a_checkpoint_without_an_exploration_head_is_refused(folder: Path, quantize) -> None:
    critic = next((folder / "runs").glob("hopper-fp32-sac-*/checkpoint.safetensors"))
    tensors, meta = load_state(critic)
    other = folder / "headless.safetensors"
    save_state(other, {k: v for k, v in tensors.items() if not k.startswith("head")}, meta)
    status, _, error = quantize(*BITS, *MEASURED, "--critic", str(other))
    assert status == 2
    assert "headless.safetensors: --critic: holds no FP32 actor with an exploration head" in error


def test_spreads_of_another_teachers_run_are_noted(quantize) -> None:
    other = Path(__file__).parents[2] / "training" / "checkpoints" / "hopper-fp32.safetensors"
    status, _, error = quantize(*BITS, *MEASURED, "--critic", str(other))
    assert status == 0
    assert "note: --critic: its policy is another one than the teacher's" in error


def test_critics_of_another_kind_are_refused(folder: Path, quantize) -> None:
    critic = next((folder / "runs").glob("hopper-fp32-sac-*/checkpoint.safetensors"))
    start = ["--start", str(folder / "paper.qat.safetensors"), "--critic", str(critic)]
    status, _, error = quantize(*BITS, *QAT, *start, "--sac.critic-norm", "layer")
    assert status == 2
    assert " --sac.critic-norm layer" in error.partition("; give")[0]


def test_critics_of_another_task_are_refused_though_they_have_the_same_sizes(
    folder: Path, quantize
) -> None:
    critic = next((folder / "runs").glob("hopper-fp32-sac-*/checkpoint.safetensors"))
    tensors, meta = load_state(critic)
    other = folder / "other.safetensors"
    save_state(other, tensors, {**meta, "config": {**meta["config"], "task": "Swimmer-v4"}})
    start = ["--start", str(folder / "paper.qat.safetensors"), "--critic", str(other)]
    status, _, error = quantize(*BITS, *QAT, *start)
    assert status == 2
    assert "is of Swimmer-v4, not hopper" in error


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--sac.steps", "9"], "--sac belongs to --method qat --algorithm sac"),
        (["--method", "qat", "--ddpg.steps", "9"], "--ddpg belongs to"),
        (["--method", "qat", "--distill.rounds", "9"], "--distill belongs to --method distill"),
        (["--search.proposals", "9"], "--search belongs to --method search"),
        (["--algorithm", "ddpg"], "--algorithm belongs to --method qat"),
        (["--method", "ptq", "--fan-in", "3"], "--fan-in belongs to --method distill, qat and"),
        (["--fan-in", "3", "3", "3", "3"], "--fan-in: (3, 3, 3, 3): give one number for all"),
        (["--fan-in", "12", "3"], "fan_in: 12 in layer 0, which has 11 inputs; give 1 to 11"),
    ],
)
def test_options_of_another_method_are_refused(quantize, options, expected) -> None:
    status, _, error = quantize(*BITS, *options)
    assert status == 2
    assert expected in error


def test_a_critic_without_a_start_is_refused(folder: Path, quantize) -> None:
    critic = next((folder / "runs").glob("hopper-fp32-sac-*/checkpoint.safetensors"))
    status, _, error = quantize(*BITS, *QAT, "--critic", str(critic))
    assert status == 2
    assert "give --start too" in error


@pytest.mark.parametrize(
    ("b_core", "expected"), [(2, [8, 4, 3, 2]), (3, [8, 4, 3]), (8, [8]), (5, [8, 5])]
)
def test_the_core_is_lowered_step_by_step(b_core: int, expected: list[int]) -> None:
    assert stages(b_core) == expected
    rounds = plan(ActorSpec(11, 3, (16,), 6, b_core), 24)
    assert [each.spec.b_core for each in rounds if each.first] == expected
    assert rounds[-1].spec == ActorSpec(11, 3, (16,), 6, b_core)
    assert sum(each.final for each in rounds) >= 12


def test_a_start_of_other_widths_is_refused(folder: Path, quantize) -> None:
    start = str(folder / "paper.qat.safetensors")
    status, _, error = quantize(*QAT, "--start", start)
    assert status == 2
    assert "hidden, b_in, b_core, b_out, fan_in = ((16, 16), 6, 2, 8, ())" in error


@pytest.mark.parametrize(
    ("option", "value"), [("--seed", "-1"), ("--episodes", "0"), ("--hidden", "0")]
)
def test_options_are_checked_before_training(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--task", "hopper", option, value]) == 2
    assert option in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "p.safetensors"
    folder.mkdir()
    assert main([*TRAIN, "--out", str(folder)]) == 2
    assert "file: is no regular file; give a file's name" in capsys.readouterr().err


def test_a_number_that_cannot_be_trained_with_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", "--task", "hopper", "--sac.steps", "-5"]) == 2
    assert "--sac.steps: -5 is too small" in capsys.readouterr().err


def test_a_trained_module_is_not_taken_for_a_policy(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(folder / "paper.qat.safetensors")]) == 2
    assert "trained module, not a policy; make a policy of it" in capsys.readouterr().err
