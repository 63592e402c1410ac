"""Backend ``fp32``: the float baseline in NumPy, for comparison with the low-bit policy."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from qpolicy_ros.backends.base import take_options
from qpolicy_ros.policy.observation import as_observation, as_observations, refuse_non_finite

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from qpolicy_ros.policy.model import Float32, PolicyArtifact


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
        self._layers = list(
            zip(artifact.baseline.weights, artifact.baseline.biases, self._outputs, strict=True)
        )
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
        last = len(self._layers) - 1
        for index, (weight, bias, sums) in enumerate(self._layers):
            weight.dot(current, sums)
            np.add(sums, bias, out=sums)
            if index < last:
                np.maximum(sums, 0, out=sums)
            current = sums
        actions: Float32 = np.tanh(current)
        actions *= baseline.scale
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

    def close(self) -> None:
        """Nothing to release."""
