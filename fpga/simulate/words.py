"""Run a core with its front and back under Verilator: sensor words in, action words out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qpolicy_fpga.emit.io import word_places
from qpolicy_fpga.plan.fixed_point import HIGHEST, LOWEST
from qpolicy_fpga.simulate.core import CoreSimulation
from qpolicy_ros.policy import PolicyError, make_engine

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from qpolicy_fpga.manifest import Manifest, WordPorts
    from qpolicy_fpga.simulate.core import Run
    from qpolicy_ros.policy import IntegerNetwork

_FRAMES = 64


class WordSimulation(CoreSimulation):
    """``qpolicy_io`` under Verilator.

    Args:
        folder: the sources.
        manifest: of them, with ``io``.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        io = manifest.io
        assert io is not None
        self._size = io.beats * io.words_per_beat
        self._places = word_places(io, manifest.codes_per_beat, manifest.n)
        words = replace(
            manifest,
            top=io.top,
            files=manifest.files + io.files,
            codes_per_beat=io.words_per_beat,
            beats=io.beats,
            b_in=io.word_bits,
            b_out=io.word_bits,
        )
        super().__init__(folder, words)

    def run(self, codes: npt.NDArray[Any], **how: int) -> Run:
        """Send sensor words ``(frames, n)``; the result's codes are action words."""
        placed = np.zeros((len(codes), self._size), np.int64)
        placed[:, self._places] = codes
        return super().run(placed, **how)


def expected_words(
    network: IntegerNetwork, io: WordPorts, words: npt.NDArray[Any]
) -> npt.NDArray[np.int32]:
    """Return the action words of the integer engine for the values that sensor words stand for.

    Args:
        network: the policy.
        io: the manifest's ``io``.
        words: ``(frames, n)``.
    """
    values = np.ldexp(words.astype(np.float64), -np.array(io.sensor_fractions))
    actions = make_engine(network, "numpy").act_batch(values.astype(np.float32))
    scaled = np.ldexp(actions.astype(np.float64), np.array(io.action_fractions))
    return np.rint(scaled).astype(np.int32)


def count_cycles(folder: Path, manifest: Manifest, network: IntegerNetwork) -> int:
    """Return the cycles from the first accepted words to the actions' validity, simulated.

    Random sensor words go through one by one and back to back; every action word must be the
    integer engine's, every observation take the stated cycles, and the last ones of a long row
    follow each other at the stated interval.

    Raises:
        PolicyError: something of that is not so.
        BackendError: Verilator is missing.
    """
    io = manifest.io
    assert io is not None
    rng = np.random.default_rng(0)
    words = rng.integers(LOWEST, HIGHEST, (_FRAMES, manifest.n), endpoint=True)
    simulation = WordSimulation(folder, manifest)
    try:
        alone = [simulation.run(words[:1]) for _ in range(2)]
        row = simulation.run(words)
    finally:
        simulation.close()
    expected = expected_words(network, io, words)
    cycles = {int(run.first_valid[0] - run.accepted[0]) for run in (*alone, row)}
    gaps = set(np.diff(row.first_valid[_FRAMES // 2 :]).tolist())
    for what, found, stated in (
        ("action words", np.array_equal(row.codes, expected), True),
        ("cycles", cycles, {io.cycles}),
        ("interval", gaps, {io.initiation_interval}),
    ):
        if found != stated:
            wrong = f"{found} in simulation, not {stated}"
            raise PolicyError(f"rtl: {what}: {wrong}; this is a bug in the generator")
    return io.cycles
