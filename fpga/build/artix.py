"""Artix-7 boards: by Vivado, or by nextpnr-xilinx with Project X-Ray's tools, whichever is there.

None of them comes from PyPI. nextpnr-xilinx finds its device by ``$CHIPDB`` and the bits by
``$PRJXRAY_DB_DIR``, as openXC7's environment sets them.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from qpolicy_fpga.build import toolbox
from qpolicy_fpga.build.boards import Board
from qpolicy_fpga.build.families import SCRIPT
from qpolicy_fpga.build.stages import Stages
from qpolicy_fpga.build.top import TOP, board_top, constraints
from qpolicy_fpga.folder import MANIFEST
from qpolicy_fpga.manifest import read_manifest
from qpolicy_fpga.plan.devices import find_part
from qpolicy_fpga.tables import as_xilinx
from qpolicy_fpga.vivado.board import write_board
from qpolicy_fpga.vivado.reports import read_reports
from qpolicy_fpga.wrappers.tops import Sizes, write_wrapper
from qpolicy_fpga.yosys import run_yosys
from qpolicy_ros.common.errors import InputError

VIVADO, OPEN = "vivado", "nextpnr-xilinx"
_OPEN_TOOLS = (OPEN, "fasm2frames", "xc7frames2bit")
_FASTEST = re.compile(r"Max frequency for clock[^:]*: *([0-9.]+) MHz")
_BITSTREAM = "board/qpolicy.bit"
# On the open tools' command lines a part has no speed grade's letter.
_PARTS = {"xc7a35t": "xc7a35tcsg324-1", "xc7a100t": "xc7a100tcsg324-1"}


def find_tool() -> str:
    """Return which way a bitstream for the 7 series is made here.

    Raises:
        InputError: neither is there.
    """
    if toolbox.is_there(VIVADO):
        return VIVADO
    if toolbox.is_there(*_OPEN_TOOLS):
        return OPEN
    wrong = "neither Vivado nor nextpnr-xilinx (with fasm2frames and xc7frames2bit) is on PATH"
    remedy = "install one, or take a board with an ECP5, which pip's tools build"
    raise InputError.at("", "board", wrong, remedy)


def build(tool: str, out: Path, board: Board, stages: Stages, seeds: int) -> dict[str, Any]:
    """Make the bitstream of a generated folder; return what ``board/build.json`` says of it.

    Raises:
        InputError: a tool fails, or its data is not there.
        BackendError: it takes too long.
    """
    if tool == VIVADO:
        return _vivado(out, board, stages)
    return _open(out, board, stages, seeds)


def _vivado(out: Path, board: Board, stages: Stages) -> dict[str, Any]:
    manifest = read_manifest(out)
    sources = [out / name for name in manifest.files]
    _, version = toolbox.find(VIVADO)
    device = find_part(board.part).device

    def work(folder: Path) -> None:
        for path in [out / MANIFEST, *sources]:
            shutil.copy(path, folder / path.name)
        write_board("arty-a7", folder)
        place = folder / "arty-a7"
        arguments = ["-mode", "batch", "-source", "arty_a7.tcl"]
        toolbox.run(VIVADO, [*arguments, "-tclargs", "sources", "build", device, ""], place)
        made = folder / "board"
        made.mkdir()
        shutil.move(place / "build" / "qpolicy.bit", made / "qpolicy.bit")
        shutil.move(place / "build" / "reports", made / "reports")
        shutil.rmtree(place)
        for path in [out / MANIFEST, *sources]:
            (folder / path.name).unlink()

    stages.run("build with Vivado", [out / MANIFEST, *sources, device, version], work)
    figures = read_reports(out / "board" / "reports")
    period = 1000 / board.oscillator_mhz
    mhz = 1000 / (period - float(figures["wns_ns"]))
    used = {name: int(figures[name]) for name in ("lut", "ff", "dsp")}
    return {**_facts(VIVADO, version, mhz, board), "used": used, "vivado": figures}


def _open(out: Path, board: Board, stages: Stages, seeds: int) -> dict[str, Any]:
    manifest = read_manifest(out)
    core = [out / name for name in manifest.files]
    part = _PARTS[board.part]
    chip = _data("CHIPDB", f"{part}.bin")
    bits = _data("PRJXRAY_DB_DIR", "artix7")
    versions = " ".join(toolbox.find(name)[1] for name in _OPEN_TOOLS)

    def synthesise(folder: Path) -> None:
        place = folder / "board"
        write_wrapper("uart", Sizes.of(manifest), place)
        (place / f"{TOP}.v").write_text(board_top(board, board.oscillator_mhz), encoding="utf-8")
        (place / "board.xdc").write_text(constraints(board), encoding="utf-8")
        for path in core:
            text = path.read_text("utf-8")
            (place / path.name).write_text(as_xilinx(text), encoding="utf-8")
        made = place / "synthesised.json"
        command = "synth_xilinx -flatten -abc9 -family xc7"
        arguments = [command, manifest.top, str(made), str(place / "cells.json")]
        run_yosys(SCRIPT, [*arguments, *map(str, place.glob("*.v"))], made, place)

    stages.run(
        "synthesise", [out / MANIFEST, *core, board_top(board, board.oscillator_mhz)], synthesise
    )
    place = out / "board"
    reached = {}
    for seed in range(1, seeds + 1):

        def route(folder: Path, seed: int = seed) -> None:
            target = folder / "board" / f"seed-{seed}"
            target.mkdir(parents=True)
            arguments = ["--chipdb", str(chip), "--xdc", str(place / "board.xdc")]
            arguments += ["--json", str(place / "synthesised.json"), "--seed", str(seed)]
            arguments += ["--fasm", "placed.fasm", "--write", "routed.json"]
            said = toolbox.run(OPEN, [*arguments, "--timing-allow-fail"], target)
            (target / "router.log").write_text(said, encoding="utf-8")

        inputs: list[Path | str] = [
            place / "synthesised.json",
            place / "board.xdc",
            str(chip),
            str(seed),
            versions,
        ]
        stages.run(f"place and route, seed {seed}", inputs, route)
        log = (place / f"seed-{seed}" / "router.log").read_text("utf-8")
        found = _FASTEST.findall(log)
        if not found:
            raise InputError.at("", OPEN, "reports no clock", "report it with its log")
        reached[seed] = float(found[-1])
    best = max(reached, key=lambda seed: (reached[seed], -seed))
    fasm = place / f"seed-{best}" / "placed.fasm"

    def pack(folder: Path) -> None:
        target = folder / "board"
        target.mkdir()
        frames = toolbox.run(
            "fasm2frames", ["--part", part, "--db-root", str(bits), str(fasm)], target
        )
        (target / "qpolicy.frames").write_text(frames, encoding="utf-8")
        arguments = ["--part_file", str(bits / part / "part.yaml"), "--part_name", part]
        arguments += ["--frm_file", "qpolicy.frames", "--output_file", "qpolicy.bit"]
        toolbox.run("xc7frames2bit", arguments, target)

    stages.run("pack the bitstream", [fasm, versions], pack)
    facts = _facts(OPEN, versions, reached[best], board)
    netlist = f"board/seed-{best}/routed.json"
    return {
        **facts,
        "seed": best,
        "seeds": {str(k): v for k, v in reached.items()},
        "netlist": netlist,
    }


def _facts(tool: str, version: str, mhz: float, board: Board) -> dict[str, Any]:
    met = mhz >= board.oscillator_mhz
    return {
        "tool": tool,
        "versions": version,
        "routed_mhz": round(mhz, 2),
        "bitstream": _BITSTREAM if met else None,
        "path": [],
        "used": {},
        "limits": {},
    }


def _data(variable: str, name: str) -> Path:
    """Return a file or folder below the folder that an environment variable names.

    Raises:
        InputError: it is not set, or has no such file.
    """
    folder = os.environ.get(variable, "")
    path = Path(folder, name)
    if not folder or not path.exists():
        wrong = f"{folder or 'not set'}, where {name} should be"
        raise InputError.at("", f"${variable}", wrong, "set it as openXC7's environment does")
    return path
