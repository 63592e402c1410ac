"""Lint every Verilog file: the hand-written ones and those of a few generated policies.

``python -m qpolicy_fpga.lint [FOLDER ...]`` checks folders that `qpolicy fpga generate` wrote;
without arguments small networks that use every form and tail. Prints what is wrong; exit status
1 if anything is.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from qpolicy_fpga.design import build
from qpolicy_fpga.manifest import read_manifest
from qpolicy_fpga.plan import Form
from qpolicy_fpga.samples import evenly_spaced
from qpolicy_fpga.sim import lint
from qpolicy_ros.backends.base import BackendError
from qpolicy_ros.policy import IntegerNetwork, PolicyError, accumulator_bounds

TOP = "qpolicy_core"
# widths, (input, core, output bits), forms: together every form and every tail, the narrowest and
# the widest codes, one value in or out, and sizes around a power of two and a beat of the bus
SAMPLES = (
    ((6, 5, 3), (3, 2, 3), (Form(1, 3), Form(1, 1))),
    ((70, 16, 7, 3), (8, 3, 8), (Form(8, 3), Form(1, 2), Form(2, 1))),
    ((9, 40, 4), (5, 3, 8), (Form(40, 5, ram=True), Form(3, 3))),
    ((5, 6, 2), (4, 6, 8), (Form(4, 2), Form(1, 6))),
    ((1, 1, 1), (2, 2, 2), (Form(1, 2), Form(1, 2))),
    ((2, 1, 2), (8, 8, 8), (Form(1, 8), Form(1, 8))),
    ((32, 33, 1), (8, 2, 2), (Form(11, 8), Form(1, 1))),
    ((129, 31, 17), (2, 4, 8), (Form(31, 2, ram=True), Form(17, 4, ram=True))),
    ((33, 32, 9), (7, 7, 5), (Form(32, 1), Form(3, 7))),
    ((70, 8, 5, 3), (8, 3, 8), (Form(1, 8, stream=True), Form(3, 3), Form(1, 3, stream=True))),
    ((9, 67, 3), (5, 3, 5), (Form(34, 5, ram=True), Form(1, 3, stream=True))),
)
# for codes by multiplication
EVEN = (12, (32,), 5, 4, 5, 8)


def main(folders: list[str]) -> int:
    """Lint ``folders``, or the samples; return the exit status."""
    wrong = 0
    if folders:
        for folder in map(Path, folders):
            try:
                names = read_manifest(folder)["files"]
            except PolicyError as error:
                sys.stderr.write(f"error: {error}\n")
                return 2
            wrong += _report([folder / n for n in names if n.endswith(".v")], str(folder))
        return min(wrong, 1)
    samples = [
        (_network(at, widths, bits), forms) for at, (widths, bits, forms) in enumerate(SAMPLES)
    ]
    samples.append((evenly_spaced(*EVEN), (Form(16, 1), Form(1, 5, stream=True))))
    for index, (network, forms) in enumerate(samples):
        with tempfile.TemporaryDirectory() as scratch:
            design = build(network, forms, 100.0)
            for name, text in design.files.items():
                Path(scratch, name).write_text(text, encoding="utf-8")
            files = [Path(scratch, name) for name in design.files]
            wrong += _report(files, f"sample {index}")
    return min(wrong, 1)


def _report(files: list[Path], name: str) -> int:
    """Print what is wrong with one design, or why it was not looked at; return 1 if anything is."""
    try:
        said = lint(files, TOP)
    except BackendError as error:
        said = f"error: {error}"
    if said:
        sys.stderr.write(f"{name}:\n{said}\n")
    return int(bool(said))


def _network(seed: int, widths: tuple[int, ...], bits: tuple[int, int, int]) -> IntegerNetwork:
    """A random network of the given widths (inputs first) and bits."""
    rng = np.random.default_rng(seed)
    b_in, b_core, b_out = bits
    weights, thresholds = [], []
    for layer in range(len(widths) - 1):
        weight = rng.integers(
            -(1 << (b_core - 1)), 1 << (b_core - 1), widths[layer : layer + 2][::-1]
        )
        signed = layer == 0
        codes = (-(1 << (b_in - 1)), (1 << (b_in - 1)) - 1) if signed else (0, (1 << b_core) - 1)
        low, high = accumulator_bounds(weight, *codes)
        levels = (1 << (b_out if layer == len(widths) - 2 else b_core)) - 1
        rows = rng.integers(low[:, None], high[:, None] + 2, (len(low), levels))
        weights.append(weight.astype(np.int8))
        thresholds.append(np.sort(rows, axis=1).astype(np.int32))
    return IntegerNetwork(
        mean=np.zeros(widths[0], np.float32),
        gain=np.ones(widths[0], np.float32),
        input_bits=b_in,
        core_bits=b_core,
        output_bits=b_out,
        weights=tuple(weights),
        thresholds=tuple(thresholds),
        table=np.zeros((widths[-1], 1 << b_out), np.float32),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
