"""Backend ``integer``: the integer policy in software."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from qpolicy_ros.backends.base import take_options
from qpolicy_ros.common.errors import PolicyError
from qpolicy_ros.policy.engines import make_engine
from qpolicy_ros.policy.model import Float32, PolicyArtifact


class IntegerBackend:
    """Integer software; option ``engine`` is ``auto`` (default), ``c`` or ``numpy``.

    Raises:
        PolicyError: the artifact has no integer network, or an option is wrong.
    """

    name = "integer"
    trouble = ""

    def __init__(self, artifact: PolicyArtifact, options: Mapping[str, Any]) -> None:
        chosen = take_options(self.name, options, {"engine": "auto"})
        if artifact.network is None:
            remedy = "choose backend 'fp32' or a policy with an integer network"
            wrong = "'integer' cannot serve this policy, it holds an FP32 baseline alone"
            raise PolicyError.at(artifact.path, "backend", wrong, remedy)
        self._engine = make_engine(artifact.network, chosen["engine"])

    @property
    def engine(self) -> str:
        """The engine at work: ``c`` or ``numpy``."""
        return self._engine.kind

    @property
    def quantise_ns(self) -> int:
        """Time spent on the input codes in the last ``act``, ns."""
        return self._engine.quantise_ns

    def act(self, observation: npt.ArrayLike) -> Float32:
        """See ``Backend.act``."""
        return self._engine.act(observation)

    def act_batch(self, observations: npt.ArrayLike) -> Float32:
        """Actions for many observations, ``(k, n)`` to ``(k, m)``; the same bits as ``act``'s."""
        return self._engine.act_batch(observations)

    def close(self) -> None:
        """Nothing to release."""
