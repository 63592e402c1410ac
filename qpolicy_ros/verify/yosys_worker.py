"""Proofs by Yosys' SAT solver, in a process of its own: Yosys keeps state and prints.

``python -m qpolicy_ros.verify.yosys_worker JOBS RESULTS``: JOBS is a JSON list of groups. A group
names Verilog ``files``, the module ``top``, wires that are made inputs (``free``) and wires that
are made outputs (``shown``), and lists ``miters``: modules called ``miter`` whose output ``ok``
must be 1 for all inputs. RESULTS gets a line of JSON a miter: its name and ``proved``, ``refuted``
or ``unfinished``.

Registers are looked through (a tree is a pipeline without a branch back), but for the
accumulator's, ``held``, which the caller makes free.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import scratch_folder

_TRANSPARENT = """\
module \\$dff (CLK, D, Q);
parameter WIDTH = 1;
parameter CLK_POLARITY = 1;
input CLK;
input [WIDTH-1:0] D;
output [WIDTH-1:0] Q;
assign Q = D;
endmodule
"""
_OUTCOMES = {
    "SAT proof finished - no model found: SUCCESS": "proved",
    "SAT proof finished - model found: FAIL": "refuted",
}


def main(jobs: Path, results: Path) -> None:
    """Prove every miter of every group."""
    from pyosys import libyosys as ys  # noqa: PLC0415  only this process has it

    def run(command: str) -> None:
        ys.run_pass(command, design)

    with scratch_folder() as scratch, results.open("a") as out:
        flow, log, miter = (scratch / name for name in ("flow.v", "sat.txt", "miter.v"))
        flow.write_text(_TRANSPARENT, encoding="ascii")
        for group in json.loads(jobs.read_text(encoding="utf-8")):
            design = ys.Design()
            _prepare(run, group, flow)
            for proof, text in group["miters"]:
                miter.write_text(text, encoding="ascii")
                run("design -load base")
                run(f'read_verilog "{miter}"')
                run("hierarchy -check -top miter")
                run("proc -norom")
                run("flatten")
                run("opt -full")
                timeout = group["timeout"]
                run(f'tee -q -o "{log}" sat -timeout {timeout} -prove ok 1 miter')
                said = log.read_text(encoding="utf-8", errors="replace")
                found = [word for mark, word in _OUTCOMES.items() if mark in said]
                outcome = found[0] if found else "unfinished"
                out.write(json.dumps([proof, outcome]) + "\n")
                out.flush()


def _prepare(run: Any, group: dict[str, Any], flow: Path) -> None:
    for file in group["files"]:
        run(f'read_verilog -nosynthesis "{file}"')
    run(f"hierarchy -check -top {group['top']}")
    run("proc -norom")
    run("flatten")
    for wire in group["free"]:
        # What drives it goes; it becomes an input.
        run(f"expose -input w:{wire}")
    run(f'techmap -map "{flow}" t:$dff')
    for wire in group["shown"]:
        run(f"expose w:{wire}")
    run("opt_clean")
    run("design -save base")


if __name__ == "__main__":
    # Yosys writes to the process's own standard output.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except InputError as error:
        sys.exit(f"Error: {error}")
