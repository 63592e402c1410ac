"""A short run of every fuzzing target; `make fuzz` gives each a million executions."""

from __future__ import annotations

import json
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


SEVERAL = (
    "import json, sys; from pathlib import Path;"
    "sys.path.insert(0, sys.argv[1]); import run;"
    "print(json.dumps(run.several(Path(sys.argv[2]), json.loads(sys.argv[3]))))"
)


def run(code, *words, timeout=None):
    """Run Python code; return the process as it ended."""
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
    )


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory, full):
    """Fuzz every target; return the executions asked for, the exit status and the words of each."""
    folder = tmp_path_factory.mktemp("fuzzed")
    executions = {name: count * (100 if full else 1) for name, count in EXECUTIONS.items()}
    words = [str(RUN.parent), str(folder), json.dumps(executions)]
    done = run(SEVERAL, *words, timeout=7000 if full else 500)
    assert done.returncode == 0, done.stderr[-3000:]
    said = {name: (folder / f"{name}.txt").read_text(errors="replace") for name in executions}
    statuses = json.loads(done.stdout.splitlines()[-1])
    return {name: (executions[name], statuses[name], said[name]) for name in executions}


@pytest.mark.timeout(7200)  # the first test waits for all; `fuzzed` has a limit of its own
@pytest.mark.parametrize("name", EXECUTIONS)
def test_nothing_but_named_errors(name, fuzzed):
    executions, status, said = fuzzed[name]
    assert status == 0, said[-3000:]
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
    done = run(spoil)
    assert done.returncode != 0
    assert "AssertionError" in done.stdout + done.stderr
    assert list(tmp_path.glob("crash-*"))
