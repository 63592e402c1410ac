"""Compare our cores with the paper's, on its part and at its bits: a page and its rows.

`qpolicy bench fpga` writes ``docs/benchmarks/fpga.md`` and ``fpga.json``. A task whose ``paper``
policy is shipped at the paper's sizes is taken from ``config/policies``, and so is its ``selected``
policy; where there is no policy of the paper's sizes yet a random one stands in (``samples``), and
the table says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_fpga.design import Design, build, describe
from qpolicy_fpga.emit.io import emit_io, part_beside
from qpolicy_fpga.explore.choose import choose
from qpolicy_fpga.manifest import Manifest
from qpolicy_fpga.plan.devices import find_part
from qpolicy_fpga.plan.form import logic_budget
from qpolicy_fpga.plan.random_networks import SHAPES, trained_like
from qpolicy_fpga.report.energy import METHOD, estimate_energy
from qpolicy_fpga.report.report import end_to_end
from qpolicy_fpga.simulate.words import count_cycles
from qpolicy_fpga.yosys import YOSYS, synthesise
from qpolicy_ros.bench.fpga_core_rows import PAPER, CoreRow, Whole
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import scratch_folder, write_atomically
from qpolicy_ros.policy import (
    IntegerNetwork,
    find_policy,
    load_policy,
    make_engine,
)

NAME = "fpga"
PART, CLOCK_MHZ = "xc7a15t", 100.0
QUICK = ("hopper",)
_RANDOM_FRAMES = 64


@dataclass(frozen=True)
class Subject:
    """A network to build, and what it is.

    Attributes:
        task: one of ``samples.SHAPES``.
        origin: ``paper``, ``selected`` or ``random``.
        network: its integers.
        codes: input codes int32 ``(frames, n)`` whose switching activity counts.
        function_hash: of a shipped policy, else empty.
    """

    task: str
    origin: str
    network: IntegerNetwork
    codes: np.ndarray[Any, np.dtype[np.int32]]
    function_hash: str = ""


def subjects(task: str) -> Iterator[Subject]:
    """Yield the network of the paper's sizes, shipped or random, and the selected one if shipped.

    A shipped policy's activity is that of its golden vectors, a random one's of random codes.
    """
    _, hidden, _, *bits = SHAPES[task]
    shipped = {}
    for origin in ("paper", "selected"):
        try:
            file = find_policy(f"{task}/{origin}")
        except InputError:  # not shipped; a damaged one is named
            continue
        artifact = load_policy(file)
        network = artifact.network
        if network is not None:
            codes = make_engine(network, "numpy").codes_batch(artifact.golden.observations)[0]
            shipped[origin] = Subject(task, origin, network, codes, artifact.function_hash)
    paper = shipped.pop("paper", None)
    if paper is not None:
        network = paper.network
        sizes = [network.input_bits, network.core_bits, network.output_bits]
        paper = paper if sizes == bits and network.hidden == hidden else None
    if paper is None:
        network = trained_like(task)
        drawn = np.random.default_rng(0).integers(
            *network.input_range, (_RANDOM_FRAMES, SHAPES[task][0]), endpoint=True
        )
        paper = Subject(task, "random", network, drawn.astype(np.int32))
    yield paper
    yield from shipped.values()


def measure(subject: Subject, *, energy: bool = True) -> CoreRow:
    """Return the figures of a core beside the paper's; ``energy`` takes a simulation.

    Raises:
        InputError: it does not fit the paper's part, or Yosys is missing.
        BackendError: Verilator is missing.
    """
    network, paper = subject.network, PAPER[subject.task]
    part = find_part(PART)
    best, _ = choose(network, part, CLOCK_MHZ, "latency", None)
    design = build(network, best.forms, CLOCK_MHZ)
    core = design.core
    with scratch_folder() as folder:
        manifest = _write(network, design, folder)
        cells = synthesise([folder / name for name in design.files], "qpolicy_core")
        spent = estimate_energy(folder, manifest, subject.codes) if energy else None
    micros = core.cycles / CLOCK_MHZ
    resources = ("lut", "carry4", "ff", "bram36", "dsp")
    return CoreRow(
        subject=f"{subject.task}/{subject.origin}",
        ratio=paper.latency_us / micros,
        latency_us=micros,
        task=subject.task,
        policy=subject.origin,
        function_hash=subject.function_hash,
        forms=tuple(best.forms),
        cycles=core.cycles,
        target_cycles=paper.target_cycles,
        initiation_interval=core.interval,
        actions_per_s=CLOCK_MHZ * 1e6 / core.interval,
        lut=cells.lut,
        carry4=cells.carry4,
        ff=cells.ff,
        bram36=cells.bram36,
        dsp=cells.dsp,
        depth_ns=cells.depth_ns,
        depth_allowed_ns=logic_budget(CLOCK_MHZ),
        fits=all(getattr(cells, name) <= getattr(part, name) for name in resources),
        conditions={
            "part": PART,
            "clock_mhz": CLOCK_MHZ,
            "synthesis": f"Yosys {YOSYS} synth_xilinx -family xc7; sta, not routed",
        },
        energy=spent,
    )


def measure_words(network: IntegerNetwork) -> Whole:
    """Return the figures from sensor words to action words: core, quantiser and action table.

    The core is chosen for what the two leave of the part, so it may be another one than alone.

    Returns:
        The figures, their cycles simulated, and the core's among them.

    Raises:
        InputError: it does not fit the paper's part, an input has no exact product, or Yosys is
            missing.
        BackendError: Verilator is missing.
    """
    best, _ = choose(network, part_beside(network, find_part(PART)), CLOCK_MHZ, "latency", None)
    design = build(network, best.forms, CLOCK_MHZ)
    io = emit_io(network, design.core)
    with scratch_folder() as folder:
        manifest = replace(_write(network, design, folder), io=io.ports())
        for name, text in io.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        figures = end_to_end(folder, manifest)
        cycles = count_cycles(folder, manifest, network)
    return Whole(replace(figures, cycles=cycles), design.core.cycles)


def _write(network: IntegerNetwork, design: Design, folder: Path) -> Manifest:
    """Write a core's sources; return their manifest."""
    for name, text in design.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return describe(network, design, PART, CLOCK_MHZ)


