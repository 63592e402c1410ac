"""Part 4: the whole chain, from observations to codes, in every implementation.

Recorded rollouts, corner patterns and random observations through the engines and the simulated
core, fewer of them through the core behind each of its wrappers.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from qpolicy_fpga.driver import wrapped
from qpolicy_fpga.manifest import Manifest
from qpolicy_fpga.simulate.core import CoreSimulation
from qpolicy_fpga.simulate.lanes import LANES, LaneSimulation
from qpolicy_ros.common.files import scratch_folder
from qpolicy_ros.interchange.outgoing import CompiledHeader
from qpolicy_ros.policy import PolicyArtifact
from qpolicy_ros.policy.model import Float32
from qpolicy_ros.verify.journal import Journal
from qpolicy_ros.verify.neurons import engines
from qpolicy_ros.verify.observations import (
    CHUNK,
    EPISODES,
    chunks,
    has_task,
    random_observations,
    record,
)
from qpolicy_ros.verify.result import Check, Section

ENGINE_FRAMES, WRAPPER_FRAMES = 1_000_000, 10_000
QUICK_FRAMES = 60_000
VERILATOR_FRAMES = 2_000  # it takes milliseconds for one where the other takes microseconds
# In what the core is simulated, observations a piece, and those offered and fetched at random.
# A copy gets one in 512 of them: enough for results to pile up behind a slow receiver.
_LANES = ("in lanes", CHUNK, 100 * LANES)
_VERILATOR = ("under Verilator", 5000, 500)


class Chain:
    """Compares implementations on the same observations, piece by piece.

    Args:
        artifact: a policy with an integer network.
        recorded: observations of rollouts, float32 ``(k, n)``.
        journal: keeps finished pieces.
    """

    def __init__(self, artifact: PolicyArtifact, recorded: Float32, journal: Journal) -> None:
        assert artifact.network is not None
        self._artifact, self._network = artifact, artifact.network
        self._recorded, self._journal = recorded, journal

    def software(self, frames: int) -> list[Check]:
        """Every code of every engine, and the actions of the C header."""
        codes = dict(engines(self._network))
        reference = codes.pop("numpy")
        header = CompiledHeader(self._artifact)
        table, columns = self._network.table, np.arange(self._network.table.shape[0])

        def compare(observations: Float32) -> dict[str, list[int]]:
            wanted = reference(observations)
            result = {}
            for name, other in codes.items():
                given = other(observations)
                pairs = list(zip(given, wanted, strict=True))
                result[f"{name} = numpy: every code"] = [
                    sum(b.size for _, b in pairs),
                    sum(int((a != b).sum()) for a, b in pairs),
                ]
            quantised, actions = header.act_batch(observations)
            output = wanted[-1]
            right = table[columns, output - self._network.output_min]
            wrong = int((quantised != wanted[0]).sum()) + int((actions != right).sum())
            wrong += int((header.infer_batch(wanted[0]) != output).sum())
            size = quantised.size + actions.size + output.size
            result["c header = numpy: input codes, output codes, actions"] = [size, wrong]
            return result

        counts: dict[str, list[int]] = {}
        for name, observations in chunks(self._artifact, self._recorded, frames):
            done = self._journal.once(
                f"engines, {name} of {frames}", functools.partial(compare, observations)
            )
            for key, (compared, wrong) in done.items():
                total = counts.setdefault(key, [0, 0])
                total[0] += compared
                total[1] += wrong
        detail = f"{frames} observations"
        return [Check(name, pair[0], pair[1], detail) for name, pair in counts.items()]

    def core(self, folder: Path, manifest: Manifest, frames: int, *, lanes: bool = False) -> Check:
        """Output codes of the simulated core, and its stated cycles.

        Args:
            folder: of the generated core.
            manifest: its manifest.
            frames: observations back to back; some more come with gaps.
            lanes: whether to run many cores at once, from the netlist that Yosys reads, and not
                one under Verilator.
        """
        kind, size, gap_frames = _LANES if lanes else _VERILATOR
        simulation: list[CoreSimulation | LaneSimulation] = []

        def compare(observations: Float32, *, gaps: bool = False) -> list[int]:
            if not simulation:
                simulation.append((LaneSimulation if lanes else CoreSimulation)(folder, manifest))
            trace = dict(engines(self._network))["numpy"](observations)
            # With gaps a result may wait for an earlier one: no stated cycles.
            run = simulation[0].run(trace[0], **({"offer": 90, "fetch": 60} if gaps else {}))
            late = 0
            if not gaps:
                late = int((run.first_valid - run.accepted != manifest.cycles).sum())
            return [len(observations), int((run.codes != trace[-1]).any(axis=1).sum()), late]

        total = np.zeros(3, np.int64)
        for name, observations in chunks(self._artifact, self._recorded, frames):
            for start in range(0, len(observations), size):
                batch = observations[start : start + size]
                total += self._journal.once(
                    f"core {kind}, {name}, {len(batch)} from {start} of {len(observations)}",
                    functools.partial(compare, batch),
                )
        gaps = random_observations(self._network, 998, gap_frames)
        total += self._journal.once(
            f"core {kind}, with gaps on both sides",
            functools.partial(compare, gaps, gaps=True),
        )
        for each in simulation:
            each.close()
        detail = f"{int(total[2])} of them not in {manifest.cycles} cycles"
        name = f"rtl core {kind} = numpy: output codes"
        return Check(name, int(total[0]), int(total[1:].sum()), detail)

    def wrappers(self, folder: Path, manifest: Manifest, frames: int) -> list[Check]:
        """Output codes of the core behind each wrapper; its identity is checked first."""
        core = manifest.verilog(folder)
        first = self._recorded[: frames // 2]
        rest = random_observations(self._network, 999, frames - len(first))
        observations = np.concatenate([first, rest])

        def compare(kind: str) -> list[int]:
            trace = dict(engines(self._network))["numpy"](observations)
            with scratch_folder() as scratch:
                device = wrapped.open_wrapped(kind, manifest, core, Path(scratch) / "wrapper")
                given = device.infer(trace[0])
                device.close()
            return [len(given), int((given != trace[-1]).any(axis=1).sum())]

        return [
            Check(
                f"rtl behind {kind} = numpy: output codes",
                *self._journal.once(
                    f"wrapper {kind}, {frames} observations", functools.partial(compare, kind)
                ),
            )
            for kind in wrapped.WRAPPED
        ]


def wrapper_frames(core_frames: int) -> int:
    """Observations through each wrapper, where ``core_frames`` go through the core alone.

    A wrapper's wire is slow: an observation takes a hundred times the core's cycles.
    """
    return max(1, min(WRAPPER_FRAMES, core_frames // 10))


def check_chain(
    artifact: PolicyArtifact,
    folder: Path,
    manifest: Manifest,
    journal: Journal,
    *,
    quick: bool,
    core_frames: int,
) -> Section:
    """Part 4; ``quick`` takes a sample and leaves the wrappers out."""
    episodes = 1 if quick else EPISODES
    recorded = record(artifact, episodes)
    chain = Chain(artifact, recorded, journal)
    checks = chain.software(QUICK_FRAMES if quick else ENGINE_FRAMES)
    uncovered = ["timing of the physical device: no board was at hand"]
    if not has_task(artifact):
        uncovered.append("episodes: the policy is of no task that is simulated by its name")
    if quick:
        # In lanes: Verilator and its compiler take minutes for a large core, Yosys half of one.
        checks.append(chain.core(folder, manifest, QUICK_FRAMES, lanes=True))
        uncovered.append("the wrappers and all but a sample: `qpolicy verify` without --quick")
    else:
        checks.append(chain.core(folder, manifest, core_frames, lanes=True))
        checks.append(chain.core(folder, manifest, min(core_frames, VERILATOR_FRAMES)))
        if core_frames < ENGINE_FRAMES:
            uncovered.append(f"the core beyond {core_frames} observations, as --core-frames asked")
        wrapped = wrapper_frames(core_frames)
        if wrapped < WRAPPER_FRAMES:
            uncovered.append(f"each wrapper beyond {wrapped} observations, as --core-frames asked")
        checks += chain.wrappers(folder, manifest, wrapped)
    return Section("chain", tuple(checks), tuple(uncovered))
