"""Observations to compare implementations on: recorded, corners, random; the same every time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from qpolicy_ros.backends import create_backend
from qpolicy_ros.policy import IntegerNetwork, PolicyArtifact, make_engine
from qpolicy_ros.policy.model import Float32, Int32

CHUNK = 20_000
RECORDED_SEED = 5000
EPISODES = 10


def chunks(
    artifact: PolicyArtifact, recorded: Float32, count: int
) -> Iterator[tuple[str, Float32]]:
    """Yield ``count`` observations in all as named pieces, float32 ``(k, n)`` each.

    First the recorded ones, then corners, then random ones.
    """
    network = artifact.network
    assert network is not None
    first = np.concatenate([artifact.golden.observations, recorded, corners(network)])[:count]
    yield "recorded and corners", first
    left, index = count - len(first), 0
    while left > 0:
        size = min(left, CHUNK)
        yield f"random {index}", random_observations(network, index, size)
        left, index = left - size, index + 1


def has_task(artifact: PolicyArtifact) -> bool:
    """Whether the policy's task can be played by its name; an imported policy's cannot."""
    from qpolicy_ros.sim import TASKS  # noqa: PLC0415  needs the simulator

    return bool(artifact.contract.env_id) or artifact.contract.task in TASKS


def record(artifact: PolicyArtifact, episodes: int) -> Float32:
    """Play episodes with the integer backend, one environment, and return what it saw.

    Nothing, ``(0, n)``, where the policy is of no task that can be played by its name.
    """
    if not has_task(artifact):
        return np.empty((0, len(artifact.contract.observation)), np.float32)
    from qpolicy_ros.sim import evaluate  # noqa: PLC0415  needs the simulator

    backend = create_backend("integer", artifact)
    seen: list[np.ndarray[Any, Any]] = []

    def act(observation: Any) -> Any:
        seen.append(np.array(observation, np.float32))
        return backend.act(observation)

    contract = artifact.contract
    evaluate(act, contract.env_id or contract.task, episodes, RECORDED_SEED)
    backend.close()
    return np.stack(seen)


def corners(network: IntegerNetwork) -> Float32:
    """Observations of corner codes: all lowest, all highest, zero, alternating, each one alone."""
    inputs = network.mean.size
    low, high = network.input_range
    at = np.arange(inputs)
    rows = [np.full(inputs, low), np.full(inputs, high), np.zeros(inputs, int)]
    rows += [np.where(at % 2, low, high), np.where(at % 2, high, low)]
    one = np.eye(inputs, dtype=bool)
    hot = [np.where(one, a, b) for a, b in ((high, low), (low, high), (high, 0), (low, 0), (1, 0))]
    return observations_of(network, np.concatenate([np.array(rows), *hot]))


def observations_of(network: IntegerNetwork, codes: np.ndarray[Any, Any]) -> Float32:
    """Observations whose input codes are ``codes`` ``(N, n)``, as far as float32 can say them."""
    exact = network.mean.astype(np.float64) + codes / network.gain.astype(np.float64)
    limit = float(np.finfo(np.float32).max)
    observations: Float32 = np.clip(exact, -limit, limit).astype(np.float32)
    return observations


def random_observations(network: IntegerNetwork, seed: int, count: int) -> Float32:
    """Half uniform over all codes; half normal around the mean, one in eight far outside."""
    rng = np.random.default_rng([seed, 20261124])
    low, high = network.input_range
    inputs = network.mean.size
    uniform = rng.uniform(low - 1, high + 1, (count // 2, inputs))
    normal = rng.standard_normal((count - count // 2, inputs)) * (high / 3)
    normal[::8] *= 10.0
    return observations_of(network, np.concatenate([uniform, normal]))


def input_codes(network: IntegerNetwork, observations: Float32) -> Int32:
    """Input codes of observations, by the reference engine."""
    return make_engine(network, "numpy").codes_batch(observations)[0]
