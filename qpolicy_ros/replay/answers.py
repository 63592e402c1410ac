"""Who computes the answers again: one engine, asked for many observations at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from qpolicy_ros.backends import create_backend
from qpolicy_ros.common.errors import PolicyError
from qpolicy_ros.policy import PolicyArtifact, make_engine
from qpolicy_ros.policy.model import Float32

ENGINES = ("auto", "c", "numpy", "c-aarch64", "rtlsim")

_CHUNK = 50_000  # observations a call

Say = Callable[[int], None]


class Answers(Protocol):
    """Computes actions float32 (k, m), unlimited, of finite observations float32 (k, n)."""

    def __call__(self, observations: Float32) -> Float32:
        """Return the actions."""
        ...


def make_answers(artifact: PolicyArtifact, backend: str, engine: str, say: Say) -> Answers:
    """Return what computes the answers that ``backend`` gave.

    ``fpga`` computes what ``integer`` does, so both are computed by ``engine``.

    Args:
        artifact: the policy.
        backend: that the recording names.
        engine: one of :data:`ENGINES`; FP32 has one engine only.
        say: told how many more observations are done.

    Raises:
        PolicyError: the policy has no such network, or the engine does not work here.
        BackendError: the simulated core does not compute what its policy says.
    """
    if backend == "fp32":
        return _one_by_one(artifact, "fp32", {}, say)
    if engine == "rtlsim":
        return _one_by_one(artifact, "fpga", {"transport": "rtlsim"}, say)
    if artifact.network is None:
        wrong = f"{backend!r} answered, the file holds an FP32 baseline alone"
        raise PolicyError.at(artifact.path, "policy", wrong, "give the policy that served")
    if engine == "c-aarch64":
        from qpolicy_ros.replay.aarch64 import EmulatedArm  # noqa: PLC0415  compiles, seldom asked

        return _in_chunks(EmulatedArm(artifact).act_batch, say)
    return _in_chunks(make_engine(artifact.network, engine).act_batch, say)


def _in_chunks(act_batch: Callable[[Float32], Float32], say: Say) -> Answers:
    def answers(observations: Float32) -> Float32:
        parts = []
        for start in range(0, len(observations), _CHUNK):
            parts.append(act_batch(np.ascontiguousarray(observations[start : start + _CHUNK])))
            say(len(parts[-1]))
        return np.concatenate(parts)

    return answers


def _one_by_one(
    artifact: PolicyArtifact, backend: str, options: dict[str, str], say: Say
) -> Answers:
    """Ask as the node does: the order of BLAS's sums hangs on how many are asked at once."""
    chosen = create_backend(backend, artifact, options)

    def answers(observations: Float32) -> Float32:
        found = np.empty((len(observations), len(artifact.contract.action)), np.float32)
        for index, observation in enumerate(observations):
            found[index] = chosen.act(observation)
            if not (index + 1) % 1000:
                say(1000)
        say(len(observations) % 1000)
        return found

    return answers