def has_cycle_target(row: CoreRow) -> bool:
    """Whether a number of cycles is asked of a core: of those of the paper's sizes."""
    return row.policy != "selected"


def meets_target(row: CoreRow) -> bool:
    """Whether a core fits, within the path allowed and, at the paper's sizes, the cycles."""
    quick = not has_cycle_target(row) or row.cycles <= row.target_cycles
    return row.fits and row.depth_ns <= row.depth_allowed_ns and quick


def page(rows: list[CoreRow], notes: list[str], about: Sequence[str] = ()) -> str:
    """Return the tables as a page.

    Args:
        rows: what ``run`` makes.
        notes: lines on what is missing.
        about: lines on the machine and the versions.
    """
    lines = [
        "# The core beside the paper's",
        "",
        f"XC7A15T at {CLOCK_MHZ:g} MHz, core alone (input quantiser and tanh excluded, as in the",
        "paper) unless said otherwise. `paper`: the shipped policy at the paper's widths and bits;",
        "`random`: a random one of these sizes, where none is shipped yet; `selected`: the shipped",
        "policy that our own search chose. Cycles: first accepted beat to the result's validity,",
        f"asserted in simulation. Cells: Yosys {YOSYS} `synth_xilinx`, nothing packed; path: its",
        f"`sta`, before routing, {logic_budget(CLOCK_MHZ):g} ns asked for. Nothing was placed,",
        "routed or run on a board, here or in the paper (there: FINN 0.10.1, Vivado). The cycles",
        "asked are of the paper's sizes; a `selected` policy has its own and meets what is asked",
        "if it fits and its path is short enough ([targets](targets.md) hold its task's cycles",
        "against it all the same). `qpolicy bench fpga` writes this page.",
        "",
        *([*about, ""] if about else []),
        *_table(
            "task | policy | cycles (target) | interval | LUT | CARRY4 | FF | block RAM | DSP "
            "| path, ns | meets",
            [
                f"{row.task} | {row.policy} | {row.cycles}{_asked(row)} "
                f"| {row.initiation_interval} | {row.lut:,} | {row.carry4:,} "
                f"| {row.ff:,} | {row.bram36:g} | {row.dsp} | {row.depth_ns:.2f} "
                f"| {'yes' if meets_target(row) else 'no'}"
                for row in rows
            ],
        ),
        "",
        "Beside the paper (ours, the paper's):",
        "",
        *_table(
            "task | policy | latency, us | times faster | actions/s | LUT | FF | block RAM | DSP "
            "| energy an action, nJ",
            [_beside(row) for row in rows],
        ),
        "",
        *_words(rows),
        *notes,
        f"Energy: {METHOD}. A shipped policy's activity is that of its golden vectors back to",
        "back, a random one's of random codes. The paper's figure is Vivado's estimate.",
    ]
    return "\n".join([*lines, ""])


