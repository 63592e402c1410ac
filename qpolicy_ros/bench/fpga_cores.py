"""Compare our cores with the paper's, on its part and at its bits: a page and its rows.

`qpolicy bench fpga` writes ``docs/benchmarks/fpga.md`` and ``fpga.json``. A task whose ``paper``
policy is shipped at the paper's sizes is taken from ``config/policies``, and so is its ``selected``
policy; where there is no policy of the paper's sizes yet a random one stands in (``samples``), and
the table says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
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
PEER = "paper (FINN 0.10.1)"
QUICK = ("hopper",)
_RANDOM_FRAMES = 64


@dataclass(frozen=True)
class Paper:
    """The paper's selected policy of a task: Kresse & Lampert, arXiv 2511.07046, Tables 1 and 3.

    Attributes:
        latency_us: of the core at 100 MHz.
        lut, ff, bram36, dsp: cells after Vivado.
        actions_per_s: throughput.
        energy_nj: of an action, by Vivado's estimator.
        target_cycles: what we ask of our own core.
    """

    latency_us: float
    lut: int
    ff: int
    bram36: float
    dsp: int
    actions_per_s: float
    energy_nj: float
    target_cycles: int


PAPER = {
    "hopper": Paper(0.2, 2400, 2000, 0, 45, 4.8e6, 65, 8),
    "walker2d": Paper(162.2, 1900, 1600, 2, 4, 6.2e3, 28_000, 90),
    "halfcheetah": Paper(243.2, 4300, 4600, 15, 11, 4.1e3, 80_000, 320),
    "ant": Paper(2.3, 2700, 4500, 3, 45, 4.4e5, 890, 16),
    "humanoid": Paper(15.4, 2300, 3100, 1.5, 45, 6.5e4, 5_100, 50),
}


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


def measure(subject: Subject, *, energy: bool = True) -> dict[str, Any]:
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
    used: dict[str, float] = {"lut": cells.lut, "carry4": cells.carry4, "ff": cells.ff}
    used |= {"bram36": cells.bram36, "dsp": cells.dsp}
    micros = core.cycles / CLOCK_MHZ
    row: dict[str, Any] = {
        "bench": "fpga core",
        "subject": f"{subject.task}/{subject.origin}",
        "peer": PEER,
        "ratio": paper.latency_us / micros,
        # Cycles are exact: every inference takes as long.
        "p50_us": micros,
        "p99_us": micros,
        "peer_p50_us": paper.latency_us,
        "peer_p99_us": paper.latency_us,
        "task": subject.task,
        "policy": subject.origin,
        "function_hash": subject.function_hash,
        "forms": [list(astuple(form)) for form in best.forms],
        "cycles": core.cycles,
        "target_cycles": paper.target_cycles,
        "initiation_interval": core.interval,
        "actions_per_s": CLOCK_MHZ * 1e6 / core.interval,
        **used,
        "depth_ns": cells.depth_ns,
        "depth_allowed_ns": logic_budget(CLOCK_MHZ),
        "fits": all(used[name] <= getattr(part, name) for name in used),
        "paper": paper.__dict__,
        "conditions": {
            "part": PART,
            "clock_mhz": CLOCK_MHZ,
            "synthesis": f"Yosys {YOSYS} synth_xilinx -family xc7; sta, not routed",
        },
    }
    if spent is not None:
        row |= {
            "energy_nj_estimate": round(spent.nj, 3),
            "energy_nj_range": [round(spent.low_nj, 3), round(spent.high_nj, 3)],
            "energy_method": METHOD,
        }
    return row


def measure_words(network: IntegerNetwork) -> dict[str, Any]:
    """Return the figures from sensor words to action words: core, quantiser and action table.

    The core is chosen for what the two leave of the part, so it may be another one than alone.

    Returns:
        As ``report.end_to_end``, its cycles simulated, and the ``core_cycles`` among them.

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
        facts = end_to_end(folder, manifest)
        facts["cycles"] = count_cycles(folder, manifest, network)
    return facts | {"core_cycles": design.core.cycles}


def _write(network: IntegerNetwork, design: Design, folder: Path) -> Manifest:
    """Write a core's sources; return their manifest."""
    for name, text in design.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return describe(network, design, PART, CLOCK_MHZ)


