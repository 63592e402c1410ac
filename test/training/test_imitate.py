"""Imitating a task's scripted controller."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from robot_files import require_go2

from qpolicy_ros.backends import create_backend
from qpolicy_ros.policy import PolicyError, find_policy, load_policy
from qpolicy_training.cli.train import Args, main
from qpolicy_training.experience.task_env import TrainingEnv
from qpolicy_training.recipes.config import ImitateConfig
from qpolicy_training.recipes.imitate import ImitationConfig, imitate
from qpolicy_training.runs.config import config_hash
from qpolicy_training.runs.folder import DivergedError

SHORT = ImitateConfig(rounds=2, round_steps=400, round_updates=300, evaluate_episodes=1)


def test_a_network_learns_what_the_expert_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_go2()
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    monkeypatch.setattr("qpolicy_training.runs.snapshots.FINAL_EPISODES", 1)
    teacher, run, winner = imitate(ImitationConfig("go2", 1, (64, 64), SHORT))
    run.close()
    assert [step for step, _, _ in run.curve] == [400, 800]
    assert winner.step in {400, 800}
    env = TrainingEnv("go2")
    observation, errors, spread = env.start(9), [], []
    for _ in range(100):
        expert = env.expert()
        errors.append((teacher.policy()(observation) - env.bias) / env.scale - expert)
        spread.append(expert)
        observation, *_ = env.step(expert)
    assert np.square(errors).mean() < 0.5 * np.var(spread, axis=0).mean()


def test_a_network_of_another_width_learns_what_a_policy_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    monkeypatch.setattr("qpolicy_training.runs.snapshots.FINAL_EPISODES", 1)
    artifact = load_policy(find_policy("hopper/fp32"))
    learnt = ImitationConfig("hopper", 1, (32, 32), SHORT, teacher=artifact.function_hash)
    student, run, _ = imitate(learnt, artifact)
    run.close()
    assert student.baseline().hidden == (32, 32)
    assert np.array_equal(student.normaliser.mean, artifact.baseline.mean)
    expert, policy = create_backend("fp32", artifact), student.policy()
    env = TrainingEnv("hopper")
    observation, errors, wanted = env.start(9), [], []
    for _ in range(100):
        wanted.append(expert.act(observation))
        errors.append(policy(observation) - wanted[-1])
        observation, *_ = env.step((wanted[-1] - env.bias) / env.scale)
    assert np.square(errors).mean() < 0.5 * np.var(wanted, axis=0).mean()


def test_a_run_whose_loss_is_not_finite_says_that_it_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path))
    artifact = load_policy(find_policy("hopper/fp32"))
    wild = dataclasses.replace(SHORT, learning_rate=1e38)
    learnt = ImitationConfig("hopper", 1, (8, 8), wild, teacher=artifact.function_hash)
    with pytest.raises(DivergedError, match=r"loss: nan in round 1: .* --imitate.learning-rate"):
        imitate(learnt, artifact)


def test_the_policy_to_learn_from_is_part_of_the_run() -> None:
    without, learnt = ImitationConfig("hopper", 1), ImitationConfig("hopper", 1, teacher="ab")
    assert config_hash(without) != config_hash(learnt)


def test_a_teacher_of_another_task_is_refused() -> None:
    artifact = load_policy(find_policy("halfcheetah/fp32"))
    with pytest.raises(PolicyError, match="the policy is for 'halfcheetah', asked for 'hopper'"):
        imitate(ImitationConfig("hopper", 1, (8,), SHORT), artifact)


def test_a_teacher_does_not_belong_to_rl() -> None:
    with pytest.raises(PolicyError, match="--teacher belongs to --method imitate"):
        main(Args("hopper", teacher="hopper/fp32"))


def test_a_task_without_a_scripted_controller_is_refused() -> None:
    with pytest.raises(PolicyError, match="hopper has no scripted controller; train it by RL"):
        imitate(ImitationConfig("hopper", 1, (8,), SHORT))


def test_options_of_rl_do_not_belong_to_imitation() -> None:
    with pytest.raises(PolicyError, match="belongs to --method rl"):
        main(Args("go2", method="imitate", finish=True))
