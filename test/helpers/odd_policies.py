"""Policies that an exporter must get right: every shipped one, and shapes at the limits."""

from __future__ import annotations

import numpy as np
from policy_builders import random_artifact, random_network, random_observations

from qpolicy_ros.policy import PolicyArtifact, load_policy, make_artifact, policy_folders

SHIPPED = [
    file
    for file in sorted(policy_folders()[-1].glob("*/*.safetensors"))
    if "." not in file.stem and load_policy(file).network is not None
]
# inputs, hidden, outputs, b_in, b_core, b_out, extreme
ODD = {
    "one of everything": (1, (1,), 1, 2, 2, 2, False),
    "ties and the largest sums": (70, (16, 1, 7), 3, 8, 2, 8, True),
    "widest bits": (17, (33,), 5, 8, 8, 8, True),
    "int8 thresholds": (3, (5,), 2, 3, 2, 4, False),
    "no hidden layer": (6, (), 2, 6, 3, 7, False),
    "four layers": (5, (9, 8, 7), 4, 5, 4, 6, False),
}


def odd_artifact(name: str) -> PolicyArtifact:
    """The policy of ``ODD[name]``, random."""
    *sizes, extreme = ODD[name]
    base = random_artifact(3, sizes[0], (4,), sizes[2])
    network = random_network(3, *sizes, extreme=extreme)
    return make_artifact(
        base.contract, base.baseline, network, {}, random_observations(1, 4, sizes[0])
    )


def finite_extremes(inputs: int) -> np.ndarray:
    """Observations at the ends of float32 and around ties, float32 ``(k, inputs)``."""
    values = np.float32([0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38, 0.5, -0.5, 1.5, -2.5])
    return np.stack([np.full(inputs, value) for value in values])
