"""Transport pynq on the real pynq package, off a board, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from board_bus import build_board
from policy_builders import random_artifact

from qpolicy_fpga import generate
from qpolicy_ros.policy import save_policy

ROOT = Path(__file__).parents[3]
ENVIRONMENT = ROOT / ".venv" / "pynq"
PACKAGES = ("pynq==4.0.0", "numpy<2", "safetensors")
SCRIPT = Path(__file__).with_name("pynq_offboard.py")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def python(full):
    """Python of an environment with pynq, made once; pynq needs NumPy below 2."""
    if not full:
        pytest.skip("makes an environment of its own for pynq: make test-full")
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "complete"
    if not stamp.is_file():
        make = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(ENVIRONMENT)]
        subprocess.run(make, check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", *PACKAGES]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"pynq cannot be installed: {done.stderr[-2000:]}"
        stamp.touch()
    return python


@pytest.fixture(scope="module")
def result(python, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pynq")
    policies = []
    for seed in (11, 12):
        artifact = random_artifact(seed, 11, (8,), 3)
        policies.append(folder / f"{seed}.safetensors")
        save_policy(artifact, policies[-1])
        if seed == 11:
            generate(artifact, "xc7z020", 100.0, "latency", folder / "core")
    library = build_board(folder / "core", folder / "wrapper")
    done = subprocess.run(
        [str(python), str(SCRIPT), str(library), *map(str, policies), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_actions_equal_the_integer_backends(result):
    assert result["equal"]


def test_it_runs_with_the_boards_numpy(result):
    assert result["numpy"].startswith("1.")


def test_the_bitstream_is_loaded_once(result):
    assert result["downloads"] == 1


def test_another_policys_core_is_refused(result):
    assert "it holds function" in result["other"]


def test_a_wrong_name_lists_the_known(result):
    assert "has no IP 'nothing_0'; it has: qpolicy_0" in result["name"]


def test_a_refused_write_is_named(result):
    assert "refused: write outside the map" in result["refused"]


def test_a_silent_bus_is_named(result):
    assert "the bus did not answer in time" in result["silent"]


def test_nothing_foreign_is_imported(result):
    assert result["foreign"] == []
