"""The command `qpolicy evaluate`."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from policy_builders import make_contract, random_artifact
from robot_files import require_go2

from qpolicy_ros.backends import create_backend
from qpolicy_ros.cli import evaluate
from qpolicy_ros.cli.evaluate import Args
from qpolicy_ros.common.errors import UsageError
from qpolicy_ros.policy import Channel, PolicyError, save_policy
from qpolicy_ros.sim import Simulation
from qpolicy_ros.sim import evaluate as play

KEYS = [
    "task",
    "backend",
    "episodes",
    "seed",
    "returns",
    "mean_return",
    "std_return",
    "mujoco_version",
    "function_hash",
]


@pytest.fixture(scope="module")
def artifact():
    return random_artifact(2, hidden=(8,), contract=Simulation("hopper").contract)


@pytest.fixture
def file(tmp_path, artifact):
    save_policy(artifact, tmp_path / "hopper.safetensors")
    return str(tmp_path / "hopper.safetensors")


@pytest.mark.parametrize("backend", ["integer", "fp32"])
def test_json(file, artifact, capsys, backend):
    assert evaluate.main(Args(file, backend, episodes=2, seed=4, json=True)) == 0
    output = capsys.readouterr().out
    report = json.loads(output)
    assert list(report) == KEYS
    assert report["returns"] == play(create_backend(backend, artifact).act, "hopper", 2, 4)
    assert report["function_hash"] == artifact.function_hash
    assert report["mean_return"] == pytest.approx(sum(report["returns"]) / 2)
    first, second = report["returns"]
    assert report["std_return"] == pytest.approx(abs(first - second) / 2**0.5)  # of a sample


def test_the_table_has_mean_and_spread(file, capsys):
    evaluate.main(Args(file, episodes=2, seed=4, json=True))
    report = json.loads(capsys.readouterr().out)
    evaluate.main(Args(file, episodes=2, seed=4))
    assert f"{report['mean_return']:.1f} ± {report['std_return']:.1f}" in capsys.readouterr().out


def test_one_episode_has_no_spread(file, capsys):
    evaluate.main(Args(file, episodes=1, json=True))
    report = json.loads(capsys.readouterr().out)
    assert (report["seed"], report["std_return"]) == (0, 0.0)


def test_progress_goes_to_standard_error(file, capsys):
    evaluate.main(Args(file, episodes=2, json=True))
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1
    assert "episode" in captured.err


def test_the_task_must_be_the_policys(file):
    with pytest.raises(PolicyError, match="hopper"):
        evaluate.main(Args(file, task="ant"))


def test_the_gymnasium_id_is_as_good_as_the_task(file):
    assert evaluate.main(Args(file, task="Hopper-v4", episodes=1)) == 0


def test_a_robots_policy_has_no_task_to_play(tmp_path):
    save_policy(random_artifact(contract=make_contract()), tmp_path / "robot.safetensors")
    with pytest.raises(PolicyError, match="'toy' is not known"):
        evaluate.main(Args(str(tmp_path / "robot.safetensors")))


def test_a_robot_without_a_task_is_refused(tmp_path, artifact):
    knee = Channel("knee", "joint_states.position:knee")
    contract = replace(artifact.contract, env_id="", observation=(knee,))
    save_policy(random_artifact(contract=contract), tmp_path / "robot.safetensors")
    with pytest.raises(PolicyError, match=r"'knee' comes from 'joint_states.position:knee'"):
        evaluate.main(Args(str(tmp_path / "robot.safetensors")))


def test_a_robots_task_is_played(tmp_path, capsys):
    require_go2()
    policy = random_artifact(hidden=(8,), contract=Simulation("go2").contract)
    save_policy(policy, tmp_path / "go2.safetensors")
    arguments = Args(str(tmp_path / "go2.safetensors"), episodes=1, json=True)
    assert evaluate.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "go2"


@pytest.mark.parametrize("wrong", [{"episodes": 0}, {"seed": -1}, {"max_episode_steps": -1}])
def test_counts_are_checked(file, wrong):
    with pytest.raises(UsageError, match="too small"):
        evaluate.main(Args(file, **wrong))
