"""Part 6: what was placed and routed, down to the bits that are loaded.

The netlist that nextpnr writes after routing is read cell by cell, as the silicon works. Its core
is proved equal to the Verilog register by register, and simulated on many observations. The whole
is asked through its serial line. An iCE40's bitstream is read back and asked the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_fpga.build import readback
from qpolicy_fpga.build.boards import BOARDS
from qpolicy_fpga.build.cut import READERS, RoutedDesign
from qpolicy_fpga.build.prove import prove_core
from qpolicy_fpga.build.result import read_result
from qpolicy_fpga.build.serial import SerialSimulation, line_cycles
from qpolicy_fpga.build.top import baud_divider
from qpolicy_fpga.manifest import Manifest
from qpolicy_fpga.plan.devices import find_part
from qpolicy_fpga.simulate.lanes import LANES, LaneSimulation
from qpolicy_fpga.simulate.netlist import Netlist
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import PolicyArtifact, PolicyError, make_engine
from qpolicy_ros.policy.model import Float32
from qpolicy_ros.verify import observations as samples
from qpolicy_ros.verify.journal import Journal
from qpolicy_ros.verify.result import Check, Section
from qpolicy_ros.verify.source_hashes import file_digest

SERIAL_FRAMES, QUICK_SERIAL_FRAMES = 100_000, 2 * LANES
MOST_CYCLES = 20_000_000  # of the line, beyond which fewer observations go over it
_FIRST = 4  # names that are quoted


def check_bitstream(
    artifact: PolicyArtifact,
    folder: Path,
    manifest: Manifest,
    journal: Journal,
    *,
    frames: int,
    serial_frames: int,
) -> Section:
    """Compare what was built in ``folder`` with its Verilog and with the integer engine.

    Args:
        artifact: the policy.
        folder: what ``qpolicy fpga build`` wrote.
        manifest: of the core in it.
        journal: keeps finished pieces.
        frames: observations through the routed core.
        serial_frames: observations through the whole, over its serial line.

    Raises:
        InputError: nothing was built there, its files are damaged, or its netlist cannot be read.
        BackendError: a tool is missing or fails.
    """
    built = read_result(folder, manifest.function_hash)
    if built is None or not built.get("netlist"):
        wrong, remedy = "has no routed netlist", "make it with `qpolicy fpga build`"
        raise InputError.at(folder, "--build", wrong, remedy)
    family = find_part(built["part"]).family
    if family not in READERS:
        wrong = f"is for {built['part']}, whose routed cells are not read"
        raise InputError.at(folder, "--build", wrong, f"take a board of {', '.join(READERS)}")
    comparison = _Comparison(artifact, folder, manifest, journal, built)
    design = RoutedDesign(folder / built["netlist"], folder / "board/synthesised.json", family)
    proof, uncovered = comparison.proof(design)
    checks = [proof, comparison.core(design, frames)]
    whole = functools.partial(design.whole, comparison.idle)
    checks.append(comparison.serial("routed design", whole, serial_frames))
    if family == "ice40" and built["bitstream"] and readback.is_there():
        bits = functools.partial(
            readback.read_bitstream,
            folder / built["bitstream"],
            folder / "board/board.pcf",
            comparison.idle,
        )
        checks.append(comparison.serial("bitstream, read back", bits, serial_frames))
    elif family == "ice40" and built["bitstream"]:
        uncovered.append("the bitstream itself: icebox_vlog (fpga-icestorm) is not installed")
    else:
        uncovered.append("what the packer makes of the routed netlist: no reader of these bits")
    uncovered.append("clocks and delays: nextpnr's own timing analysis")
    return Section("bitstream", tuple(checks), tuple(uncovered))


class _Comparison:
    def __init__(
        self,
        artifact: PolicyArtifact,
        folder: Path,
        manifest: Manifest,
        journal: Journal,
        built: dict[str, Any],
    ) -> None:
        assert artifact.network is not None
        self._artifact, self._network = artifact, artifact.network
        self._folder, self._manifest, self._journal = folder, manifest, journal
        self._built = built
        self._label = f"{built['board']} {built.get('seed', '')}"
        board = BOARDS[built["board"]]
        self.idle = {"button": "1" if "button" in board.low else "0"}

    def proof(self, design: RoutedDesign) -> tuple[Check, list[str]]:
        """Every function of the routed core, by SAT."""
        files = self._manifest.verilog(self._folder)

        def work() -> dict[str, Any]:
            proof = prove_core(files, self._manifest.top, design)
            return {
                "modules": len(proof.proved),
                "proved": sum(proof.proved.values()),
                "refuted": proof.refuted,
                "open": proof.open,
            }

        found = self._journal.once(f"routed core by SAT, {self._key()}", work)
        wrong, left = found["refuted"], found["open"]
        detail = f"{found['modules']} modules"
        if wrong:
            detail = ", ".join(wrong[:_FIRST])
        name = "routed core = its Verilog: registers and outputs (SAT)"
        uncovered = []
        if left:
            uncovered.append(
                f"proof of {len(left)} registers or outputs that pass through a memory or whose "
                f"names synthesis took away ({', '.join(left[:_FIRST])}): simulated only"
            )
        return Check(name, found["proved"] + len(wrong), len(wrong), detail), uncovered

    def core(self, design: RoutedDesign, frames: int) -> Check:
        """Output codes and cycles of the core cut out of the routed netlist."""
        simulation: list[LaneSimulation] = []

        def compare(observations: Float32) -> list[int]:
            if not simulation:
                gates = design.core()
                simulation.append(LaneSimulation(self._folder, self._manifest, gates))
            trace = make_engine(self._network, "numpy").codes_batch(observations)
            run = simulation[0].run(trace[0])
            late = run.first_valid - run.accepted != self._manifest.cycles
            wrong = (run.codes != trace[-1]).any(axis=1) | late
            return [len(observations), int(wrong.sum()), int(late.sum())]

        name = "routed core = numpy: output codes"
        total = [0, 0, 0]
        recorded = np.empty((0, self._network.mean.size), np.float32)
        for piece, batch in samples.chunks(self._artifact, recorded, frames):
            label = f"routed core, {piece}, {len(batch)}, {self._key()}"
            try:
                done = self._journal.once(label, functools.partial(compare, batch))
            except PolicyError as error:  # no core at all: its handshake hangs on the data, say
                return Check(name, frames, frames, str(error))
            total = [a + b for a, b in zip(total, done, strict=True)]
        detail = f"{total[2]} of them not in {self._manifest.cycles} cycles"
        return Check(name, total[0], total[1], detail)

    def serial(self, what: str, read: Callable[[], Netlist], frames: int) -> Check:
        """Output codes of a whole design, asked through its serial line."""

        def compare() -> list[int]:
            simulation = SerialSimulation(self._folder, self._manifest, read(), divider)
            observations = samples.random_observations(self._network, 997, frames)
            trace = make_engine(self._network, "numpy").codes_batch(observations)
            codes, cycles = simulation.infer(trace[0])
            late = cycles != self._manifest.cycles
            wrong = (codes != trace[-1]).any(axis=1) | late
            return [frames, int(wrong.sum()), int(late.sum())]

        divider = baud_divider(self._built["clock_mhz"])
        frames = min(frames, LANES * max(2, MOST_CYCLES // line_cycles(self._manifest, divider)))
        label = f"{what} through its line, {frames}, {self._key()}"
        count, wrong, late = self._journal.once(label, compare)
        detail = f"{late} replies without {self._manifest.cycles} cycles"
        return Check(f"{what} = numpy: output codes, by serial line", count, wrong, detail)

    def _key(self) -> str:
        """What tells this build's files from another's."""
        files = [self._folder / self._built["netlist"]]
        if self._built["bitstream"]:
            files.append(self._folder / self._built["bitstream"])
        return f"{self._label}, {file_digest(files)[:16]}"
