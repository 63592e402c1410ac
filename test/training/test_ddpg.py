"""DDPG with the quantised actor from the first step, and its FP32 twin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from actor_builders import shorten_statistics

from qpolicy_ros.cli.main import main
from qpolicy_ros.policy import load_policy
from qpolicy_training.experience.replay import Batch
from qpolicy_training.quant.fast_quant import actor_forward
from qpolicy_training.quant.quant_actor import ActorSpec, QuantActor
from qpolicy_training.recipes.student import StudentConfig, train_student
from qpolicy_training.rl import sac
from qpolicy_training.rl.config import DdpgConfig
from qpolicy_training.rl.ddpg import DdpgLearner
from qpolicy_training.rl.networks import Fp32Actor
from qpolicy_training.runs import checkpoint as run_module
from qpolicy_training.runs.checkpoint import Resumable
from qpolicy_training.runs.folder import Run
from qpolicy_training.runs.state import load_state

POLICIES = Path(__file__).parents[2] / "config" / "policies"
SHORT = DdpgConfig(
    steps=430,
    batch=32,
    learning_starts=300,
    policy_frequency=1,
    critic_width=32,
    evaluate_every=430,
    evaluate_episodes=1,
)


def _batch(rows: int = 64) -> Batch:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return Batch(
        normal(rows, 5), normal(rows, 2).tanh(), normal(rows), normal(rows, 5), torch.zeros(rows)
    )


def _learner() -> DdpgLearner:
    torch.manual_seed(0)
    actor = QuantActor(ActorSpec(5, 2, (8, 8), 6, 2))
    return DdpgLearner(actor, (5, 2), SHORT, forward=actor_forward)


def test_the_targets_ranges_are_the_actors_while_they_are_measured() -> None:
    learner = _learner()
    for _ in range(40):
        assert np.isfinite(learner.update(_batch()))
    assert not learner.actor.calibrated
    assert torch.equal(learner.actor.get_extra_state(), learner.target_actor.get_extra_state())


def test_ranges_are_learned_when_the_statistics_end_and_the_target_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shorten_statistics(monkeypatch, 20)
    learner = _learner()
    batch = _batch()
    for _ in range(21):
        learner.update(batch)
    assert learner.actor.calibrated
    assert learner.target_actor.calibrated
    before = [scaling.value.item() for scaling in learner.actor.scalings()]
    for _ in range(40):
        learner.update(batch)
    after = [scaling.value.item() for scaling in learner.actor.scalings()]
    followed = [scaling.value.item() for scaling in learner.target_actor.scalings()]
    assert all(a != b for a, b in zip(before, after, strict=True))
    for old, target, new in zip(before, followed, after, strict=True):
        assert abs(target - old) < abs(new - old), "the target follows slowly"


def test_the_actor_climbs_the_critic() -> None:
    torch.manual_seed(0)
    config = DdpgConfig(critic_width=32, policy_lr=1e-2, critic_lr=1e-2)
    learner = DdpgLearner(Fp32Actor(5, 2, (16,)), (5, 2), config)
    batch = _batch(256)
    wanted = torch.tensor([0.5, -0.5])
    # A bandit: every transition ends, the reward falls with the distance from the wanted action.
    reward = -(batch.action - wanted).square().sum(dim=1)
    batch = batch._replace(reward=reward, terminated=torch.ones(256))
    for _ in range(600):
        learner.update(batch)
    with torch.no_grad():
        action = torch.tanh(learner.actor(batch.observation)[0])
    assert (action.mean(dim=0) - wanted).abs().max() < 0.25


class Killed(BaseException):
    pass


CONFIG = StudentConfig("qat", "Hopper-v4", "", (16, 16), 6, 2, 8, 3, sac=SHORT)


def _train(folder: Path) -> Path:
    baseline = load_policy(POLICIES / "hopper" / "fp32.safetensors").baseline
    student, run, _ = train_student(CONFIG, baseline, None, parent=folder, final_episodes=1)
    run.close()
    assert student.actor.calibrated
    return run.folder


def test_a_killed_run_resumes_exactly_within_the_statistics_phase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "CHECKPOINT_SECONDS", 0.0)
    shorten_statistics(monkeypatch, 100)
    unbroken = _train(tmp_path / "unbroken")
    save = sac.save_if_due

    def kill(run: Run, step: int, parts: Resumable, *, force: bool) -> None:
        save(run, step, parts, force=force)
        if step > 310:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(sac, "save_if_due", kill)
        with pytest.raises(Killed):
            _train(tmp_path / "broken")
    broken = _train(tmp_path / "broken")
    expected, _ = load_state(unbroken / "checkpoint.safetensors")
    tensors, meta = load_state(broken / "checkpoint.safetensors")
    assert [resume["kind"] for resume in meta["resumes"]] == ["exact"]
    assert 310 < meta["resumes"][0]["step"] < 400, "within the statistics phase"
    assert tensors.keys() == expected.keys()
    for name, value in tensors.items():
        assert torch.equal(value, expected[name]), name


def test_a_teacher_by_ddpg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    monkeypatch.setattr("qpolicy_training.runs.snapshots.FINAL_EPISODES", 1)
    out = tmp_path / "fp32.safetensors"
    command = [
        "train",
        "--task",
        "hopper",
        "--algorithm",
        "ddpg",
        "--hidden",
        "16",
        "--episodes",
        "1",
    ]
    short = ["--ddpg.steps", "400", "--ddpg.learning-starts", "300", "--ddpg.critic-width", "16"]
    short += ["--ddpg.evaluate-every", "400", "--ddpg.evaluate-episodes", "1"]
    assert main([*command, *short, "--out", str(out)]) == 0
    assert load_policy(out).provenance["method"] == "fp32-ddpg"


def test_a_critic_is_refused(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    student = POLICIES / "hopper" / "paper.qat.safetensors"
    critic = Path(__file__).parents[2] / "training" / "checkpoints" / "hopper-fp32.safetensors"
    command = ["quantize", "--teacher", "hopper/fp32", "--method", "qat", "--algorithm", "ddpg"]
    bits = ["--hidden", "16", "16", "--b-in", "6", "--b-core", "2"]
    assert main([*command, *bits, "--start", str(student), "--critic", str(critic)]) == 2
    assert "DDPG goes on from no critics" in capsys.readouterr().err
