"""A random policy of a shipped task's shape, small enough to be verified in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from actor_builders import random_actor

from qpolicy_ros.policy import find_policy, load_policy, save_policy
from qpolicy_training.quant.export import build_artifact
from qpolicy_training.quant.qat_file import QatPolicy, save_qat
from qpolicy_training.quant.quant_actor import ActorSpec


def write_tiny_policy(folder: Path, **bits: int) -> Path:
    """Write ``hopper/tiny.safetensors`` and its module into ``folder``; return the policy."""
    baseline = load_policy(find_policy("hopper/fp32"))
    n, m = len(baseline.contract.observation), len(baseline.contract.action)
    chosen = {"b_in": 3, "b_core": 2, "b_out": 4} | bits
    actor = random_actor(ActorSpec(n, m, (5, 4), **chosen), seed=1)
    mean, std = baseline.baseline.mean, baseline.baseline.std
    observations = mean + std * np.random.default_rng(2).normal(size=(8, n))
    observations = observations.astype(np.float32)
    qat = QatPolicy("hopper", actor, mean, std, observations, {"seed": 1})
    artifact = build_artifact(actor, mean, std, baseline, {"seed": 1}, observations)
    policy = folder / "hopper" / "tiny.safetensors"
    policy.parent.mkdir(parents=True)
    save_policy(artifact, policy)
    save_qat(qat, policy.with_suffix(".qat.safetensors"))
    return policy


def forge(policy: Path, change: Any) -> None:
    """Change a policy's integer network and make goldens and hashes right again."""
    import dataclasses  # noqa: PLC0415

    from qpolicy_ros.policy import make_artifact  # noqa: PLC0415

    artifact = load_policy(policy)
    network = artifact.network
    arrays = {
        "weights": [w.copy() for w in network.weights],
        "thresholds": [t.copy() for t in network.thresholds],
        "table": network.table.copy(),
        "mean": network.mean.copy(),
        "gain": network.gain.copy(),
    }
    change(arrays)
    for name in ("weights", "thresholds"):
        arrays[name] = tuple(arrays[name])
    forged = make_artifact(
        artifact.contract,
        artifact.baseline,
        dataclasses.replace(network, **arrays),
        artifact.provenance,
        artifact.golden.observations,
    )
    save_policy(forged, policy)
