"""`qpolicy quantize` of somebody else's policy: on a robot, and from recordings alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from balancer import balancer, write_balancer
from robot_bags import record_walk

from qpolicy_ros.cli.main import main as command
from qpolicy_ros.policy import load_policy, save_policy

pytestmark = pytest.mark.slow

QUICK = ["--hidden", "24", "24", "--b-core", "4", "--distill.round-updates", "100"]

ONE_STUDENT = ["--distill.finalists", "1", "--distill.evaluate-last", "1", "--distill.walks", "2"]


@pytest.fixture
def teacher(tmp_path, monkeypatch):
    monkeypatch.setenv("QPOLICY_RUNS", str(tmp_path / "runs"))
    save_policy(balancer(), tmp_path / "teacher.safetensors")
    return str(tmp_path / "teacher.safetensors")


def quantize(*arguments):
    return command(["quantize", *map(str, arguments)])


def test_a_student_on_a_robot_walks_as_its_teacher_does(tmp_path, teacher, capsys):
    robot, out = write_balancer(tmp_path), tmp_path / "student.safetensors"
    options = [*QUICK, *ONE_STUDENT, "--distill.rounds", "3", "--distill.round-steps", "1200"]
    assert quantize(teacher, "--robot", robot, "--out", out, *options, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["likeness"]) >= {"up", "velocity", "teacher_velocity"}
    assert min(report["likeness"]["up"]) == 1
    student = load_policy(out)
    assert student.network.core_bits == 4
    assert student.contract == load_policy(teacher).contract
    assert out.with_suffix(".qat.safetensors").exists()
    # The module beside it makes the same policy again.
    again = tmp_path / "again.safetensors"
    arguments = [out.with_suffix(".qat.safetensors"), "--baseline", teacher, "--out", again]
    assert command(["export", *map(str, arguments)]) == 0
    assert load_policy(again).function_hash == student.function_hash
    capsys.readouterr()
    walk = ["walk", str(out), "--robot", robot, "--command", "0.4", "0", "0", "--seeds", "2"]
    assert command([*walk, "--json"]) == 0
    walked = json.loads(capsys.readouterr().out)
    assert (walked["up"], walked["seeds"], walked["backend"]) == (2, 2, "integer")
    assert walked["velocity"][0] == pytest.approx(0.4, abs=0.1)


WITHOUT_A_SIMULATOR = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("mujoco", "gymnasium"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
from qpolicy_ros.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_student_of_a_recording_needs_no_simulator(tmp_path, teacher):
    bag, out = tmp_path / "bag", tmp_path / "student.safetensors"
    record_walk(bag, balancer(), write_balancer(tmp_path), 42.0)
    arguments = ["quantize", teacher, "--bag", bag, "--out", out, *QUICK, "--json"]
    arguments += ["--distill.rounds", "3", "--distill.round-steps", "2000"]
    child = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_SIMULATOR, *map(str, arguments)],
        env={**os.environ, "QPOLICY_RUNS": str(tmp_path / "runs")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr[-2000:]
    report = json.loads(child.stdout)
    error = report["action_error"]
    assert 0 < error["rmse"] <= error["p99"] <= error["worst"]
    assert set(error["joints"]) == {"left_wheel", "right_wheel"}
    assert report["parts"]["judged_by"] == error["observations"]
    assert report["coverage"]["channels"]["wanted_speed"]["low"] < 0
    assert report["coverage"]["seconds"] == 42
    assert load_policy(out).network is not None


def test_a_recording_that_is_too_short_says_how_long_it_must_be(tmp_path, teacher, capsys):
    record_walk(tmp_path / "bag", balancer(), write_balancer(tmp_path), 5.0)
    assert quantize(teacher, "--bag", tmp_path / "bag", "--out", tmp_path / "out.safetensors") == 2
    assert "--bag: 5 s of observations; record 40 s or more" in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ([], "task: is of no task that can be simulated by itself; give --robot or --bag"),
        (["--robot", "r.xml", "--bag", "b"], "--bag: --robot is given too"),
        (["--robot", "r.xml", "--method", "ptq"], "--method: ptq needs the teacher's own task"),
        (["--robot", "r.xml", "--critic", "c"], "--critic: --robot and --bag do not know it"),
        (["--bag", "b", "--distill.loss", "divergence"], "--distill.loss: --robot and --bag do"),
        (["--robot", "none.xml"], "none.xml is no file"),
        (["--bag", "none"], "none: bag: does not exist"),
    ],
)
def test_a_wrong_call_is_one_line(tmp_path, teacher, capsys, options, wrong):
    assert quantize(teacher, *options, "--out", tmp_path / "out.safetensors") == 2
    error = capsys.readouterr().err
    assert wrong in error.splitlines()[-1]
    assert not (tmp_path / "out.safetensors").exists()


def test_a_teacher_of_a_feature_vector_is_refused(tmp_path, capsys):
    assert (
        quantize(
            "hopper/fp32", "--robot", write_balancer(tmp_path), "--out", tmp_path / "x.safetensors"
        )
        == 2
    )
    assert "comes from a feature vector, not from a robot" in capsys.readouterr().err


def test_an_actuator_without_its_joint_is_named(tmp_path, teacher, capsys):
    robot = write_balancer(tmp_path)
    text = Path(robot).read_text()
    wheel = 'joint="left_wheel"'
    assert wheel in text
    Path(robot).write_text(text.replace(wheel, 'joint="left_weel"'))
    assert command(["walk", teacher, "--robot", str(robot), "--seeds", "1"]) == 2
    error = capsys.readouterr().err
    assert "drives 'left_weel', which is no joint of the model; nearest: left_wheel" in error
