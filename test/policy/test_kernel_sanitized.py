"""The C kernel under AddressSanitizer and UndefinedBehaviorSanitizer: odd shapes, hostile calls."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KERNEL = ROOT / "qpolicy_ros" / "policy" / "_kernel.c"
FLAGS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]

# A scratch package: this tree's policy/, with the kernel that was compiled for the test.
CHILD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("qpolicy_ros.policy._kernel", sys.argv[1])
kernel = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kernel)
sys.modules["qpolicy_ros.policy._kernel"] = kernel
import numpy as np
import qpolicy_ros.policy as policy
policy._kernel = kernel
sys.path.insert(0, sys.argv[2])
from policy_builders import random_network, random_observations
from qpolicy_ros.policy.c_engine import CEngine
from qpolicy_ros.policy.numpy_engine import NumpyEngine
rng = np.random.default_rng(0)
done = 0
for case in range(int(sys.argv[3])):
    widths = rng.choice([1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 100, 257], int(rng.integers(2, 5)))
    bits = dict(zip(("input_bits", "core_bits", "output_bits"), map(int, rng.integers(2, 9, 3))))
    inputs, *hidden, outputs = map(int, widths)
    network = random_network(case, inputs, hidden, outputs, **bits, extreme=case % 3 == 0)
    sets = kernel.instruction_sets()
    fast, plain = CEngine(network, sets[case % len(sets)]), NumpyEngine(network)
    observations = random_observations(case, 20, inputs)
    for observation in observations:
        assert (fast.act(observation) == plain.act(observation)).all()
    assert (fast.act_batch(observations) == plain.act_batch(observations)).all()
    assert all((a == b).all() for a, b in
               zip(fast.codes_batch(observations), plain.codes_batch(observations)))
    for wrong in (observations[0][:-1], np.full(inputs, np.nan, np.float32), "x", None,
                  np.zeros((2, 2, 2)), observations[:0]):
        for call in (fast.act, fast.act_batch):
            try:
                call(wrong)
            except (ValueError, TypeError, BufferError):
                pass
    buffers = (np.zeros(0, "f4"), np.zeros(outputs + 1, "f4"), np.zeros(outputs), b"", None,
               np.zeros(2 * outputs, "f4")[::2])
    for buffer in buffers:
        for call in (fast._kernel.act, fast._kernel.act_batch, fast._kernel.codes_batch):
            try:
                call(observations[0], buffer)
            except (ValueError, TypeError, BufferError):
                pass
    parts = [network.mean, network.gain, network.table, tuple(bits.values()), network.weights,
             network.thresholds, ""]
    for index, part in enumerate(parts):
        shorter = part[:-1]
        for other in (shorter, part[:0], None, 7, (part,), "z", (), np.zeros((3, 0), "i1")):
            try:
                made = kernel.Kernel(*parts[:index], other, *parts[index + 1:])
                made.act(observations[0], np.zeros(outputs, "f4"))
            except (ValueError, TypeError, BufferError):
                pass
    done += 1
print("cases", done)
"""


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """The kernel built with both sanitizers, and the runtime that must be loaded first."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed")
    found = subprocess.run(
        [compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    )
    runtime = Path(found.stdout.strip())
    if not runtime.is_absolute():
        pytest.skip("gcc has no AddressSanitizer")
    module = tmp_path_factory.mktemp("kernel") / "_kernel.so"
    subprocess.run(
        [
            *(compiler, "-shared", "-fPIC", "-O1", "-g", "-ffp-contract=off", *FLAGS),
            *("-I", sysconfig.get_path("include"), str(KERNEL), "-o", str(module)),
        ],
        check=True,
    )
    return module, runtime.resolve()


def run(sanitized, code, *arguments):
    module, runtime = sanitized
    environment = {
        **os.environ,
        "LD_PRELOAD": str(runtime),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",  # the interpreter itself never frees all
        "PYTHONMALLOC": "malloc",  # so that Python's own arrays have red zones too
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", code, str(module), str(ROOT / "test" / "helpers"), *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_odd_shapes_and_hostile_calls_touch_nothing_they_must_not(sanitized, full):
    cases = 400 if full else 25
    done = run(sanitized, CHILD, str(cases))
    assert done.returncode == 0, done.stderr[-4000:]
    assert f"cases {cases}" in done.stdout


def test_the_sanitizer_is_on(sanitized):
    spoil = "import ctypes; ctypes.memset(ctypes.create_string_buffer(8), 0, 4096)"
    assert "AddressSanitizer" in run(sanitized, spoil).stderr
