"""``python -m qpolicy_training.batched`` from the first step to a policy file, at toy size."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

pytest.importorskip("jax", reason="the extra `batched` is not installed")

from qpolicy_ros.policy import load_policy
from qpolicy_ros.sim.rollout import evaluate
from qpolicy_training.batched.__main__ import main
from qpolicy_training.batched.convert import read_runs
from qpolicy_training.batched.delivery import student_of
from qpolicy_training.batched.plan import Phases, students, teachers
from qpolicy_training.experience.task_env import TrainingEnv
from qpolicy_training.quant.integer_policy import integer_policy

TOY = """
--tasks hopper --teachers 1 --students 1 --workers 1 --seconds 1000 --teach 1 --distil 1
--reinforce 1 --finals 300 --turns 24 --envs 2 --student-envs 2 --evaluation-envs 1
--student-evaluation-envs 1 --random-steps 16 --batch 8 --student-batch 8 --distil-batch 8
--rows 512 --student-rows 512 --kept-rows 64 --products float32 --critic-width 8
--episode-steps 10 --calibration 32 --updates 2 --distil-updates 2 --most-calls 1
"""
SLOW = pytest.mark.skipif(
    "QPOLICY_SLOW" not in os.environ, reason="compiles for a minute; set QPOLICY_SLOW=1"
)


@SLOW
def test_a_toy_run_ends_in_a_policy_file(tmp_path):
    folder = tmp_path / "run"
    assert main(["train", *TOY.split(), "--out", str(folder)]) == 0
    entries = read_runs(folder, "students")
    assert [entry.run.label for entry in entries] == ["selected", "paper", "best"]
    entry = max(entries, key=lambda e: len(e.candidates and e.candidates[0]["final"]))
    student, env = student_of(entry), TrainingEnv("hopper")
    policy = integer_policy(student.actor, student.normaliser, env)
    played = evaluate(policy, "hopper", 3, 2_000_000, max_episode_steps=10)
    np.testing.assert_allclose(played, entry.candidates[0]["final"][:3], rtol=0.02)

    out = tmp_path / "paper.safetensors"
    ship = ["ship", str(folder), "--task", "hopper", "--label", "paper", "--out", str(out)]
    assert main([*ship, "--episodes", "2"]) == 0
    policy_file = load_policy(out)
    assert policy_file.network is not None
    assert policy_file.provenance["method"] == "batched"
    table = ["table", str(folder), "--out", str(tmp_path / "all.csv"), "--episodes", "2"]
    assert main(table) == 0
    assert json.loads((tmp_path / "all.json").read_text())["hopper/paper students"]["runs"] == 1


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--rows", "1001", "--rows: 1001 is no multiple of 16"),
        ("--updates", "3", "--updates: 3 is odd"),
        ("--kept-rows", "600000", "--kept-rows: 600000 exceed"),
        ("--teach", "nan", "--teach: nan: must be positive"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(tmp_path, capsys, option, value, said):
    assert main(["train", "--out", str(tmp_path), option, value]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_named(tmp_path, capsys):
    ship = ["ship", str(tmp_path), "--task", "hopper", "--label", "paper"]
    assert main([*ship, "--out", str(tmp_path / "x.safetensors")]) == 2
    assert "runs.json" in capsys.readouterr().err


def test_every_task_has_five_students_of_one_teacher_and_three_pipelines():
    runs = students(["humanoid", "hopper", "halfcheetah", "ant", "walker2d"], 3, 5)
    for task in ("hopper", "halfcheetah", "ant", "walker2d", "humanoid"):
        main_label = "paper" if task in ("halfcheetah", "humanoid") else "selected"
        own = [run for run in runs if run.task == task and run.label == main_label]
        assert sum(run.rank == 0 for run in own) == 5
        assert {run.rank for run in own} == {0, 1, 2}
        assert len({run.seed for run in own}) == len(own)
        assert all(run.b_core <= 3 for run in own)
    assert [run.task for run in teachers(["humanoid", "hopper"], 1)] == ["hopper", "humanoid"]


def test_the_defaults_go_together():
    Phases().check()
