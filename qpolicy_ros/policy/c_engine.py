"""The integer arithmetic in C, bit for bit the NumPy engine's; needs the compiled kernel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qpolicy_ros.policy._kernel import Kernel
from qpolicy_ros.policy.model import Float32, Int32, IntegerNetwork
from qpolicy_ros.policy.observation import as_observation, as_observations, refuse_non_finite


class CEngine:
    """Integer policy in C; buffers are reused, so one instance serves one thread at a time.

    Args:
        network: a valid network.
        instructions: ``avx512vnni``, ``avx2`` or ``plain``; empty for the fastest that works.
    """

    kind = "c"

    def __init__(self, network: IntegerNetwork, instructions: str = "") -> None:
        self._network = network
        self._inputs, self._outputs = network.mean.size, network.table.shape[0]
        self._widths = [self._inputs, *(weight.shape[0] for weight in network.weights)]
        self._kernel = Kernel(
            np.ascontiguousarray(network.mean),
            np.ascontiguousarray(network.gain),
            np.ascontiguousarray(network.table),
            (network.input_bits, network.core_bits, network.output_bits),
            tuple(np.ascontiguousarray(weight) for weight in network.weights),
            tuple(np.ascontiguousarray(threshold) for threshold in network.thresholds),
            instructions,
        )
        self._act = self._kernel.act  # one look-up less a call

    @property
    def network(self) -> IntegerNetwork:
        """The network that this engine computes."""
        return self._network

    @property
    def instructions(self) -> str:
        """The instruction set in use."""
        return self._kernel.instructions

    @property
    def quantise_ns(self) -> int:
        """Time spent on the input codes in the last call, ns."""
        return self._kernel.quantise_ns

    def act(self, observation: npt.ArrayLike) -> Float32:
        """Action for one observation: float32 ``(n,)`` to a new float32 ``(m,)``.

        Raises:
            ObservationError: wrong length or a value that is not finite.
        """
        actions = np.empty(self._outputs, np.float32)
        try:
            bad = self._act(observation, actions)
        except (TypeError, ValueError):  # not a contiguous float32 vector of this length: convert
            observation = as_observation(observation, self._inputs)
            bad = self._act(observation, actions)
        if bad >= 0:
            refuse_non_finite(np.asarray(observation))
        return actions

    def trace(self, observation: npt.ArrayLike) -> list[Int32]:
        """All codes for one observation: input, each hidden layer's, output (signed); int32.

        Raises:
            ObservationError: wrong length or a value that is not finite.
        """
        vector = as_observation(observation, self._inputs)
        refuse_non_finite(vector)
        return [codes[0] for codes in self.codes_batch(vector[None, :])]

    def act_batch(self, observations: npt.ArrayLike) -> Float32:
        """Actions for many observations: float32 ``(N, n)`` to ``(N, m)``, equal to ``act``'s.

        Raises:
            ObservationError: wrong shape or a value that is not finite.
        """
        matrix = as_observations(observations, self._inputs)
        actions = np.empty((len(matrix), self._outputs), np.float32)
        if self._kernel.act_batch(matrix, actions) >= 0:
            refuse_non_finite(matrix)
        return actions

    def codes_batch(self, observations: npt.ArrayLike) -> list[Int32]:
        """All codes for many observations, as ``trace``: a list of int32 ``(N, width)``.

        Raises:
            ObservationError: wrong shape or a value that is not finite.
        """
        matrix = as_observations(observations, self._inputs)
        codes = np.empty((len(matrix), sum(self._widths)), np.int32)
        if self._kernel.codes_batch(matrix, codes) >= 0:
            refuse_non_finite(matrix)
        ends = np.cumsum(self._widths)[:-1]
        return [np.ascontiguousarray(part) for part in np.split(codes, ends, axis=1)]
