"""Designs on disk and in simulation, and what a simulated core must do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_fpga.design import build, describe
from qpolicy_fpga.plan.form import Form
from qpolicy_fpga.simulate.core import CoreSimulation
from qpolicy_ros.policy import IntegerNetwork


def corner_codes(network: IntegerNetwork, count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Input codes: all lowest, all highest, all 0, alternating, one-hot, then random ones."""
    inputs = network.weights[0].shape[1]
    low, high = network.input_range
    at = np.arange(inputs)
    hot = np.full((min(inputs, 16), inputs), low)
    hot[np.arange(len(hot)), np.linspace(0, inputs - 1, len(hot)).astype(int)] = high
    rows = [np.full(inputs, low), np.full(inputs, high), np.zeros(inputs, int)]
    rows += [np.where(at % 2, low, high), np.where(at % 2, high, low)]
    drawn = np.random.default_rng(seed).integers(low, high + 1, (count, inputs))
    return np.concatenate([np.array(rows), hot, drawn]).astype(np.int32)


def expected_codes(network: IntegerNetwork, codes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Output codes for input codes, by the numbers contract, in 64-bit integers."""
    values = codes.astype(np.int64)
    for weight, thresholds in zip(network.weights, network.thresholds, strict=True):
        sums = values @ weight.astype(np.int64).T
        columns = [
            np.searchsorted(t, s, side="right") for t, s in zip(thresholds, sums.T, strict=True)
        ]
        values = np.stack(columns, axis=1)
    return values + network.output_min


class Bench:
    """A design of ``network`` on disk and in simulation."""

    def __init__(self, network: IntegerNetwork, forms: Sequence[Form], folder: Path) -> None:
        self.network = network
        self.design = build(network, forms, 100.0)
        self.core = self.design.core
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self.design.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        self.files = [folder / name for name in sorted(self.design.files)]
        self.manifest = describe(network, self.design, "xc7a15t", 100.0)
        self.simulation = CoreSimulation(folder, self.manifest)

    def equal(self, codes: np.ndarray[Any, Any], **run: int) -> bool:
        """Whether the core gives the right codes for ``codes``, in order."""
        result = self.simulation.run(codes, **run)
        return bool(np.array_equal(result.codes, expected_codes(self.network, codes)))
