"""From a policy to a bitstream: generate, synthesise, place and route, pack."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from qpolicy_fpga.build import artix, toolbox
from qpolicy_fpga.build.boards import BOARDS, Board, find_board, with_pins
from qpolicy_fpga.build.cells import count
from qpolicy_fpga.build.estimate import at_risk, estimate
from qpolicy_fpga.build.families import (
    FAMILIES,
    NETLIST,
    REPORT,
    ROUTED,
    SCRIPT,
    Family,
    routing,
)
from qpolicy_fpga.build.result import FORMAT, RESULT
from qpolicy_fpga.build.stages import Stages
from qpolicy_fpga.build.timing import Timing, read_timing
from qpolicy_fpga.build.top import PLL, TOP, board_top, constraints
from qpolicy_fpga.design import generate
from qpolicy_fpga.explore.choose import FitError, choose
from qpolicy_fpga.folder import MANIFEST
from qpolicy_fpga.manifest import read_manifest
from qpolicy_fpga.plan.devices import LUT4_COST, Part, find_part
from qpolicy_fpga.tables import as_yosys
from qpolicy_fpga.wrappers.tops import Sizes, write_wrapper
from qpolicy_fpga.yosys import YOSYS, run_yosys, yosys_folder
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.policy import IntegerNetwork, PolicyArtifact

FOLDER = "board"
MAX_SEEDS = 100
# What the serial line's wrapper takes of a part, at most: tables of four inputs, of six in the 7
# series (hopper's takes 839 and 350).
_WRAPPER_LUT = 1000


@dataclass(frozen=True)
class Order:
    """What to build.

    Attributes:
        artifact: a policy with an integer network.
        board: name of one of ``boards.BOARDS``.
        out: folder for everything.
        clock_mhz: of the core; None for the board's usual one.
        fit: ``latency`` or ``area``, as ``generate`` takes it.
        seeds: how often to place and route; the fastest is kept.
        pins: other pins for signals of the board.
    """

    artifact: PolicyArtifact
    board: str
    out: Path
    clock_mhz: float | None = None
    fit: str = "latency"
    seeds: int = 1
    pins: Mapping[str, str] | None = None


def stage_count(order: Order) -> int:
    """Stages that ``build_bitstream`` says the end of, if all goes well."""
    return 4 + order.seeds  # core, sources, netlist, bitstream


def build_bitstream(order: Order, say: Callable[[str], None]) -> dict[str, Any]:
    """Build; return what ``board/build.json`` holds.

    Args:
        order: what to build.
        say: takes a line of progress.

    Raises:
        InputError: the board, a pin or the clock is wrong, a tool is missing or fails, the policy
            does not fit, or the disk is full. What was whole before stays whole.
        BackendError: a tool takes too long.
    """
    order = replace(order, out=order.out.absolute())  # tools run in folders of their own
    board = with_pins(find_board(order.board), order.pins or {})
    clock = order.clock_mhz or board.clock_mhz
    if order.artifact.network is None:
        remedy = "quantise the policy first"
        raise InputError.at(order.artifact.path, "integer", "there is no integer network", remedy)
    if not 1 <= order.seeds <= MAX_SEEDS:
        raise InputError.at("", "seeds", f"{order.seeds}", f"give 1 to {MAX_SEEDS}")
    part = find_part(board.part)
    if part.family == "xc7":
        tool = artix.find_tool()
        if clock != board.oscillator_mhz:
            wrong = f"{clock:g}, but no other clock than {board.oscillator_mhz:g} is made there"
            raise InputError.at("", "clock-mhz", wrong, "leave it out")
        stages = Stages(order.out, say)
        _generate(order, order.artifact.network, board, part, clock, stages)
        result = artix.build(tool, order.out, board, stages, order.seeds)
        return _write(order, board, clock, result)
    family = FAMILIES[part.family]
    yosys_folder()
    needed = [family.router, family.packer]
    needed += [family.pll] if clock != board.oscillator_mhz else []
    versions = " ".join([f"pyosys {YOSYS}", *(toolbox.find(name)[1] for name in needed)])
    stages = Stages(order.out, say)
    _generate(order, order.artifact.network, board, part, clock, stages)
    netlist, stat = _synthesise(order.out, board, clock, family, stages, versions)
    _check_cells(stat, order, board, part)
    before = estimate(netlist, part.family)
    if before is not None:
        risk = f"; AT RISK: {clock:g} MHz asked" if at_risk(before.mhz, clock) else ""
        say(f"estimate: {before.mhz:g} MHz before routing{risk}")
    timings = {
        seed: _route(order.out, board, clock, family, stages, seed, netlist, versions)
        for seed in range(1, order.seeds + 1)
    }
    best = max(timings, key=lambda seed: (timings[seed].mhz, -seed))
    for seed in timings:
        if seed != best:
            stages.trim(_routing_stage(seed), f"{_seed_folder(seed)}/{REPORT}")
    if not (order.out / _seed_folder(best) / ROUTED).is_file():  # it was not the best before
        stages.forget(_routing_stage(best))
        _route(order.out, board, clock, family, stages, best, netlist, versions)
    timing = timings[best]
    bitstream = None
    if timing.mhz >= clock:
        bitstream = _pack(board, family, stages, best, versions)
    else:
        stages.forget("pack the bitstream")
    return _write(
        order,
        board,
        clock,
        {
            "tool": family.router,
            "versions": versions,
            "seed": best,
            "seeds": {str(seed): round(each.mhz, 2) for seed, each in timings.items()},
            "netlist": _seed_folder(best) + f"/{ROUTED}",
            "bitstream": bitstream,
            "estimated_mhz": before and before.mhz,
            **_figures(timing),
        },
    )


def _figures(timing: Timing) -> dict[str, Any]:
    return {
        "routed_mhz": round(timing.mhz, 2),
        "logic_ns": timing.logic_ns,
        "routing_ns": timing.routing_ns,
        "path": [list(place) for place in timing.path],
        "used": timing.used,
        "limits": timing.limits,
    }


def _write(order: Order, board: Board, clock: float, facts: dict[str, Any]) -> dict[str, Any]:
    manifest = read_manifest(order.out)
    mhz = facts["routed_mhz"]
    result = {
        "format": FORMAT,
        "board": board.name,
        "part": board.part,
        "clock_mhz": clock,
        "function_hash": manifest.function_hash,
        "meets": mhz >= clock,
        "latency_ns": round(manifest.cycles * 1e3 / mhz, 1),
        "cycles": manifest.cycles,
        **facts,
    }
    if result["bitstream"]:
        content = (order.out / result["bitstream"]).read_bytes()
        result["bitstream_sha256"] = hashlib.sha256(content).hexdigest()
        result["bitstream_bytes"] = len(content)
    write_atomically(order.out / RESULT, (json.dumps(result, indent=1) + "\n").encode())
    return result


def room_beside_wrapper(part: Part) -> Part:
    """Return ``part`` without what the serial line's wrapper takes."""
    return replace(part, lut=part.lut - round(_WRAPPER_LUT * part.lut_cost / LUT4_COST))


