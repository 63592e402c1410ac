"""Noise is on the normalised observation, the same for everyone, and absent at zero."""

from __future__ import annotations

import json

import numpy as np
import pytest
from policy_builders import random_artifact

from qpolicy_ros.backends import create_backend
from qpolicy_ros.cli.main import main
from qpolicy_ros.policy import save_policy
from qpolicy_ros.sim import Simulation, evaluate
from qpolicy_training.report.noise import Noisy, interval, returns_under_noise
from qpolicy_training.report.runs import TASKS, paper_noise


@pytest.fixture(scope="module")
def artifact():
    return random_artifact(1, hidden=(8, 8), contract=Simulation("hopper").contract)


@pytest.fixture
def policy(artifact, tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_policy(artifact, path)
    return str(path)


def test_without_noise_the_returns_are_those_of_evaluate(artifact):
    act = create_backend("integer", artifact).act
    std = artifact.baseline.std
    assert returns_under_noise(act, std, "hopper", 0.0, 3, 5) == evaluate(act, "hopper", 3, 5)


def test_the_noise_has_the_scale_of_the_normalisation():
    seen = []
    std = np.array([0.1, 2.0, 30.0], np.float32)
    noisy = Noisy(lambda x: seen.append(x) or x, std, 0.5, np.random.default_rng(0))
    for _ in range(4000):
        noisy(np.zeros(3, np.float32))
    assert np.std(seen, axis=0) == pytest.approx(0.5 * std, rel=0.05)
    assert np.mean(seen, axis=0) == pytest.approx(np.zeros(3), abs=0.05 * 0.5 * 30)
    assert seen[0].dtype == np.float32


def test_the_same_seed_draws_the_same_noise(artifact):
    act, std = create_backend("integer", artifact).act, artifact.baseline.std
    first, again = (returns_under_noise(act, std, "hopper", 0.3, 2, 7) for _ in range(2))
    assert first == again
    # Episode 8 is the same whether or not episode 7 was played before.
    assert returns_under_noise(act, std, "hopper", 0.3, 1, 8) == first[1:]
    assert returns_under_noise(act, std, "hopper", 0.0, 2, 7) != first


def test_the_interval_holds_the_mean():
    low, high = interval([1.0, 2.0, 3.0, 4.0])
    assert 1.0 <= low < 2.5 < high <= 4.0


def test_the_papers_curves_are_there():
    for task in TASKS:
        curves = paper_noise(task)
        assert curves.keys() == {"fp32", "quantized"}
        assert [sigma for sigma, _ in curves["fp32"]] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_the_command_plays_the_policy_and_its_teacher(policy, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["noise", policy, "--sigmas", "0", "0.2", "--episodes", "2"]
    assert main([*arguments, "--json", "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["policy"].split(":")[0] for row in found["rows"]] == (
        ["ours, tiny"] * 2 + ["ours, teacher"] * 2
    )
    assert [row["sigma"] for row in found["rows"]] == [0.0, 0.2, 0.0, 0.2]
    assert all(len(row["returns"]) == 2 for row in found["rows"])
    assert json.loads((out / "noise-hopper.json").read_text()) == found
    assert (out / "noise-hopper.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_s_name_is_no_formula(artifact, tmp_path):
    policy = tmp_path / "a$\\frac{$.safetensors"
    save_policy(artifact, policy)
    arguments = ["--sigmas", "0", "--episodes", "1", "--out", str(tmp_path)]
    assert main(["noise", str(policy), *arguments]) == 0
    assert (tmp_path / "noise-hopper.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ([], "polic"),
        (["POLICY", "--episodes", "0"], "--episodes"),
        (["POLICY", "--sigmas", "-1"], "--sigmas"),
        (["POLICY", "--sigmas", "nan"], "--sigmas"),
        (["POLICY", "halfcheetah/paper"], "task"),
        (["gone/policy"], "neither a file nor a shipped policy"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(policy, capsys, arguments, wrong):
    assert main(["noise", *(each.replace("POLICY", policy) for each in arguments)]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert wrong in error
