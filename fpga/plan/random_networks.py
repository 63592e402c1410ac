"""Random policies of the paper's shapes, for sizes where no trained policy is shipped yet."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from qpolicy_ros.policy import IntegerNetwork, accumulator_bounds

# n, hidden, m, b_in, b_core, b_out of the paper's selected policies
SHAPES: dict[str, tuple[int, tuple[int, ...], int, int, int, int]] = {
    "hopper": (11, (16, 16), 3, 6, 2, 8),
    "walker2d": (17, (128, 128), 6, 3, 2, 8),
    "halfcheetah": (17, (256, 256), 6, 8, 3, 8),
    "ant": (27, (64, 64), 8, 3, 2, 8),
    "humanoid": (376, (16, 16), 17, 4, 3, 8),
}


def trained_like(task: str, seed: int = 0) -> IntegerNetwork:
    """Return a random policy of a paper's shape: narrow-range weights, evenly spaced thresholds.

    2-bit weights are -1, 0, 1 with a third each; wider ones are rounded normals. Thresholds are
    those of a linear quantiser with a bias: evenly spaced before rounding up.
    """
    return evenly_spaced(*SHAPES[task], seed=seed)


def evenly_spaced(
    inputs: int,
    hidden: tuple[int, ...],
    outputs: int,
    b_in: int,
    b_core: int,
    b_out: int,
    seed: int = 0,
) -> IntegerNetwork:
    """Return the same of any shape."""
    rng = np.random.default_rng(seed)
    limit = (1 << (b_core - 1)) - 1
    weights, thresholds = [], []
    for index, (fan_in, fan_out) in enumerate(pairwise([inputs, *hidden, outputs])):
        if b_core == 2:
            weight = rng.integers(-1, 2, (fan_out, fan_in))
        else:
            drawn = np.rint(rng.normal(0, limit / 2, (fan_out, fan_in)))
            weight = np.clip(drawn, -limit, limit).astype(np.int64)
        codes = (0, (1 << b_core) - 1)
        if index == 0:
            codes = (-(1 << (b_in - 1)), (1 << (b_in - 1)) - 1)
        last = index == len(hidden)
        levels = (1 << (b_out if last else b_core)) - 1
        low, high = accumulator_bounds(weight, *codes)
        spread = np.maximum((high - low) / 6, 1)
        middle = (low + high) / 2 + rng.normal(0, 0.3, len(low)) * spread
        step = spread.mean() / levels * (4 if last else 2.5)
        start = levels / 2 if last else levels / 3 - 0.5
        rows = np.ceil(middle[:, None] + (np.arange(levels) - start) * step)
        rows = np.clip(rows, low[:, None], high[:, None] + 1)
        weights.append(weight.astype(np.int8))
        thresholds.append(rows.astype(np.int32))
    return IntegerNetwork(
        mean=rng.normal(size=inputs).astype(np.float32),
        gain=rng.uniform(0.5, 4.0, inputs).astype(np.float32),
        input_bits=b_in,
        core_bits=b_core,
        output_bits=b_out,
        weights=tuple(weights),
        thresholds=tuple(thresholds),
        table=np.sort(rng.uniform(-1, 1, (outputs, 1 << b_out)), axis=1).astype(np.float32),
    )
