"""Every shipped integer policy equals the trained module that lies beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qpolicy_ros.policy import load_policy
from qpolicy_training.quant.equality import (
    brevitas_disagreement_ppm,
    compare_accumulators,
    compare_with_snapped,
    sample_observations,
)
from qpolicy_training.quant.export import build_artifact
from qpolicy_training.quant.qat_file import SUFFIX, load_qat, qat_path
from qpolicy_training.quant.snapped import snap

POLICIES = Path(__file__).parents[2] / "config" / "policies"
MODULES = sorted(POLICIES.glob(f"*/*{SUFFIX}"))
OBSERVATIONS = 40_000  # 25 times as many in `make test-full`


def name(module: Path) -> str:
    return f"{module.parent.name}-{module.name.removesuffix(SUFFIX)}"


def policy_of(module: Path) -> Path:
    return module.with_name(module.name.removesuffix(SUFFIX) + ".safetensors")


def test_every_integer_policy_has_its_module_beside_it():
    files = [f for f in POLICIES.glob("*/*.safetensors") if not f.name.endswith(SUFFIX)]
    integer = {qat_path(file) for file in files if load_policy(file).network is not None}
    assert integer == set(MODULES)


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_shipped_policy_equals_its_module_on_observations(module, capsys, full):
    qat, artifact = load_qat(module), load_policy(policy_of(module))
    snapped = snap(qat.actor, qat.mean, qat.std)
    for seed in range(7, 32 if full else 8):
        random = sample_observations(qat.mean, qat.std, OBSERVATIONS, seed=seed)
        observations = np.concatenate([qat.observations, artifact.golden.observations, random])
        result = compare_with_snapped(artifact.network, snapped, observations)
        assert result.equal, result.mismatches
    ppm = brevitas_disagreement_ppm(qat.actor, snapped, observations[:20_000], qat.std)
    with capsys.disabled():
        print(f"\n{name(module)}: plain Brevitas graph, ppm: {ppm}")  # noqa: T201 the report


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_shipped_policy_equals_its_module_over_the_accumulators(module):
    qat, artifact = load_qat(module), load_policy(policy_of(module))
    result = compare_accumulators(artifact.network, snap(qat.actor, qat.mean, qat.std))
    assert result.equal, result.mismatches


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_shipped_policy_is_what_its_module_exports_to(module):
    qat, shipped = load_qat(module), load_policy(policy_of(module))
    again = build_artifact(qat.actor, qat.mean, qat.std, shipped, {}, qat.observations).network
    for field in ("weights", "thresholds"):
        pairs = zip(getattr(again, field), getattr(shipped.network, field), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs), field
    assert np.array_equal(again.mean, shipped.network.mean)
    assert np.array_equal(again.gain, shipped.network.gain)
    # tanh of another processor's library may differ in the last bit.
    assert np.abs(again.table - shipped.network.table).max() <= 1e-6
