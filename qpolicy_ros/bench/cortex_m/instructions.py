"""The C header on simulated microcontrollers: instructions an action, beside a float MLP.

Two of Arm's boards under QEMU: a Cortex-M3, whose float arithmetic is software, and a Cortex-M4
with its FPU. ``main.c`` says how instructions are counted.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qpolicy_ros.bench.cases import Case, random_case
from qpolicy_ros.bench.measure import DisagreementError
from qpolicy_ros.bench.report import conditions, describe, write
from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.interchange.outgoing import c_header
from qpolicy_ros.policy import Baseline, make_engine
from qpolicy_ros.policy.baseline import baseline_actions, fp32_tolerance

Say = Callable[[str], None]

NAME = "cortex_m"
_CASES = ("hopper shape", "walker2d shape", "halfcheetah shape", "ant shape", "humanoid shape")
_OBSERVATIONS = 16
_COMPILER, _SIZE, _EMULATOR = "arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm"
_FLAGS = ("-std=c99", "-Wall", "-Wextra", "-O3", "-funroll-loops", "-ffunction-sections")
_LINK = ("-nostartfiles", "-Wl,--gc-sections", "--specs=nosys.specs")
_SHIFT = 10  # of -icount: an instruction takes 2^10 ns
_TICK_NS = 40  # of the boards' timer
_CALIBRATION = 100_000  # turns of a loop of two instructions
_PATIENCE = 600.0  # s for one simulation
_HEADER, _CODES, _MLP = "C header", "C header, codes only", "float C MLP"
_KINDS = {_HEADER: "act", _CODES: "infer", _MLP: "mlp"}


class Core(NamedTuple):
    """A processor: QEMU's board and the compiler's options."""

    board: str
    flags: tuple[str, ...]


CORES = {
    "Cortex-M3": Core("mps2-an385", ("-mthumb", "-mcpu=cortex-m3")),
    "Cortex-M4F": Core(
        "mps2-an386", ("-mthumb", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
    ),
}


@dataclass(frozen=True)
class Count:
    """What one subject takes.

    Attributes:
        mean, largest: instructions an action.
        flash: bytes of code and constants, without the C library's.
    """

    mean: float
    largest: int
    flash: int


def missing() -> str:
    """Say in one line what is not installed, empty if all is there."""
    absent = [tool for tool in (_COMPILER, _EMULATOR) if shutil.which(tool) is None]
    if not absent and subprocess.run(
        [_COMPILER, "--specs=nosys.specs", "-E", "-x", "c", "-", "-o", "/dev/null"],
        input="#include <math.h>\n", capture_output=True, text=True, check=False,
    ).returncode:  # fmt: skip
        absent = ["newlib"]
    if not absent:
        return ""
    return f"{', '.join(absent)}: not installed, left out; run `scripts/setup_system.sh cortex`"


def run(out: Path, say: Say, *, quick: bool = False) -> list[dict[str, Any]]:
    """Count, write ``cortex_m.json`` and ``.md``, return the rows; none if tools are missing.

    Args:
        out: folder to write to.
        say: takes progress.
        quick: one shape.

    Raises:
        DisagreementError: the header's codes or actions are not the engine's bit for bit, the
            float MLP's not the baseline's, or instructions are not counted right.
    """
    if absent := missing():
        say(f"{NAME}: {absent}")
        return []
    facts = conditions(tools=_tools(), flags=" ".join(_FLAGS), observations=_OBSERVATIONS)
    found: dict[str, dict[str, dict[str, Count]]] = {}
    for name in _CASES[:1] if quick else _CASES:
        case = random_case(name)
        found[name] = {}
        for core in CORES:
            counts = count(case, core)
            found[name][core] = counts
            say(f"{name}, {core}: " + ", ".join(f"{n} {c.mean:,.0f}" for n, c in counts.items()))
    rows = list(_rows(found))
    write(out, NAME, rows, facts, _table(found, facts))
    return rows


def count(case: Case, core: str, observations: int = _OBSERVATIONS) -> dict[str, Count]:
    """Return the instructions an action of each subject on a core of ``CORES``, by name.

    Raises ``DisagreementError`` as ``run`` does.
    """
    values = case.observations[:observations]
    with scratch_folder() as folder:
        flash = _build(case, values, folder, CORES[core])
        lines = _simulate(folder, CORES[core])
    where = f"{case.name}: {core}"
    ticks, results = parse(where, lines, len(values))
    verify(where, case, values, results)
    counts = {}
    for name, kind in _KINDS.items():
        own = [_instructions(each - ticks["nothing"][0]) for each in ticks[kind]]
        counts[name] = Count(float(np.mean(own)), max(own), flash["mlp" if name == _MLP else kind])
    return counts


def _instructions(ticks: int) -> int:
    return round(ticks * _TICK_NS / (1 << _SHIFT))


def _build(case: Case, values: np.ndarray, folder: Path, core: Core) -> dict[str, int]:
    """Compile ``program.elf``; return bytes of code and constants of the subjects, by kind."""
    network, baseline = case.artifact.network, case.artifact.baseline
    assert network is not None
    codes = make_engine(network, "numpy").codes_batch(values)[0]
    sources = Path(__file__).parent
    texts = {
        "policy.h": c_header(case.artifact, "under_test"),
        "case.h": _case_header(values, codes, case.artifact.baseline.scale.size),
        "baseline.h": _baseline_header(baseline),
        "act.c": _WRAP_ACT,
        "infer.c": _WRAP_INFER,
        "main.c": (sources / "main.c").read_text(encoding="ascii"),
        "mlp.c": (sources / "mlp.c").read_text(encoding="ascii"),
        "float_mlp.h": (sources.parent / "float_mlp.h").read_text(encoding="ascii"),
        "board.ld": (sources / "cortex_m.ld").read_text(encoding="ascii"),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="ascii")
    flash = {}
    for part in ("act", "infer", "mlp", "main"):
        _call([_COMPILER, *_FLAGS, *core.flags, "-c", f"{part}.c", "-o", f"{part}.o"], folder)
        # text (with constants) + data, of the one object.
        fields = _call([_SIZE, f"{part}.o"], folder).splitlines()[1].split()
        flash[part] = int(fields[0]) + int(fields[1])
    objects = [f"{part}.o" for part in flash]
    link = [*_LINK, "-T", "board.ld", *objects, "-lm", "-o", "program.elf"]
    _call([_COMPILER, *_FLAGS, *core.flags, *link], folder)
    return flash


def _simulate(folder: Path, core: Core) -> list[str]:
    command = [
        _EMULATOR, "-M", core.board, "-nographic", "-monitor", "none", "-serial", "none",
        "-icount", f"shift={_SHIFT},align=off,sleep=off", "-kernel", "program.elf",
        "-semihosting-config", "enable=on,target=native",
    ]  # fmt: skip
    return _call(command, folder).splitlines()


def _call(command: Sequence[str], folder: Path) -> str:
    """Return what a command writes to either stream."""
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=_PATIENCE, check=False,
    )  # fmt: skip
    if done.returncode:
        first = " ".join(done.stdout.split())[:300]
        raise DisagreementError(f"{command[0]}: status {done.returncode}: {first}")
    return done.stdout


def parse(
    where: str, lines: Sequence[str], observations: int
) -> tuple[dict[str, list[int]], dict[str, np.ndarray]]:
    """Return ticks and result words uint32 ``(observations, m)`` by kind of line."""
    ticks: dict[str, list[int]] = {}
    words: dict[str, list[list[int]]] = {}
    for line in lines:
        kind, *numbers = line.split()
        if kind not in ("nothing", "calibrate", *_KINDS.values()):
            raise DisagreementError(f"{where}: the program says {line!r}")
        values = [int(number, 16) for number in numbers]
        ticks.setdefault(kind, []).append(values[0])
        words.setdefault(kind, []).append(values[1:])
    wanted = {"nothing": 1, "calibrate": 1, **dict.fromkeys(_KINDS.values(), observations)}
    got = {kind: len(each) for kind, each in ticks.items()}
    if got != wanted:
        raise DisagreementError(f"{where}: the program ended early: {got} of {wanted} lines")
    loop = _instructions(ticks["calibrate"][0] - ticks["nothing"][0])
    if not 0 <= loop - 2 * _CALIBRATION <= 8:  # what loads the counter is counted too
        raise DisagreementError(
            f"{where}: a loop of {2 * _CALIBRATION} instructions is counted as {loop}"
        )
    return ticks, {kind: np.array(words[kind], np.uint32) for kind in _KINDS.values()}


def verify(where: str, case: Case, values: np.ndarray, results: Mapping[str, np.ndarray]) -> None:
    """Compare result words uint32 ``(observations, m)`` by kind with what they must be.

    Raises ``DisagreementError`` as ``run`` does.
    """
    assert case.artifact.network is not None
    engine = make_engine(case.artifact.network, "numpy")
    codes, actions = engine.codes_batch(values)[-1], engine.act_batch(values)
    if not np.array_equal(results["infer"].view(np.int32), codes):
        raise DisagreementError(f"{where}: the header's output codes are not the engine's")
    if not np.array_equal(results["act"], np.ascontiguousarray(actions).view(np.uint32)):
        raise DisagreementError(f"{where}: the header's actions are not the engine's")
    errors = np.abs(
        results["mlp"].view(np.float32) - baseline_actions(case.artifact.baseline, values)
    )
    bound = fp32_tolerance(case.artifact.contract)
    if not np.all(errors <= bound):
        raise DisagreementError(f"{where}: the float MLP is {errors.max():g} off (bound {bound:g})")


def _case_header(values: np.ndarray, codes: np.ndarray, outputs: int) -> str:
    count, inputs = values.shape
    sizes = f"INPUTS = {inputs}, OUTPUTS = {outputs}, COUNT = {count}"
    return "\n".join([
        f"enum {{ {sizes}, CALIBRATION = {_CALIBRATION} }};",
        f"static const float observations[COUNT][INPUTS] = {{{_floats(values)}}};",
        f"static const int8_t codes[COUNT][INPUTS] = {{{', '.join(map(str, codes.ravel()))}}};",
        "",
    ])  # fmt: skip


def _baseline_header(baseline: Baseline) -> str:
    sizes = [baseline.mean.size, *(weight.shape[0] for weight in baseline.weights)]
    layers = len(baseline.weights)
    vectors = {
        "mean": baseline.mean,
        "gain": (1.0 / baseline.std).astype(np.float32),
        "scale": baseline.scale,
        "offset": baseline.bias,
        **{f"w{i}": weight.T for i, weight in enumerate(baseline.weights)},  # [input][output]
        **{f"b{i}": bias for i, bias in enumerate(baseline.biases)},
    }
    lines = [
        f"enum {{ layers = {layers}, WIDTH = {max(sizes)} }};",
        f"static const float clip = {baseline.clip:.9e}f;",
        f"static const int sizes[layers + 1] = {{{', '.join(map(str, sizes))}}};",
    ]
    lines += [f"static const float {n}[] = {{{_floats(v)}}};" for n, v in vectors.items()]
    for array, letter in (("weights", "w"), ("biases", "b")):
        names = ", ".join(f"{letter}{i}" for i in range(layers))
        lines.append(f"static const float *const {array}[layers] = {{{names}}};")
    return "\n".join([*lines, ""])


def _floats(values: np.ndarray) -> str:
    return ", ".join(f"{value:.9e}f" for value in np.ravel(values).tolist())


def _tools() -> dict[str, str]:
    return {
        tool: _call([tool, "--version"], Path()).splitlines()[0] for tool in (_COMPILER, _EMULATOR)
    }


def _rows(found: Mapping[str, Mapping[str, Mapping[str, Count]]]) -> Iterator[dict[str, Any]]:
    """Yield the header, with and without its float steps, against the float MLP."""
    untimed = dict.fromkeys(("p50_us", "p99_us", "peer_p50_us", "peer_p99_us"))  # by no clock
    for name, cores in found.items():
        for core, counts in cores.items():
            peer = counts[_MLP]
            for subject in (_HEADER, _CODES):
                mine = counts[subject]
                yield {
                    "bench": f"{NAME}/{name}/{core}",
                    "subject": subject,
                    "peer": _MLP,
                    "ratio": peer.mean / mine.mean,
                    **untimed,
                    "instructions": round(mine.mean),
                    "largest_instructions": mine.largest,
                    "peer_instructions": round(peer.mean),
                    "peer_largest_instructions": peer.largest,
                    "flash_bytes": mine.flash,
                    "peer_flash_bytes": peer.flash,
                }


def _table(
    found: Mapping[str, Mapping[str, Mapping[str, Count]]], facts: Mapping[str, Any]
) -> list[str]:
    """Return the Markdown page."""
    lines = ["# The C header on a Cortex-M", "", _HOW, ""]
    lines += [
        "| policy | core | C header | codes only | float MLP | MLP / header | flash, KiB |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, cores in found.items():
        for core, counts in cores.items():
            mine, codes, peer = (counts[each] for each in (_HEADER, _CODES, _MLP))
            lines.append(
                f"| {random_case(name).shape} | {core} | {mine.mean:,.0f} | {codes.mean:,.0f} "
                f"| {peer.mean:,.0f} | {peer.mean / mine.mean:.1f} "
                f"| {mine.flash / 1024:.1f}, {peer.flash / 1024:.1f} |"
            )
    lines += ["", *describe(facts)]
    lines += [f"- {version}" for version in facts["tools"].values()]
    boards = ", ".join(f"{name}: {core.board}" for name, core in CORES.items())
    return [*lines, f"- boards of QEMU: {boards}; compiled with `{facts['flags']}`"]


_HOW = (
    f"Instructions an action (mean over {_OBSERVATIONS} observations), counted by QEMU in a "
    "simulated microcontroller; no cache and no flash wait states are in them, so a real one takes "
    "more cycles than that. `C header`: float observation to float action, as `qpolicy export "
    "--format c` writes it; `codes only`: from input codes to output codes, integers alone. `float "
    "MLP`: the FP32 policy of the same widths in plain C, zeros behind a ReLU skipped. Same "
    "compiler and options. The Cortex-M3 has no FPU, its floats are the compiler's library. The "
    "header's codes and actions equal the integer engine's bit for bit, the MLP's the baseline's "
    "within the stated bound, and a loop of known length is counted right: else there is no page. "
    "Flash: code and constants of header and MLP, without the C library. `qpolicy bench cortex` "
    "writes this page."
)
_WRAP_ACT = """\
#define QPOLICY_FLOAT
#include "policy.h"
int policy_act(const float *observation, float *action) {
    return under_test_act(observation, action);
}
"""
_WRAP_INFER = """\
#include "policy.h"
void policy_infer(const int8_t *input, int8_t *output) { under_test_infer(input, output); }
"""
