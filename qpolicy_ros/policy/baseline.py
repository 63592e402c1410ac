"""The FP32 baseline's arithmetic in NumPy, float32 throughout."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy.activations import LAYER_NORM, LINEAR, activate, layer_norm
from qpolicy_ros.policy.model import Baseline, Contract, Float32
from qpolicy_ros.policy.observation import as_observations, refuse_non_finite

FP32_TOLERANCE = 1e-5  # on actions, relative to the largest limit where that exceeds 1


def baseline_actions(baseline: Baseline, observations: npt.ArrayLike) -> Float32:
    """Actions of the FP32 policy: float32 ``(N, n)`` to ``(N, m)``.

    The order of float32 sums is BLAS's own, so two machines agree within ``fp32_tolerance`` only.

    Raises:
        ObservationError: wrong shape or a value that is not finite.
    """
    matrix = as_observations(observations, baseline.mean.size)
    refuse_non_finite(matrix)
    with np.errstate(over="ignore"):
        hidden: Any = (matrix - baseline.mean) / baseline.std
    clip = np.float32(baseline.clip)
    hidden = np.clip(hidden, -clip, clip)
    layers = iter(zip(baseline.weights, baseline.biases, strict=True))
    norms = iter(zip(baseline.norm_scales, baseline.norm_shifts, strict=True))
    for step in baseline.program:
        if step[0] == LINEAR:
            weight, bias = next(layers)
            hidden = hidden @ weight.T + bias
        elif step[0] == LAYER_NORM:
            hidden = layer_norm(hidden, float(step[1]), *next(norms))
        else:
            hidden = activate(step, hidden)
    actions: Float32 = hidden * baseline.scale + baseline.bias
    return actions


def fp32_tolerance(contract: Contract) -> float:
    """How far two FP32 implementations may differ on an action of this contract."""
    largest = max(max(abs(channel.low), abs(channel.high)) for channel in contract.action)
    return FP32_TOLERANCE * max(1.0, largest)
