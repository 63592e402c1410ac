"""The table of backends, and the check that one computes what its policy says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from qpolicy_ros.backends.base import Backend, BackendError
from qpolicy_ros.backends.fp32 import Fp32Backend
from qpolicy_ros.backends.fpga import FpgaBackend
from qpolicy_ros.backends.integer import IntegerBackend
from qpolicy_ros.common.errors import PolicyError
from qpolicy_ros.policy.baseline import fp32_tolerance
from qpolicy_ros.policy.model import PolicyArtifact

BACKENDS: dict[str, Callable[[PolicyArtifact, Mapping[str, Any]], Backend]] = {
    IntegerBackend.name: IntegerBackend,
    Fp32Backend.name: Fp32Backend,
    FpgaBackend.name: FpgaBackend,
}


def create_backend(
    name: str, artifact: PolicyArtifact, options: Mapping[str, Any] | None = None
) -> Backend:
    """Build the backend ``name`` for ``artifact``.

    Raises:
        PolicyError: an unknown name or option, or a policy that this backend cannot serve.
    """
    if name not in BACKENDS:
        known = ", ".join(sorted(BACKENDS))
        raise PolicyError.at("", "backend", f"{name!r} is unknown", f"choose one of {known}")
    return BACKENDS[name](artifact, options or {})


def check_golden(backend: Backend, artifact: PolicyArtifact) -> None:
    """Replay the golden vectors: FP32 within ``fp32_tolerance``, every other backend exactly.

    Raises:
        BackendError: an answer differs; the text names vector, action and both values.
    """
    golden = artifact.golden
    integer = backend.name != Fp32Backend.name
    expected = golden.actions if integer else golden.baseline_actions
    if expected is None:
        message = f"backend {backend.name!r}: the policy has no integer golden vectors"
        raise BackendError(message)
    tolerance = 0.0 if integer else fp32_tolerance(artifact.contract)
    for vector, observation in enumerate(golden.observations):
        actions = backend.act(observation)
        wrong = ~(np.abs(actions - expected[vector]) <= tolerance)
        if wrong.any():
            index = int(np.argmax(wrong))
            message = (
                f"backend {backend.name!r}: golden vector {vector}, action "
                f"{artifact.contract.action[index].name!r}: got {actions[index]}, "
                f"expected {expected[vector][index]} (tolerance {tolerance:g})"
            )
            raise BackendError(message)
