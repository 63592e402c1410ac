"""Lint every Verilog file: the hand-written ones and those of a few generated policies.

What is written around a core is linted around the core's ports alone: its inside is linted once.

``python -m qpolicy_fpga.report.lint [FOLDER ...]`` checks folders that `qpolicy fpga generate`
wrote: the core, its test bench, and front and back where it has them. Without arguments it checks
small networks that use every form and tail, and a shipped policy with all that is written around a
core: bench, front and back, the wrappers, the timeout block, the Arty A7's top. Prints what is
wrong; exit status 1 if anything is.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np

from qpolicy_fpga.design import VIVADO, build, generate
from qpolicy_fpga.emit.testbench import BENCH
from qpolicy_fpga.manifest import read_manifest
from qpolicy_fpga.plan.form import Form
from qpolicy_fpga.plan.random_networks import evenly_spaced
from qpolicy_fpga.simulate.core import lint
from qpolicy_fpga.wrappers.tops import (
    RTL,
    SUPERVISED,
    WRAPPERS,
    Sizes,
    top_name,
    write_wrapper,
)
from qpolicy_ros.backends.base import BackendError
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.policy import (
    IntegerNetwork,
    accumulator_bounds,
    find_policy,
    load_policy,
)

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
    ((3, 4, 2), (2, 2, 4), (Form(1, 2, lookup=True), Form(1, 2, lookup=True))),
)
SHIPPED = "hopper/paper"
# for codes by multiplication
EVEN = (12, (32,), 5, 4, 5, 8)


def main(folders: list[str]) -> int:
    """Lint ``folders``, or all there is; return the exit status."""
    if folders:
        try:
            return max(_folder(Path(folder)) for folder in folders)
        except InputError as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
    wrong = 0
    samples = [
        (_network(at, widths, bits), forms) for at, (widths, bits, forms) in enumerate(SAMPLES)
    ]
    samples.append((evenly_spaced(*EVEN), (Form(16, 1), Form(1, 5, stream=True))))
    for index, (network, forms) in enumerate(samples):
        with scratch_folder() as scratch:
            design = build(network, forms, 100.0)
            for name, text in design.files.items():
                Path(scratch, name).write_text(text, encoding="utf-8")
            files = [Path(scratch, name) for name in design.files]
            wrong |= _report(files, TOP, f"sample {index}")
    with scratch_folder() as scratch:
        folder = Path(scratch, SHIPPED)
        policy = load_policy(find_policy(SHIPPED))
        generate(policy, "xc7a100t", 100.0, "latency", folder, with_io=True)
        wrong |= _folder(folder) | _around(folder, Path(scratch))
    return wrong | _report([RTL / "qpolicy_axi_timeout.v"], "qpolicy_axi_timeout", "RTL")


def _folder(folder: Path) -> int:
    """Lint a generated folder; return 1 if anything is wrong."""
    manifest = read_manifest(folder)
    core = manifest.verilog(folder)
    wrong = _report(core, TOP, str(folder))
    with scratch_folder() as scratch:
        ports = _ports_alone(folder, Path(scratch))
        if (folder / BENCH).is_file():
            # Only the bench has a time scale: it has delays.
            timed = ("--timing", "--timescale", "1ns/1ps")
            wrong |= _report([ports, folder / BENCH], Path(BENCH).stem, str(folder), *timed)
        if manifest.io:
            whole = [ports, *(folder / name for name in manifest.io.files)]
            wrong |= _report(whole, manifest.io.top, str(folder))
    return wrong


def _ports_alone(folder: Path, scratch: Path) -> Path:
    """Write the core's module with its ports and nothing inside; return the file."""
    text = (folder / f"{TOP}.v").read_text(encoding="utf-8")
    found = re.search(rf"^module {TOP} \(.*?^\);$", text, re.DOTALL | re.MULTILINE)
    if found is None:
        raise InputError.at(
            folder / f"{TOP}.v", "module", f"no ports of {TOP}", "generate it again"
        )
    path = scratch / f"{TOP}.v"
    quiet = "// verilator lint_off UNDRIVEN\n// verilator lint_off UNUSEDSIGNAL\n"
    text = f"{quiet}{found[0]}\nendmodule\n// verilator lint_on UNDRIVEN\n"
    path.write_text(f"{text}// verilator lint_on UNUSEDSIGNAL\n", encoding="utf-8")
    return path


def _around(folder: Path, scratch: Path) -> int:
    """Lint the wrappers around a generated core, and the Arty A7's top around one of them."""
    manifest = read_manifest(folder)
    core = _ports_alone(folder, scratch)
    wrong = 0
    for kind in WRAPPERS:
        if manifest.ranges and kind not in SUPERVISED:
            continue
        place = scratch / kind
        files = [core, *write_wrapper(kind, Sizes.of(manifest), place)]
        tops = {top_name(kind): files}
        if kind == "uart":
            tops["arty_a7"] = [*files, VIVADO / "arty_a7.v"]
        for top, sources in tops.items():
            wrong |= _report(sources, top, f"{folder.name}, {kind}", f"-I{place}")
    return wrong


def _report(files: list[Path], top: str, name: str, *options: str) -> int:
    """Print what is wrong with one design, or why it was not looked at; return 1 if anything is."""
    try:
        said = lint(files, top, *options)
    except BackendError as error:
        said = f"error: {error}"
    if said:
        sys.stderr.write(f"{name}, {top}:\n{said}\n")
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
