"""Backend ``fp32``: the float baseline in NumPy, for comparison with the low-bit policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.backends.base import take_options
from qpolicy_ros.policy.activations import LAYER_NORM, LINEAR, activate, layer_norm
from qpolicy_ros.policy.model import Float32, PolicyArtifact
from qpolicy_ros.policy.observation import as_observation, as_observations, refuse_non_finite


class Fp32Backend:
    """The artifact's FP32 baseline, float32 throughout, buffers allocated once.

    The same observation gives the same bits on one machine; the order of BLAS's sums is its own,
    so machines agree within ``fp32_tolerance`` only.
    """

    name = "fp32"
    trouble = ""

    def __init__(self, artifact: PolicyArtifact, options: Mapping[str, Any]) -> None:
        take_options(self.name, options, {})
        self._baseline = artifact.baseline
        self._clip = np.float32(artifact.baseline.clip)
        self._input = np.empty(artifact.baseline.mean.size, np.float32)
        self._outputs = [np.empty_like(bias) for bias in artifact.baseline.biases]
        self._steps = self._compiled()
        self.quantise_ns = 0

    def act(self, observation: npt.ArrayLike) -> Float32:
        """See ``Backend.act``."""
        start = perf_counter_ns()
        baseline = self._baseline
        values = as_observation(observation, self._input.size)
        refuse_non_finite(values)
        current = self._input
        with np.errstate(over="ignore"):  # the clip brings an overflow back
            np.subtract(values, baseline.mean, out=current)
            np.divide(current, baseline.std, out=current)
        np.maximum(current, -self._clip, out=current)
        np.minimum(current, self._clip, out=current)
        self.quantise_ns = perf_counter_ns() - start
        for step in self._steps:
            current = step(current)
        actions: Float32 = current * baseline.scale
        actions += baseline.bias
        return actions

    def act_batch(self, observations: npt.ArrayLike) -> Float32:
        """Actions for many observations, ``(k, n)`` to ``(k, m)``, the same bits as ``act``'s.

        Raises:
            ObservationError: wrong shape or a value that is not finite.
        """
        values = as_observations(observations, self._input.size)
        refuse_non_finite(values)
        actions = np.empty((len(values), self._baseline.scale.size), np.float32)
        for row, value in enumerate(values):
            actions[row] = self.act(value)
        return actions

    def _compiled(self) -> list[Callable[[Float32], Float32]]:
        """The baseline's steps as functions of the vector before them, which may be overwritten."""
        baseline = self._baseline
        layers = iter(zip(baseline.weights, baseline.biases, self._outputs, strict=True))
        norms = iter(zip(baseline.norm_scales, baseline.norm_shifts, strict=True))
        steps: list[Callable[[Float32], Float32]] = []
        for step in baseline.program:
            if step[0] == LINEAR:
                steps.append(partial(_linear, *next(layers)))
            elif step[0] == LAYER_NORM:
                scale, shift = next(norms)
                eps = float(step[1])
                steps.append(partial(layer_norm, eps=eps, scale=scale, shift=shift))
            else:
                steps.append(partial(activate, step))
        return steps

    def close(self) -> None:
        """Nothing to release."""


def _linear(weight: Float32, bias: Float32, sums: Float32, values: Float32) -> Float32:
    weight.dot(values, sums)
    np.add(sums, bias, out=sums)
    return sums