def _generate(
    order: Order,
    network: IntegerNetwork,
    board: Board,
    part: Part,
    clock: float,
    stages: Stages,
) -> None:
    """Write the core of the policy for the board's part."""
    inputs = [
        order.artifact.file_hash,
        json.dumps(asdict(part)),
        f"{clock} {order.fit}",
        _sources(),
    ]

    def work(folder: Path) -> None:
        try:
            generate(order.artifact, room_beside_wrapper(part), clock, order.fit, folder)
        except FitError as error:
            raise _too_large(str(error), network, board) from error

    stages.run("generate the core", inputs, work)


def _too_large(reason: str, network: IntegerNetwork, board: Board) -> InputError:
    """The error of a policy that no form of fits: by how much, and which board would do."""
    over = reason.partition("; ")[0].rpartition(": ")[2]
    wrong = f"the policy does not fit the {board.title} ({board.part}): {over}"
    others = [each for each in BOARDS.values() if each.name != board.name]
    for other in sorted(others, key=lambda each: find_part(each.part).lut):
        try:
            room = room_beside_wrapper(find_part(other.part))
            choose(network, room, other.clock_mhz, "area", None)
        except FitError:
            continue
        remedy = f"--board {other.name} would do, or a narrower policy"
        return InputError.at("", "board", wrong, remedy)
    return InputError.at("", "board", wrong, "no supported board holds it; narrow the policy")


