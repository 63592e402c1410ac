"""Part 2: for each neuron, the codes of torch, of the thresholds and of every software engine.

Over all accumulators that a neuron can reach where these are at most 2^16; beyond that at both ends
and at T - 1, T and T + 1 of every threshold, which is enough as both sides are monotone. The
hardware's side of it is proven, for every sum, in ``formal``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.interchange.outgoing import CompiledHeader
from qpolicy_ros.policy import IntegerNetwork, PolicyArtifact, PolicyError, make_engine
from qpolicy_ros.policy.bounds import network_bounds
from qpolicy_ros.policy.engines import engine_kinds
from qpolicy_ros.policy.model import Int32, Int64
from qpolicy_ros.verify.probe_networks import threshold_probe, weight_probe
from qpolicy_ros.verify.result import Check

_EXHAUSTIVE = 1 << 16
_VALUES = 1 << 22  # codes at a time
_TABLE_STEPS = 2  # units in the last place by which another machine's tanh may differ

Codes = Callable[[Any], Any]


def engines(network: IntegerNetwork) -> Iterator[tuple[str, Codes]]:
    """Name and ``codes_batch`` of every integer engine and instruction set that works here."""
    yield "numpy", make_engine(network, "numpy").codes_batch
    if "c" in engine_kinds():
        from qpolicy_ros.policy._kernel import instruction_sets  # noqa: PLC0415  is built
        from qpolicy_ros.policy.c_engine import CEngine  # noqa: PLC0415  as above

        for name in instruction_sets():
            yield f"c/{name}", CEngine(network, name).codes_batch


def check_torch(artifact: PolicyArtifact, module: Path) -> list[Check]:
    """Compare the policy with the trained module that lies beside it.

    Raises:
        PolicyError: the module is missing, damaged or of another architecture.
    """
    network = artifact.network
    assert network is not None
    if not module.is_file():
        wrong = "the trained module is missing, and without it nothing can be compared with torch"
        raise PolicyError.at(module, "file", wrong, "put it beside the policy")
    from qpolicy_training.quant.equality import compare_accumulators  # noqa: PLC0415  torch, late
    from qpolicy_training.quant.export import action_table  # noqa: PLC0415
    from qpolicy_training.quant.qat_file import load_qat  # noqa: PLC0415
    from qpolicy_training.quant.snapped import snap  # noqa: PLC0415

    qat = load_qat(module)
    spec = qat.actor.spec
    bits = (network.input_bits, network.core_bits, network.output_bits)
    ours = ((network.mean.size, *network.hidden, network.table.shape[0]), bits)
    theirs = (spec.layer_sizes(), (spec.b_in, spec.b_core, spec.b_out))
    if ours != theirs:
        wrong = f"is for sizes and bits {theirs}, the policy has {ours}"
        raise PolicyError.at(module, "spec", wrong, "put the policy's own module beside it")
    snapped = snap(qat.actor, qat.mean, qat.std)
    folded = [(network.mean, snapped.mean.numpy()), (network.gain, snapped.gain.numpy())]
    differ = sum(int((a != b).sum()) for a, b in folded)
    checks = [Check("torch: mean and gain of the input codes", 2 * network.mean.size, differ)]
    result = compare_accumulators(network, snapped)
    first = next((f"{name}: {count}" for name, count in result.mismatches.items() if count), "")
    name = "torch: weights, and codes over the accumulators of every neuron"
    checks.append(Check(name, result.compared, sum(result.mismatches.values()), first))
    baseline, contract = artifact.baseline, artifact.contract
    table = action_table(snapped, *qat.action_of(baseline))
    table = np.clip(table, contract.low[:, None], contract.high[:, None])
    distance = np.abs(table - network.table)
    far = distance > _TABLE_STEPS * np.spacing(np.abs(table))
    detail = f"{int((distance != 0).sum())} differ within {_TABLE_STEPS} float32 steps"
    checks.append(Check("torch: action table", table.size, int(far.sum()), detail))
    return checks


def check_engines(artifact: PolicyArtifact) -> list[Check]:
    """Compare every software engine's codes and weights with those of the file, by probes."""
    network = artifact.network
    assert network is not None
    compared: dict[str, int] = {}
    wrong: dict[str, int] = {}

    def note(name: str, given: Any, wanted: Any) -> None:
        compared[name] = compared.get(name, 0) + wanted.size
        wrong[name] = wrong.get(name, 0) + int((np.asarray(given) != wanted).sum())

    for index, (low, high) in enumerate(network_bounds(network)):
        last = index == len(network.weights) - 1
        bits = network.output_bits if last else network.core_bits
        rows = network.thresholds[index]
        for points in _points(low, high, rows):
            probe, observations = threshold_probe(rows, bits, points)
            columns = [np.searchsorted(row, points, side="right") for row in rows]
            wanted = np.stack(columns, axis=1) + probe.output_min
            for name, codes in engines(probe):
                note(f"{name}: thresholds", codes(observations)[-1], wanted)
            header = CompiledHeader(dataclasses.replace(artifact, network=probe))
            note("c header: thresholds", header.infer_batch(observations.astype(np.int32)), wanted)
        probe, observations = weight_probe(network.weights[index], signed=index == 0)
        for name, codes in engines(probe):
            note(f"{name}: weights", codes(observations)[-1], network.weights[index].T)
        header = CompiledHeader(dataclasses.replace(artifact, network=probe))
        note(
            "c header: weights",
            header.infer_batch(observations.astype(np.int32)),
            network.weights[index].T,
        )
    return [Check(f"{name} of every neuron", compared[name], wrong[name]) for name in compared]


def _points(low: Int64, high: Int64, rows: Int32) -> Iterator[Int64]:
    """Accumulators to compare all neurons at, in pieces that fit into memory."""
    first, last = int(low.min()), int(high.max())
    if last - first < _EXHAUSTIVE:
        points: Int64 = np.arange(first, last + 1)
    else:
        around = np.concatenate([rows.astype(np.int64).reshape(-1) + d for d in (-1, 0, 1)])
        points = np.unique(np.clip(np.concatenate([around, low, high]), first, last))
    size = max(1, _VALUES // len(rows))
    for start in range(0, len(points), size):
        yield points[start : start + size]
