"""How each family's open tools are called: synthesis, place and route, bitstream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from qpolicy_fpga.build.boards import Board
from qpolicy_fpga.build.cells import RING_AS_REGISTERS, SYNTHESIS
from qpolicy_fpga.build.top import PLL, TOP

NETLIST, PINS, ROUTED, REPORT, PLACED = (
    "synthesised.json",
    "pins",
    "routed.json",
    "report.json",
    "placed",
)


@dataclass(frozen=True)
class Family:
    """The tools of one family.

    Attributes:
        router, packer, pll: tools of ``toolbox``.
        synthesis: commands of Yosys; the first one gets the top.
        arguments: of the router, for a board.
        placed: what the router writes for the packer: its option and the file's name.
        pack: arguments of the packer.
        make_pll: arguments of ``pll`` for the clocks in and out, MHz.
        bitstream: name of the file to load.
        cells: resources by their name in the router's report.
        pins: name of the file of pins, and the router's option for it.
    """

    router: str
    packer: str
    pll: str
    synthesis: str
    arguments: Callable[[Board], list[str]]
    placed: tuple[str, str]
    pack: Callable[[Board, str, str], list[str]]
    make_pll: Callable[[float, float, str], list[str]]
    bitstream: str
    cells: Mapping[str, str]
    pins: tuple[str, str]


_ECP5_SIZE = {"ecp5-25f": "--25k", "ecp5-45f": "--45k", "ecp5-85f": "--85k"}


def _ecp5(board: Board) -> list[str]:
    return [_ECP5_SIZE[board.part], "--package", board.package, "--speed", board.speed]


def _ice40(board: Board) -> list[str]:
    return ["--up5k", "--package", board.package]


def _gowin(board: Board) -> list[str]:
    return ["--device", board.package, "--vopt", "family=GW2A-18C"]


FAMILIES = {
    "ecp5": Family(
        router="nextpnr-ecp5",
        packer="ecppack",
        pll="ecppll",
        synthesis=SYNTHESIS["ecp5"],
        arguments=_ecp5,
        placed=("--textcfg", "placed.config"),
        pack=lambda _, placed, out: ["--compress", "--input", placed, "--bit", out],
        make_pll=lambda given, made, file: [
            *("-i", f"{given:g}", "-o", f"{made:g}", "-n", PLL, "-f", file)
        ],
        bitstream="qpolicy.bit",
        cells={"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "bram": "DP16KD", "dsp": "MULT18X18D"},
        pins=("--lpf", "board.lpf"),
    ),
    "ice40": Family(
        router="nextpnr-ice40",
        packer="icepack",
        pll="icepll",
        synthesis=SYNTHESIS["ice40"],
        arguments=_ice40,
        placed=("--asc", "placed.asc"),
        pack=lambda _, placed, out: [placed, out],
        make_pll=lambda given, made, file: [
            *("-i", f"{given:g}", "-o", f"{made:g}", "-m", "-n", PLL, "-f", file)
        ],
        bitstream="qpolicy.bin",
        cells={"lut": "ICESTORM_LC", "bram": "ICESTORM_RAM", "dsp": "ICESTORM_DSP"},
        pins=("--pcf", "board.pcf"),
    ),
    "gowin": Family(
        router="nextpnr-himbaechel",
        packer="gowin_pack",
        pll="gowin_pll",
        # Pads belong to the top alone, not to the core, which keeps its ports.
        synthesis=f"{SYNTHESIS['gowin']}; iopadmap -bits -inpad IBUF O:I -outpad OBUF I:O {TOP}",
        arguments=_gowin,
        placed=("", ROUTED),  # the packer reads the router's netlist
        pack=lambda _, placed, out: ["-d", "GW2A-18C", "-o", out, placed],
        make_pll=lambda given, made, file: [
            *("-d", "GW2AR-18", "-i", f"{given:g}", "-o", f"{made:g}", "-m", PLL, "-f", file)
        ],
        bitstream="qpolicy.fs",
        cells={"lut": "LUT4", "ff": "DFF", "bram": "BSRAM", "dsp": "MULT18X18"},
        pins=("--vopt", "board.cst"),
    ),
}


def routing(family: Family, board: Board, clock_mhz: float, seed: int) -> list[str]:
    """Return the router's arguments, with the names of the files of this package."""
    option, pins = family.pins
    arguments = family.arguments(board)
    arguments += [option, f"cst={pins}" if option == "--vopt" else pins]
    arguments += ["--json", NETLIST, "--write", ROUTED, "--report", REPORT, "--seed", str(seed)]
    if family.placed[0]:
        arguments += list(family.placed)
    return [*arguments, "--freq", f"{clock_mhz:g}", "--timing-allow-fail"]


# In a process of its own: Yosys keeps state and prints to standard output. The core keeps its
# ports through synthesis, so that it can be cut out of the routed netlist and compared.
SCRIPT = f"""\
import sys
from pyosys import libyosys as ys
command, core, out, stat, *files = sys.argv[1:]
design = ys.Design()
def run(text):
    ys.run_pass(text, design)
for name in files:
    run(f'read_verilog -icells -DQPOLICY_XILINX "{{name}}"')
run("hierarchy -top {TOP}")
for text in {RING_AS_REGISTERS}:
    run(text)
run(f"setattr -mod -set keep_hierarchy 1 {{core}}")
first, *further = command.split("; ")
run(f"{{first}} -top {TOP}")
for text in further:
    run(text)
run(f'tee -q -o "{{stat}}" stat -json')
run(f'write_json "{{out}}"')
"""
