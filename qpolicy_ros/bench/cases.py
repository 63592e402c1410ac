"""What is benchmarked: the shipped policies, and random ones of well-known sizes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import (
    ActionChannel,
    Baseline,
    Channel,
    Contract,
    IntegerNetwork,
    PolicyArtifact,
    accumulator_bounds,
    find_policy,
    load_policy,
    make_artifact,
)

OBSERVATIONS = 64  # that a subject is asked in turn
_OUTPUT_BITS = 8
_TASKS = ("hopper", "walker2d", "halfcheetah", "ant", "humanoid")


class Shape(NamedTuple):
    """Layer widths from observation to action, and bit-widths."""

    widths: tuple[int, ...]
    core_bits: int
    input_bits: int


#: The paper's selected policies (arXiv 2511.07046, table 3), and one of ordinary size.
SHAPES: dict[str, Shape] = {
    "hopper shape": Shape((11, 16, 16, 3), 2, 6),
    "walker2d shape": Shape((17, 128, 128, 6), 2, 3),
    "halfcheetah shape": Shape((17, 256, 256, 6), 3, 8),
    "ant shape": Shape((27, 64, 64, 8), 2, 3),
    "humanoid shape": Shape((376, 16, 16, 17), 3, 4),
    "large shape, 2 bit": Shape((376, 256, 256, 17), 2, 8),
    "large shape, 8 bit": Shape((376, 256, 256, 17), 8, 8),
    "large shape": Shape((376, 256, 256, 17), 3, 8),
}


@dataclass(frozen=True)
class Case:
    """A policy to time.

    Attributes:
        name: for the tables.
        artifact: with an integer network.
        observations: float32 (OBSERVATIONS, n).
    """

    name: str
    artifact: PolicyArtifact
    observations: np.ndarray

    @property
    def shape(self) -> str:
        """Widths of the integer network and of the FP32 baseline, and the bits."""
        network, baseline = self.artifact.network, self.artifact.baseline
        assert network is not None
        ends = len(self.artifact.contract.observation), len(self.artifact.contract.action)
        widths = "-".join(map(str, (ends[0], *network.hidden, ends[1])))
        fp32 = "-".join(map(str, (ends[0], *baseline.hidden, ends[1])))
        other = "" if fp32 == widths else f", FP32 {fp32}"
        return f"{widths}, {network.core_bits} bit, input {network.input_bits} bit{other}"


def shipped() -> list[Case]:
    """Return the policies found here under their tasks' names."""
    cases = []
    for task in _TASKS:
        artifact = _find(task)
        if artifact is not None and artifact.network is not None:
            cases.append(Case(f"{task}/paper", artifact, _around(artifact.baseline)))
    return cases


def random_case(name: str) -> Case:
    """Return a policy of the shape ``name`` of ``SHAPES``, the same one every time."""
    shape = SHAPES[name]
    inputs, outputs = shape.widths[0], shape.widths[-1]
    contract = Contract(
        task=name,
        env_id="",
        observation=tuple(Channel(f"value_{i}") for i in range(inputs)),
        action=tuple(ActionChannel(f"motor_{j}", -1.0, 1.0, 0.0) for j in range(outputs)),
        period=0.01,
    )
    return _random_case(name, shape, contract)


def robot_case(period: float) -> Case:
    """Return a policy for a robot of twelve joints, the same one every time.

    Args:
        period: of a control step, s.
    """
    joints = [f"joint_{j}" for j in range(12)]
    contract = Contract(
        task="robot shape",
        env_id="",
        observation=(
            *(Channel(f"q_{j}", f"joint_states.position:{j}") for j in joints),
            *(Channel(f"last_{j}", f"previous_action:{j}") for j in joints),
        ),
        action=tuple(ActionChannel(j, -1.0, 1.0, 0.0) for j in joints),
        period=period,
    )
    return _random_case("robot shape", Shape((24, 64, 64, 12), 3, 8), contract)


def _random_case(name: str, shape: Shape, contract: Contract) -> Case:
    rng = np.random.default_rng(0)
    baseline = _random_baseline(rng, shape)
    observations = _around(baseline)
    network = _random_network(rng, shape, baseline, observations)
    artifact = make_artifact(contract, baseline, network, {"seed": 0}, observations[:8])
    return Case(name, artifact, observations)


def _find(task: str) -> PolicyArtifact | None:
    try:
        file = find_policy(task)
    except InputError:
        return None
    return load_policy(file)


def _around(baseline: Baseline) -> np.ndarray:
    """Return observations as the policy knows them: normal, with its mean and spread."""
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((OBSERVATIONS, baseline.mean.size))
    return np.asarray(baseline.mean + baseline.std * noise, np.float32)


def _random_baseline(rng: np.random.Generator, shape: Shape) -> Baseline:
    pairs = list(pairwise(shape.widths))
    return Baseline(
        mean=rng.normal(size=shape.widths[0]).astype(np.float32),
        std=rng.uniform(0.5, 2.0, shape.widths[0]).astype(np.float32),
        clip=10.0,
        weights=tuple(
            (rng.normal(size=(o, i)) * (2 / i) ** 0.5).astype(np.float32) for i, o in pairs
        ),
        biases=tuple(rng.normal(0, 0.1, o).astype(np.float32) for _, o in pairs),
        scale=np.ones(shape.widths[-1], np.float32),
        bias=np.zeros(shape.widths[-1], np.float32),
    )


def _random_network(
    rng: np.random.Generator, shape: Shape, baseline: Baseline, observations: np.ndarray
) -> IntegerNetwork:
    """Return a network whose thresholds spread its codes over all levels.

    Thresholds out of reach would make an engine's work easier than a trained policy does.
    """
    limit = (1 << (shape.core_bits - 1)) - 1  # narrow range: as Brevitas trains them
    highest_input = (1 << (shape.input_bits - 1)) - 1
    gain = (highest_input / 3 / baseline.std).astype(np.float32)
    codes = np.clip(
        np.rint((observations - baseline.mean) * gain), -highest_input - 1, highest_input
    ).astype(np.int64)
    reach = (-highest_input - 1, highest_input)
    weights, thresholds = [], []
    layers = len(shape.widths) - 1
    for layer, (inputs, outputs) in enumerate(pairwise(shape.widths)):
        weight = rng.integers(-limit, limit + 1, (outputs, inputs))
        low, high = accumulator_bounds(weight, *reach)
        sums = codes @ weight.T
        bits = _OUTPUT_BITS if layer == layers - 1 else shape.core_bits
        shares = np.arange(1, 1 << bits) / (1 << bits)
        rows = np.clip(np.rint(np.quantile(sums, shares, axis=0).T), low[:, None], high[:, None])
        weights.append(weight.astype(np.int8))
        thresholds.append(rows.astype(np.int32))
        codes = (sums[:, :, None] >= rows).sum(axis=2)
        reach = (0, (1 << shape.core_bits) - 1)
    row = np.tanh(np.linspace(-3, 3, 1 << _OUTPUT_BITS)).astype(np.float32)
    return IntegerNetwork(
        mean=baseline.mean,
        gain=gain,
        input_bits=shape.input_bits,
        core_bits=shape.core_bits,
        output_bits=_OUTPUT_BITS,
        weights=tuple(weights),
        thresholds=tuple(thresholds),
        table=np.tile(row, (shape.widths[-1], 1)),
    )