def has_cycle_target(row: dict[str, Any]) -> bool:
    """Whether a number of cycles is asked of a core: of those of the paper's sizes."""
    return bool(row["policy"] != "selected")


def meets_target(row: dict[str, Any]) -> bool:
    """Whether a core fits, within the path allowed and, at the paper's sizes, the cycles."""
    quick = not has_cycle_target(row) or row["cycles"] <= row["target_cycles"]
    return bool(row["fits"] and row["depth_ns"] <= row["depth_allowed_ns"] and quick)


def page(rows: list[dict[str, Any]], notes: list[str], about: Sequence[str] = ()) -> str:
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
                f"{row['task']} | {row['policy']} | {row['cycles']}{_asked(row)} "
                f"| {row['initiation_interval']} | {row['lut']:,} | {row['carry4']:,} "
                f"| {row['ff']:,} | {row['bram36']:g} | {row['dsp']} | {row['depth_ns']:.2f} "
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


def _asked(row: dict[str, Any]) -> str:
    """The cycles asked of a core, if any are."""
    return f" ({row['target_cycles']})" if has_cycle_target(row) else ""


def _words(rows: list[dict[str, Any]]) -> list[str]:
    """The section on whole designs; rows of earlier versions have none."""
    wholes = [(row, row["end_to_end"]) for row in rows if "end_to_end" in row]
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
                f"{row['task']} | {row['policy']} | {whole['cycles']} | {whole['core_cycles']} "
                f"| {row['cycles']} | {whole['initiation_interval']} | {whole['latency_us']:.2f} "
                f"| {PAPER[row['task']].latency_us / whole['latency_us']:.1f} | {whole['lut']:,} "
                f"| {whole['carry4']:,} | {whole['ff']:,} | {whole['bram36']:g} | {whole['dsp']} "
                f"| {whole['depth_ns']:.2f} | {'yes' if whole['fits'] else 'no'}"
                for row, whole in wholes
            ],
        ),
        "",
    ]


def _table(head: str, rows: list[str]) -> list[str]:
    return [f"| {head} |", "|---" * (head.count("|") + 1) + "|", *(f"| {row} |" for row in rows)]


def _beside(row: dict[str, Any]) -> str:
    """One task's figures and the paper's."""
    paper = PAPER[row["task"]]
    energy = "-"
    if "energy_nj_estimate" in row:
        low, high = row["energy_nj_range"]
        energy = f"{row['energy_nj_estimate']:.3g} ({low:.3g} to {high:.3g})"
    return (
        f"{row['task']} | {row['policy']} | {row['p50_us']:.2f}, {paper.latency_us:g} "
        f"| {row['ratio']:.0f} | {row['actions_per_s']:,.0f}, {paper.actions_per_s:,.0f} "
        f"| {row['lut']:,}, {paper.lut:,} | {row['ff']:,}, {paper.ff:,} "
        f"| {row['bram36']:g}, {paper.bram36:g} | {row['dsp']}, {paper.dsp} "
        f"| {energy}, {paper.energy_nj:,}"
    )


def run(
    out: Path,
    say: Callable[[str], None],
    facts: Mapping[str, Any],
    about: Sequence[str],
    *,
    quick: bool = False,
) -> list[dict[str, Any]]:
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
            row["conditions"] = {**facts, **row["conditions"]}
            rows.append(row)
            say(
                f"fpga: {row['subject']}: {row['cycles']} cycles, {row['lut']:,} LUT, "
                f"{row['depth_ns']:.2f} ns, {row['energy_nj_estimate']:.3g} nJ"
            )
            try:
                row["end_to_end"] = whole = measure_words(subject.network)
            except InputError as error:
                notes += [f"{row['subject']} with quantiser and action table: {error}.", ""]
                continue
            say(
                f"fpga: {row['subject']}, sensor words to action words: {whole['cycles']} cycles, "
                f"{whole['lut']:,} LUT, {whole['depth_ns']:.2f} ns"
            )
    out.mkdir(parents=True, exist_ok=True)
    text = "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
    write_atomically(out / f"{NAME}.json", text.encode())
    write_atomically(out / f"{NAME}.md", page(rows, notes, about).encode())
    return rows