def _asked(row: CoreRow) -> str:
    """The cycles asked of a core, if any are."""
    return f" ({row.target_cycles})" if has_cycle_target(row) else ""


def _words(rows: list[CoreRow]) -> list[str]:
    """The section on whole designs."""
    wholes = [(row, row.whole.figures, row.whole.core_cycles) for row in rows if row.whole]
    if not wholes:
        return []
    return [
        "With quantiser and action table in fabric (`--with-io`): from the first accepted beat of",
        "sensor words to the action words' validity, in simulation, where every action word was",
        "the integer engine's, one by one and back to back. The core is chosen for the room that",
        "the two leave. The paper has no such figure: times faster is than its core alone.",
        "",
        *_table(
            "task | policy | cycles, with quantiser and action table | of these the core "
            "| core alone | interval | latency, us | times faster | LUT | CARRY4 | FF | block RAM "
            "| DSP | path, ns | fits",
            [
                f"{row.task} | {row.policy} | {whole.cycles} | {core_cycles} "
                f"| {row.cycles} | {whole.initiation_interval} | {whole.latency_us:.2f} "
                f"| {row.paper.latency_us / whole.latency_us:.1f} | {whole.lut:,} "
                f"| {whole.carry4:,} | {whole.ff:,} | {whole.bram36:g} | {whole.dsp} "
                f"| {whole.depth_ns:.2f} | {'yes' if whole.fits else 'no'}"
                for row, whole, core_cycles in wholes
            ],
        ),
        "",
    ]


def _table(head: str, rows: list[str]) -> list[str]:
    return [f"| {head} |", "|---" * (head.count("|") + 1) + "|", *(f"| {row} |" for row in rows)]


def _beside(row: CoreRow) -> str:
    """One task's figures and the paper's."""
    paper, spent, energy = row.paper, row.energy, "-"
    if spent is not None:
        energy = f"{spent.nj:.3g} ({spent.low_nj:.3g} to {spent.high_nj:.3g})"
    return (
        f"{row.task} | {row.policy} | {row.latency_us:.2f}, {paper.latency_us:g} "
        f"| {row.ratio:.0f} | {row.actions_per_s:,.0f}, {paper.actions_per_s:,.0f} "
        f"| {row.lut:,}, {paper.lut:,} | {row.ff:,}, {paper.ff:,} "
        f"| {row.bram36:g}, {paper.bram36:g} | {row.dsp}, {paper.dsp} "
        f"| {energy}, {paper.energy_nj:,}"
    )


def run(
    out: Path,
    say: Callable[[str], None],
    facts: Mapping[str, Any],
    about: Sequence[str],
    *,
    quick: bool = False,
) -> list[CoreRow]:
    """Measure every core, write ``fpga.json`` and ``fpga.md``, return the rows.

    Args:
        out: folder to write to, made if it is missing.
        say: takes progress.
        facts: machine, versions, revision, date: they join each row's conditions.
        about: lines of the page that say the same.
        quick: Hopper only.

    Raises:
        InputError: Yosys is missing.
        BackendError: Verilator is missing.
        OSError: ``out`` cannot be written.
    """
    rows, notes = [], []
    for task in QUICK if quick else SHAPES:
        for subject in subjects(task):
            try:
                row = measure(subject)
            except InputError as error:
                if subject.origin != "selected":
                    raise
                notes += [f"{task}/selected: {error}.", ""]
                continue
            row = replace(row, conditions={**facts, **row.conditions})
            spent = f", {row.energy.nj:.3g} nJ" if row.energy else ""
            say(
                f"fpga: {row.subject}: {row.cycles} cycles, {row.lut:,} LUT, "
                f"{row.depth_ns:.2f} ns{spent}"
            )
            try:
                whole = measure_words(subject.network)
            except InputError as error:
                rows.append(row)
                notes += [f"{row.subject} with quantiser and action table: {error}.", ""]
                continue
            rows.append(replace(row, whole=whole))
            figures = whole.figures
            say(
                f"fpga: {row.subject}, sensor words to action words: {figures.cycles} cycles, "
                f"{figures.lut:,} LUT, {figures.depth_ns:.2f} ns"
            )
    out.mkdir(parents=True, exist_ok=True)
    text = "[\n" + ",\n".join(json.dumps(row.as_json()) for row in rows) + "\n]\n"
    write_atomically(out / f"{NAME}.json", text.encode())
    write_atomically(out / f"{NAME}.md", page(rows, notes, about).encode())
    return rows
