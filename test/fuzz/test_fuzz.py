"""A short run of every fuzzing target; `make fuzz` gives each a million executions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris", reason="atheris has no wheel for this machine")

RUN = Path(__file__).with_name("run.py")
EXECUTIONS = {
    "frames": 2500,
    "reply": 1000,
    "manifest": 1500,
    "policy": 1500,
    "bag": 1000,
    "bag_db3": 1000,
    "robot": 1000,
    "qat": 1000,
    "checkpoint": 1000,
    "certificate": 1500,
    "ledger": 1500,
    "curve": 1500,
    "hardware": 1500,
    "onnx": 500,
    "contract": 1000,
    "pickle": 1500,
    "zip": 500,
}


def run(*command):
    """Return exit status and what was said on either stream."""
    process = subprocess.run(
        [sys.executable, *command],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    return process.returncode, process.stdout


@pytest.mark.parametrize("name", EXECUTIONS)
def test_nothing_but_named_errors(name, tmp_path, full):
    executions = EXECUTIONS[name] * (100 if full else 1)
    code, said = run(str(RUN), name, str(tmp_path), str(executions))
    assert code == 0, said[-3000:]
    # libFuzzer may end a few executions late, never early.
    assert int(re.findall(r"stat::number_of_executed_units: (\d+)", said)[-1]) >= executions


def test_a_reader_that_crashes_is_found(tmp_path):
    spoil = (
        "import sys; from pathlib import Path;"
        f"sys.path.insert(0, {str(RUN.parent)!r});"
        "import run; from qpolicy_ros.backends.fpga import frames;"
        "frames.Decoder.feed = lambda self, data: [frames.Frame(1, 2, b'')];"
        f"run.main('frames', Path({str(tmp_path)!r}), 20_000)"
    )
    code, said = run("-c", spoil)
    assert code != 0
    assert "AssertionError" in said
    assert list(tmp_path.glob("crash-*"))
