"""Random valid policies for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from qpolicy_ros.policy import (
    ActionChannel,
    Baseline,
    Channel,
    Contract,
    IntegerNetwork,
    PolicyArtifact,
    accumulator_bounds,
    make_artifact,
)


def make_contract(inputs: int = 4, outputs: int = 2, task: str = "toy") -> Contract:
    """A contract with plain names, limits of ±1 and a period of 10 ms."""
    return Contract(
        task=task,
        env_id="",
        observation=tuple(Channel(f"value_{i}") for i in range(inputs)),
        action=tuple(ActionChannel(f"motor_{j}", -1.0, 1.0, 0.0) for j in range(outputs)),
        period=0.01,
    )


def random_network(
    seed: int = 0,
    inputs: int = 4,
    hidden: Sequence[int] = (8, 8),
    outputs: int = 2,
    input_bits: int = 4,
    core_bits: int = 3,
    output_bits: int = 5,
    *,
    extreme: bool = False,
) -> IntegerNetwork:
    """A valid network with random weights and thresholds.

    ``extreme``: every weight at an end of its range and every threshold at a clamp end or next
    to it, so that accumulators are as large as they get and comparisons are ties.
    """
    rng = np.random.default_rng(seed)
    widths = [inputs, *hidden, outputs]
    limit = 1 << (core_bits - 1)
    weights, thresholds = [], []
    for layer, (fan_in, fan_out) in enumerate(pairwise(widths)):
        if extreme:
            sign = rng.integers(0, 2, (fan_out, 1))
            weight = np.where(sign == 1, -limit, limit - 1) * np.ones((1, fan_in), np.int64)
        else:
            weight = rng.integers(-limit, limit, (fan_out, fan_in))
        code_range = (0, (1 << core_bits) - 1)
        if layer == 0:
            code_range = (-(1 << (input_bits - 1)), (1 << (input_bits - 1)) - 1)
        low, high = accumulator_bounds(weight, *code_range)
        bits = output_bits if layer == len(hidden) else core_bits
        shape = (fan_out, (1 << bits) - 1)
        if extreme:
            ends = np.stack([low, low + 1, high, high + 1], axis=1)
            picks = rng.integers(0, 4, shape)
            rows = np.take_along_axis(ends, picks, axis=1)
            rows = np.clip(rows, low[:, None], high[:, None] + 1)
        else:
            # Around the middle of the range, where accumulators of random codes lie.
            spread = np.maximum((high - low) / 6, 1)
            rows = np.rint(rng.normal((low + high)[:, None] / 2, spread[:, None], shape))
            rows = np.clip(rows, low[:, None], high[:, None] + 1)
        weights.append(weight.astype(np.int8))
        thresholds.append(np.sort(rows, axis=1).astype(np.int32))
    return IntegerNetwork(
        mean=rng.normal(size=inputs).astype(np.float32),
        gain=rng.uniform(0.5, 4.0, inputs).astype(np.float32),
        input_bits=input_bits,
        core_bits=core_bits,
        output_bits=output_bits,
        weights=tuple(weights),
        thresholds=tuple(thresholds),
        table=np.sort(rng.uniform(-1, 1, (outputs, 1 << output_bits)), axis=1).astype(np.float32),
    )


def random_baseline(
    seed: int = 0, inputs: int = 4, hidden: Sequence[int] = (8, 8), outputs: int = 2
) -> Baseline:
    """A valid FP32 policy with random weights."""
    rng = np.random.default_rng(seed)
    widths = [inputs, *hidden, outputs]
    pairs = list(pairwise(widths))
    return Baseline(
        mean=rng.normal(size=inputs).astype(np.float32),
        std=rng.uniform(0.5, 2.0, inputs).astype(np.float32),
        clip=10.0,
        weights=tuple((rng.normal(size=(o, i)) / i**0.5).astype(np.float32) for i, o in pairs),
        biases=tuple(rng.normal(0, 0.1, o).astype(np.float32) for _, o in pairs),
        scale=np.ones(outputs, np.float32),
        bias=np.zeros(outputs, np.float32),
    )


def random_observations(seed: int, count: int, inputs: int) -> np.ndarray[Any, Any]:
    """Float32 ``(count, inputs)`` that covers all input codes of ``random_network``."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 30, (count, inputs)).astype(np.float32)


def random_artifact(
    seed: int = 0,
    inputs: int = 4,
    hidden: Sequence[int] = (8, 8),
    outputs: int = 2,
    *,
    contract: Contract | None = None,
    integer: bool = True,
    **bits: int,
) -> PolicyArtifact:
    """A valid artifact; ``contract`` overrides the sizes, ``integer=False`` gives FP32 only."""
    contract = contract or make_contract(inputs, outputs)
    inputs, outputs = len(contract.observation), len(contract.action)
    scale, bias = (contract.high - contract.low) / 2, (contract.high + contract.low) / 2
    baseline = replace(random_baseline(seed, inputs, hidden, outputs), scale=scale, bias=bias)
    network = random_network(seed, inputs, hidden, outputs, **bits)
    network = replace(network, table=network.table * scale[:, None] + bias[:, None])
    return make_artifact(
        contract,
        baseline,
        network if integer else None,
        {"command": "test", "seed": seed, "returns": {}},
        random_observations(seed, 8, inputs),
    )
