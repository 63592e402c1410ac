"""Tasks as other people write them: each oddity is served, or named before time is spent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from odd_tasks import ODD_STEP, task

from qpolicy_ros.cli.main import main
from qpolicy_ros.policy import load_policy
from qpolicy_ros.sim import Simulation, evaluate
from qpolicy_training.experience.normaliser import RunningNormaliser
from qpolicy_training.experience.task_env import TaskError, TrainingEnv
from qpolicy_training.runs.golden import golden_observations

pytestmark = pytest.mark.slow

SMALL = [
    *("--sac.steps", "400", "--sac.learning-starts", "200", "--sac.evaluate-every", "200"),
    *("--sac.evaluate-episodes", "1", "--sac.batch", "16", "--sac.critic-width", "8"),
    *("--hidden", "8", "8", "--episodes", "2"),
]


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr("qpolicy_training.runs.snapshots.FINAL_EPISODES", 2)
    return tmp_path / "runs"


def train(env_id: str, out: Path, *more: str) -> int:
    return main(["train", "--task", env_id, *SMALL, "--out", str(out), *more])


def replay_rows(runs: Path) -> np.ndarray:
    (file,) = runs.glob("*/replay.f32")
    return np.fromfile(file, np.float32).reshape(-1, 12)


def test_an_observation_array_that_is_used_again_is_copied(tmp_path: Path, runs: Path) -> None:
    assert train(task("same array"), tmp_path / "p.safetensors") == 0
    rows = replay_rows(runs)
    assert not (rows[:, :4] == rows[:, 6:10]).all(1).any()
    golden = load_policy(tmp_path / "p.safetensors").golden.observations
    assert len(np.unique(golden, axis=0)) > 1
    simulation = Simulation(task("same array"))
    first = simulation.reset(0)
    kept = first.copy()
    simulation.step(np.ones(2, np.float32))
    assert np.array_equal(first, kept)


def test_an_action_that_the_task_writes_over_stays_ours(tmp_path: Path, runs: Path) -> None:
    assert train(task("action written over"), tmp_path / "a.safetensors") == 0
    written = replay_rows(runs)[:, 4:6].copy()
    assert np.abs(written).max() > 0.5


def test_the_last_observation_of_an_ended_episode_takes_no_part(tmp_path: Path, runs: Path) -> None:
    assert train(task("terminal nan"), tmp_path / "p.safetensors") == 0
    rows = replay_rows(runs)
    assert np.isfinite(rows).all()
    assert rows[ODD_STEP - 1, -1] == 1.0, "the end itself is kept"


@pytest.mark.parametrize(
    ("odd", "named"),
    [
        ("observation nan", r"observation\[1\] \(.*\) is nan at step 30 of an episode"),
        ("reward nan", r"reward is nan at step 30 of an episode"),
    ],
)
def test_a_value_that_is_not_finite_is_named_where_it_enters(odd: str, named: str) -> None:
    env = TrainingEnv(task(odd))
    env.start(0)
    for _ in range(ODD_STEP - 1):
        *_, truncated = env.step(np.zeros(2, np.float32))
        if truncated:
            env.start(None)
    with pytest.raises(TaskError, match=named):
        env.step(np.zeros(2, np.float32))


def test_a_run_that_met_such_a_value_goes_on_when_the_task_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("qpolicy_training.runs.checkpoint.CHECKPOINT_SECONDS", 0.0)
    env_id = task("observation nan")
    assert train(env_id, tmp_path / "p.safetensors") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert "observation[1]" in line
    assert "learning rate" not in line
    monkeypatch.setattr("odd_tasks.ODD_STEP", -1)
    assert train(env_id, tmp_path / "p.safetensors") == 0


def test_observations_too_small_to_be_seen_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(task("tiny"), tmp_path / "p.safetensors") == 0
    assert "vary by less than 0.001, so a policy hardly sees them" in capsys.readouterr().err


def test_a_constant_is_not_called_too_small() -> None:
    normaliser = RunningNormaliser(2)
    for value in np.linspace(-1, 1, 200):
        normaliser.update(np.array([value, 0.1], np.float32))
    assert normaliser.blind() == []


def test_an_action_at_its_limit_is_inside_a_float64_space() -> None:
    simulation = Simulation(task("float64 limits"))
    simulation.reset(0)
    env = TrainingEnv(task("float64 limits"))
    env.start(0)
    for sign in (-1, 1):  # the task asserts that its own space holds the action
        simulation.step(np.full(2, sign * 0.1, np.float32))
        env.step(np.full(2, sign, np.float32))


@pytest.mark.parametrize("kind", ["RandomState", "MT19937", "none of NumPy's"])
def test_a_random_state_can_be_taken_up_again(kind: str) -> None:
    generators = {
        "RandomState": lambda: np.random.RandomState(3),
        "MT19937": lambda: np.random.Generator(np.random.MT19937(3)),
        "none of NumPy's": object,
    }
    env = TrainingEnv(task())
    robot: Any = env._simulation.env.unwrapped
    robot._np_random = generators[kind]()
    state = json.loads(json.dumps(env.random_state()))
    if kind == "none of NumPy's":
        assert state == {}
        return
    wanted = [robot.np_random.uniform() for _ in range(9)]
    env._simulation.reset = lambda _: None  # type: ignore[method-assign]
    env.restore_random_state(state)
    assert [robot.np_random.uniform() for _ in range(9)] == wanted


def test_a_task_that_ignores_its_seed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(TrainingEnv, "seeded", False)
    assert train(task(), tmp_path / "p.safetensors") == 0
    assert "begins otherwise each time with the same seed" in capsys.readouterr().err


def test_observations_near_float32_s_end_have_golden_vectors() -> None:
    golden = golden_observations(lambda _: np.zeros(2, np.float32), task("huge"))
    assert np.abs(golden).max() == np.finfo(np.float32).max


@pytest.mark.parametrize("odd", ["no render mode", "own attributes", "float64 limits"])
def test_an_oddity_of_the_task_s_class_is_served(odd: str, tmp_path: Path) -> None:
    assert train(task(odd), tmp_path / "p.safetensors") == 0


def test_a_task_without_a_time_limit_is_cut_at_1000_steps(tmp_path: Path) -> None:
    env_id = task(limit=False)
    assert train(env_id, tmp_path / "p.safetensors") == 0
    lengths = []
    evaluate(
        lambda _: np.zeros(2, np.float32), env_id, 1, 0, progress=lambda e: lengths.append(e.length)
    )
    assert lengths == [1000]


def test_a_fixed_action_is_refused_before_training(
    tmp_path: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(task("fixed action"), tmp_path / "p.safetensors") == 2
    assert "action 1 is fixed, low 0.5 and high 0.5" in capsys.readouterr().err
    assert not list(runs.glob("*/replay.f32"))


def test_a_task_in_a_namespace_gives_plain_file_names(tmp_path: Path, runs: Path) -> None:
    env_id = task(namespace="lab/")
    out = tmp_path / "p.safetensors"
    assert train(env_id, out) == 0
    (folder,) = runs.iterdir()
    assert folder.name.startswith("lab-Odd-v0-fp32-sac-")
    noise = ["noise", str(out), "--episodes", "1", "--sigmas", "0", "--out", str(tmp_path / "n")]
    assert main(noise) == 0
    assert (tmp_path / "n" / "noise-lab-Odd-v0.json").is_file()


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("pol.csv", "give pol.safetensors"),
        ("run0.2", "give run0.2.safetensors"),
        ("x.qat.safetensors", "give x.safetensors"),
    ],
)
def test_a_name_that_another_file_of_the_run_would_take_is_refused(
    name: str, remedy: str, tmp_path: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(task(), tmp_path / name) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert remedy in line
    assert not runs.exists()


def test_two_policies_of_one_name_are_two_rows_of_noise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / each / "paper.safetensors" for each in "ab"]
    for seed, file in enumerate(files):
        file.parent.mkdir()
        assert train(task(), file, "--seed", str(seed)) == 0
    capsys.readouterr()
    assert main(["noise", *map(str, files), "--episodes", "1", "--sigmas", "0", "0.5"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in table[1:3]] == ["ours, a/paper", "ours, b/paper"]
    assert all(len(line.split()) == len(table[1].split()) for line in table[1:3])


def test_a_module_is_exported_with_its_own_teacher_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher, student = tmp_path / "t" / "teacher.safetensors", tmp_path / "s" / "low.safetensors"
    teacher.parent.mkdir()
    student.parent.mkdir()
    assert train(task(), teacher) == 0
    assert main(["quantize", str(teacher), "--method", "ptq", "--out", str(student)]) == 0
    module = student.with_suffix(".qat.safetensors")
    again = ["export", str(module), "--out", str(tmp_path / "again.safetensors")]
    capsys.readouterr()
    assert main(again) == 2
    assert "give the FP32 policy by --baseline FILE" in capsys.readouterr().err
    assert main([*again, "--baseline", str(teacher)]) == 0
    assert load_policy(tmp_path / "again.safetensors").function_hash == (
        load_policy(student).function_hash
    )


def test_a_return_below_zero_is_set_beside_the_teacher_s_in_its_own_unit() -> None:
    from qpolicy_training.runs.provenance import beside_teacher  # noqa: PLC0415

    assert beside_teacher(-34.0, -15.0) == "-34, the teacher's -15 (-19)"
    assert beside_teacher(0.0, 0.0) == "0, the teacher's 0 (+0)"
    assert beside_teacher(90.0, 100.0) == "90, the teacher's 100 (-10; 90.0%)"


def test_a_user_without_a_home_has_a_cache_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from qpolicy_ros.common import files  # noqa: PLC0415

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(files.Path, "home", no_home)
    assert files.cache_folder("qpolicy").name == "qpolicy"


def test_no_method_wants_widths_that_it_then_refuses(tmp_path: Path) -> None:
    teacher = tmp_path / "t.safetensors"
    assert train(task(), teacher) == 0
    out = tmp_path / "q.safetensors"
    assert main(["quantize", str(teacher), "--method", "ptq", "--out", str(out)]) == 0
