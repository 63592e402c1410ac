"""Planted faults are found: a small sample here, over 200 of them in `make test-full`."""

from __future__ import annotations

import json

import kernel_mutants
import mutants
import pytest
from actor_builders import random_actor, random_statistics
from tiny_policy import write_tiny_policy

from qpolicy_ros.policy.engines import engine_kinds
from qpolicy_training.quant.quant_actor import ActorSpec

SPEC = ActorSpec(6, 2, (8, 5), 4, 3, 6, power_of_two=True)


@pytest.fixture
def policy(tmp_path):
    return write_tiny_policy(tmp_path / "policy")


def power_of_two(seed):
    """Scales of powers of two, so that accumulators fall on ties."""
    return (random_actor(SPEC, seed), *random_statistics(6, seed))


def check(planted, capsys):
    planted = list(planted)
    with capsys.disabled():
        for mutant in planted:
            if not mutant.found:
                print("\nnot found: " + json.dumps(mutant))  # noqa: T201  the report
    assert planted
    assert [mutant for mutant in planted if not (mutant.found or mutant.equivalent)] == []


def test_in_the_policy_s_file(policy, tmp_path, capsys, full):
    check(mutants.artifact_mutants(policy, tmp_path, 88 if full else 4), capsys)


def test_in_the_exporter_s_tie_rule(capsys, full):
    check(mutants.tie_mutants(power_of_two, range(8 if full else 1)), capsys)


@pytest.mark.timeout(3600)
def test_in_the_layers_verilog(policy, tmp_path, capsys, full):
    check(mutants.layer_mutants(policy, tmp_path, 80 if full else 4), capsys)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_in_the_core_around_them(policy, tmp_path, capsys, full):
    faults = mutants.CORE_FAULTS if full else mutants.CORE_FAULTS[2:3]
    check(mutants.core_mutants(policy, tmp_path, faults), capsys)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_in_the_wrappers(policy, tmp_path, capsys, full):
    faults = mutants.WRAPPER_FAULTS + mutants.BUS_FAULTS if full else mutants.WRAPPER_FAULTS[2:3]
    check(mutants.wrapper_mutants(policy, tmp_path, faults), capsys)


@pytest.mark.skipif("c" not in engine_kinds(), reason="the C kernel is not built")
@pytest.mark.timeout(7200)
def test_in_the_c_kernel(tmp_path, capsys, full):
    faults = kernel_mutants.KERNEL_FAULTS if full else kernel_mutants.KERNEL_FAULTS[5:6]
    check(kernel_mutants.kernel_mutants(tmp_path, faults), capsys)
