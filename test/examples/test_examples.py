"""Every script of examples/ does what its first line says, and answers bad input in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
QUICK = [
    *("--hidden", "16", "16", "--distill.rounds", "2", "--distill.round-steps", "300"),
    *("--distill.round-updates", "100", "--distill.evaluate-episodes", "1"),
    *("--distill.evaluate-last", "1", "--distill.finalists", "1", "--distill.walks", "1"),
]
# What each is given, and what it then says; {} is an empty folder.
RUNS = {
    "play.py": (["hopper", "50"], "hopper (2 bits): return 84.9 after 50 steps"),
    "evaluate.py": (["hopper", "1"], "hopper integer     3181.8 over 1 episodes"),
    "quantize.py": (
        ["{}/p.safetensors", "hopper/fp32", "distill", "--episodes", "1", *QUICK],
        "qpolicy quantize hopper/fp32 --method distill",
    ),
    "verilog.py": (["{}/verilog"], "cycles   8"),
    "serve.py": (["hopper", "50", "100"], "equals the same actions offline: True"),
    "read_bag.py": (["{}"], "integer: n "),
}
NEEDS_ROS = {"serve.py", "read_bag.py"}


def run(name, words):
    return subprocess.run(
        [sys.executable, "-W", "ignore", str(EXAMPLES / name), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_every_example_is_run_and_short():
    files = {path.name: path for path in EXAMPLES.glob("*.py")}
    assert set(files) == set(RUNS)
    assert max(len(path.read_text().splitlines()) for path in files.values()) <= 60


@pytest.mark.parametrize("name", RUNS)
def test_an_example_does_what_it_says(name, tmp_path):
    if name in NEEDS_ROS:
        pytest.importorskip("rclpy")
    words, says = RUNS[name]
    done = run(name, [word.format(tmp_path) for word in words])
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("play.py", ["hoper"]),
        ("verilog.py", ["{}/verilog", "hoper"]),
        ("quantize.py", ["{}/p.safetensors", "hoper/fp32"]),
    ],
)
def test_a_misspelt_policy_is_one_line_with_the_nearest_name(name, words, tmp_path):
    done = run(name, [word.format(tmp_path) for word in words])
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "did you mean hopper" in line


def test_without_its_words_an_example_describes_itself():
    done = run("verilog.py", [])
    assert done.returncode == 1
    assert "python examples/verilog.py FOLDER" in done.stderr
