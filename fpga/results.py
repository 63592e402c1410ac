"""Compare our cores with the paper's, on its part and at its bits: one table, one JSON file.

``python -m qpolicy_fpga.results`` writes ``docs/benchmarks/fpga.md`` and ``fpga.json``. A task
whose policy is shipped at the paper's sizes is taken from ``config/policies``; for the others a
random policy of the paper's sizes stands in (``samples``), and the table says so.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from qpolicy_fpga.design import build
from qpolicy_fpga.explore import choose
from qpolicy_fpga.parts import find_part
from qpolicy_fpga.plan import logic_budget
from qpolicy_fpga.samples import SHAPES, trained_like
from qpolicy_fpga.synth import YOSYS, synthesise
from qpolicy_ros.policy import IntegerNetwork, PolicyError, find_policy, load_policy
from qpolicy_ros.policy.files import write_atomically

FOLDER = Path("docs/benchmarks")
PART, CLOCK_MHZ = "xc7a15t", 100.0
# Kresse & Lampert, arXiv 2511.07046, Table 3, selected policies: latency in us at 100 MHz, LUT,
# FF, block RAM of 36 Kbit, DSP, actions a second.
PAPER: dict[str, tuple[float, int, int, float, int, float]] = {
    "hopper": (0.2, 2400, 2000, 0, 45, 4.8e6),
    "walker2d": (162.2, 1900, 1600, 2, 4, 6.2e3),
    "halfcheetah": (243.2, 4300, 4600, 15, 11, 4.1e3),
    "ant": (2.3, 2700, 4500, 3, 45, 4.4e5),
    "humanoid": (15.4, 2300, 3100, 1.5, 45, 6.5e4),
}
_COLUMNS: tuple[str, ...] = (
    "task",
    "policy",
    "cycles (target)",
    "interval",
    "LUT",
    "CARRY4",
    "FF",
    "block RAM",
)
_COLUMNS += ("FF", "block RAM", "DSP", "path, ns", "latency, us", "the paper's", "ratio")
TARGETS = {"hopper": 8, "walker2d": 90, "halfcheetah": 320, "ant": 16, "humanoid": 50}


def measure(task: str) -> dict[str, Any]:
    """Return the figures of one task's core beside the paper's."""
    network, origin = _network(task)
    part = find_part(PART)
    best, _ = choose(network, part, CLOCK_MHZ, "latency", None)
    design = build(network, best.forms, CLOCK_MHZ)
    with tempfile.TemporaryDirectory() as scratch:
        for name, text in design.files.items():
            Path(scratch, name).write_text(text, encoding="utf-8")
        cells = synthesise([Path(scratch, name) for name in design.files], "qpolicy_core")
    used: dict[str, float] = {"lut": cells.lut, "carry4": cells.carry4, "ff": cells.ff}
    used |= {"bram36": cells.bram36, "dsp": cells.dsp}
    latency, lut, ff, bram36, dsp, rate = PAPER[task]
    micros = design.core.cycles / CLOCK_MHZ
    return {
        "task": task,
        "policy": origin,
        "forms": [[form.fold, form.planes, form.ram] for form in best.forms],
        "cycles": design.core.cycles,
        "target_cycles": TARGETS[task],
        "initiation_interval": design.core.interval,
        "latency_us": micros,
        "actions_per_s": CLOCK_MHZ * 1e6 / design.core.interval,
        **used,
        "depth_ns": cells.depth_ns,
        "fits": all(used[name] <= getattr(part, name) for name in used),
        "paper": {
            "latency_us": latency,
            "lut": lut,
            "ff": ff,
            "bram36": bram36,
            "dsp": dsp,
            "actions_per_s": rate,
        },
        "latency_ratio": latency / micros,
    }


def _network(task: str) -> tuple[IntegerNetwork, str]:
    """The shipped policy of the paper's sizes, else a random one; and which it is."""
    _, hidden, _, *bits = SHAPES[task]
    try:
        network = load_policy(find_policy(task)).network
    except PolicyError:
        network = None
    if network is not None:
        same = [network.input_bits, network.core_bits, network.output_bits] == bits
        if same and network.hidden == hidden:
            return network, "shipped"
    return trained_like(task), "random"


def page(rows: list[dict[str, Any]]) -> str:
    """Return the table as a page."""
    lines = [
        "# The core beside the paper's",
        "",
        f"XC7A15T at {CLOCK_MHZ:g} MHz, the paper's widths and bits, core alone (input quantiser",
        "and tanh excluded, as in the paper). Cycles: first accepted beat to the result's",
        f"validity, asserted in simulation. Cells: Yosys {YOSYS} `synth_xilinx`, nothing packed;",
        f"path: its `sta`, before routing, {logic_budget(CLOCK_MHZ):g} ns asked for. Nothing was",
        "placed, routed or run on a board, here or in the paper (there: FINN 0.10.1, Vivado).",
        "`python -m qpolicy_fpga.results` writes this page.",
        "",
        "| " + " | ".join(_COLUMNS) + " |",
        "|---" * len(_COLUMNS) + "|",
    ]
    for row in rows:
        lines.append(  # noqa: PERF401  a row is long enough
            f"| {row['task']} | {row['policy']} | {row['cycles']} ({row['target_cycles']}) "
            f"| {row['initiation_interval']} | {row['lut']:,} | {row['carry4']:,} | {row['ff']:,} "
            f"| {row['bram36']:g} | {row['dsp']} | {row['depth_ns']:.2f} | {row['latency_us']:.2f} "
            f"| {row['paper']['latency_us']:g} | {row['latency_ratio']:.0f} |"
        )
    lines += [
        "",
        "| task | actions/s | the paper's | LUT: ours, the paper's | DSP: ours, the paper's |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        paper = row["paper"]
        lines.append(
            f"| {row['task']} | {row['actions_per_s']:,.0f} | {paper['actions_per_s']:,.0f} "
            f"| {row['lut']:,}, {paper['lut']:,} | {row['dsp']}, {paper['dsp']} |"
        )
    return "\n".join([*lines, ""])


def main() -> int:
    """Write the page and the rows; return 1 if a target is missed."""
    rows = []
    for task in SHAPES:
        rows.append(measure(task))
        row = rows[-1]
        sys.stderr.write(
            f"{task}: {row['cycles']} cycles, {row['lut']} LUT, {row['depth_ns']} ns\n"
        )
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_atomically(FOLDER / "fpga.json", (json.dumps(rows, indent=1) + "\n").encode())
    write_atomically(FOLDER / "fpga.md", page(rows).encode())
    good = all(
        row["fits"]
        and row["cycles"] <= row["target_cycles"]
        and row["depth_ns"] <= logic_budget(CLOCK_MHZ)
        for row in rows
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
