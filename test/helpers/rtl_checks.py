"""Policies with trained-like weights, designs on disk, and what a simulated core must do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from policy_builders import random_network

from qpolicy_fpga.design import build
from qpolicy_fpga.sim import CoreSimulation
from qpolicy_ros.policy import accumulator_bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpolicy_fpga.plan import Form
    from qpolicy_ros.policy import IntegerNetwork

# n, hidden, m, b_in, b_core, b_out of the paper's selected policies
SHAPES: dict[str, tuple[int, tuple[int, ...], int, int, int, int]] = {
    "hopper": (11, (16, 16), 3, 6, 2, 8),
    "ant": (27, (64, 64), 8, 3, 2, 8),
    "humanoid": (376, (16, 16), 17, 4, 3, 8),
    "walker2d": (17, (128, 128), 6, 3, 2, 8),
    "halfcheetah": (17, (256, 256), 6, 8, 3, 8),
}


def trained_like(task: str, seed: int = 0) -> IntegerNetwork:
    """A random policy of a paper's shape: narrow-range weights, evenly spaced thresholds.

    2-bit weights are -1, 0, 1 with a third each; wider ones are rounded normals. Thresholds are
    those of a linear quantiser with a bias: evenly spaced before rounding up.
    """
    inputs, hidden, outputs, b_in, b_core, b_out = SHAPES[task]
    network = random_network(seed, inputs, hidden, outputs, b_in, b_core, b_out)
    rng = np.random.default_rng(seed + 77)
    limit = (1 << (b_core - 1)) - 1
    weights, thresholds = [], []
    for index, old in enumerate(network.weights):
        weight = rng.integers(-1, 2, old.shape)
        if b_core > 2:
            weight = np.clip(np.rint(rng.normal(0, limit / 2, old.shape)), -limit, limit)
        weight = weight.astype(np.int64)
        last = index == len(hidden)
        levels = (1 << (b_out if last else b_core)) - 1
        low, high = accumulator_bounds(weight, *network.layer_input_range(index))
        spread = np.maximum((high - low) / 6, 1)
        middle = (low + high) / 2 + rng.normal(0, 0.3, len(low)) * spread
        step = spread.mean() / levels * (4 if last else 2.5)
        start = levels / 2 if last else levels / 3 - 0.5
        rows = np.ceil(middle[:, None] + (np.arange(levels) - start) * step)
        rows = np.clip(rows, low[:, None], high[:, None] + 1)
        weights.append(weight.astype(np.int8))
        thresholds.append(rows.astype(np.int32))
    return replace(network, weights=tuple(weights), thresholds=tuple(thresholds))


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
        manifest = {
            "n": network.weights[0].shape[1],
            "m": network.weights[-1].shape[0],
            "b_in": network.input_bits,
            "b_out": network.output_bits,
            "codes_per_beat": self.core.codes_per_beat,
            "beats": self.core.beats,
            "files": sorted(self.design.files),
        }
        self.simulation = CoreSimulation(folder, manifest)

    def equal(self, codes: np.ndarray[Any, Any], **run: int) -> bool:
        """Whether the core gives the right codes for ``codes``, in order."""
        result = self.simulation.run(codes, **run)
        return bool(np.array_equal(result.codes, expected_codes(self.network, codes)))