def _sources() -> str:
    """Digest of the generator itself: another one may write another core."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _synthesise(
    out: Path, board: Board, clock: float, family: Family, stages: Stages, versions: str
) -> tuple[Path, Path]:
    """Write the board's sources and make the netlist; return it and Yosys's count of cells."""
    manifest = read_manifest(out)
    core = [out / name for name in manifest.files]

    def sources(folder: Path) -> None:
        place = folder / FOLDER / "sources"
        write_wrapper("uart", Sizes.of(manifest), place)
        (place / f"{TOP}.v").write_text(board_top(board, clock), encoding="utf-8")
        if clock != board.oscillator_mhz:
            file = f"{PLL}.v"
            toolbox.run(family.pll, family.make_pll(board.oscillator_mhz, clock, file), place)
        (folder / FOLDER / family.pins[1]).write_text(constraints(board), encoding="utf-8")

    texts = [board_top(board, clock), constraints(board), versions, _sources()]
    written = stages.run("write the board's sources", [out / MANIFEST, *texts], sources)
    verilog = [path for path in written if path.suffix == ".v"]
    headers = [path for path in written if path.suffix == ".vh"]

    def work(folder: Path) -> None:
        place = folder / FOLDER
        place.mkdir()
        names = []
        for path in [*verilog, *headers, *core]:
            if path.suffix == ".v":
                names.append(folder / path.name)
                names[-1].write_text(as_yosys(path.read_text("utf-8")), encoding="utf-8")
            else:  # read by name
                (folder / path.name).write_bytes(path.read_bytes())
        made = place / NETLIST
        arguments = [family.synthesis, manifest.top, str(made), str(place / "cells.json")]
        run_yosys(SCRIPT, [*arguments, *map(str, names)], made, folder)
        for path in folder.iterdir():
            if path.is_file():
                path.unlink()

    inputs: list[Path | str] = [*verilog, *headers, *core, SCRIPT, family.synthesis, versions]
    stages.run("synthesise", inputs, work)
    return out / FOLDER / NETLIST, out / FOLDER / "cells.json"


def _check_cells(stat: Path, order: Order, board: Board, part: Part) -> None:
    """Raise InputError where synthesis came to more than the part has: placing would fail.

    The estimate that chose the core's form was too low then; a smaller form may still do.
    """
    network = order.artifact.network
    cells = count(json.loads(stat.read_text("utf-8"))["design"]["num_cells_by_type"])
    limits = {name: getattr(part, name) for name in cells}
    over = [
        f"{cells[name] - limits[name]:,g} {name} too many"
        for name in ("lut", "ff", "bram36")
        if cells[name] > limits[name]
    ]
    if over and order.fit == "latency":
        wrong = f"the fastest form does not fit the {board.title} after all: {', '.join(over)}"
        raise InputError.at("", "board", wrong, "try --fit area, or a larger board")
    if over and network is not None:
        raise _too_large(f"part: it: {', '.join(over)}", network, board)


def _seed_folder(seed: int) -> str:
    return f"{FOLDER}/seed-{seed}"


def _routing_stage(seed: int) -> str:
    return f"place and route, seed {seed}"


def _route(
    out: Path,
    board: Board,
    clock: float,
    family: Family,
    stages: Stages,
    seed: int,
    netlist: Path,
    versions: str,
) -> Timing:
    """Place and route with one seed; return what it reaches.

    A seed's netlist is large: of those that are not the fastest only the report stays.
    """
    pins = out / FOLDER / family.pins[1]
    arguments = routing(family, board, clock, seed)
    inputs: list[Path | str] = [netlist, pins, *arguments, versions]
    report = out / _seed_folder(seed) / REPORT

    def work(folder: Path) -> None:
        place = folder / _seed_folder(seed)
        place.mkdir(parents=True)
        for path in (netlist, pins):
            (place / path.name).write_bytes(path.read_bytes())
        toolbox.run(family.router, arguments, place)
        for path in (netlist, pins):
            (place / path.name).unlink()

    stages.run(_routing_stage(seed), inputs, work)
    return read_timing(report, family.cells)


def _pack(board: Board, family: Family, stages: Stages, seed: int, versions: str) -> str:
    """Make the file that is loaded; return its name."""
    placed = stages.folder / _seed_folder(seed) / family.placed[1]
    name = f"{FOLDER}/{family.bitstream}"

    def work(folder: Path) -> None:
        place = folder / FOLDER
        place.mkdir()
        (place / placed.name).write_bytes(placed.read_bytes())
        toolbox.run(family.packer, family.pack(board, placed.name, family.bitstream), place)
        (place / placed.name).unlink()

    stages.run("pack the bitstream", [placed, family.packer, versions], work)
    return name
