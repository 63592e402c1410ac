"""Turn a trained quantised module into an integer policy file, and prove that they are equal.

Every code of the file's network is compared with the torch module: over the accumulators of every
neuron, and on observations through each integer engine. The file is written only if none differs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from qpolicy_ros.cli import UsageError
from qpolicy_ros.policy import PolicyArtifact, PolicyError, find_policy, load_policy, save_policy
from qpolicy_training.equality import (
    brevitas_disagreement_ppm,
    compare_accumulators,
    compare_with_snapped,
    sample_observations,
)
from qpolicy_training.export import build_artifact
from qpolicy_training.qat_file import SUFFIX, load_qat
from qpolicy_training.snapped import snap


@dataclass(frozen=True)
class Args:
    """Arguments of `qpolicy export`."""

    source: Annotated[Path, tyro.conf.Positional]
    """A .qat.safetensors file, or a folder that holds exactly one."""
    out: Path
    """Policy file to write."""
    baseline: Path | None = None
    """FP32 policy of the same task; by default fp32.safetensors beside the source, else the
    shipped one."""
    observations: int = 10_000
    """Random observations on which every code is compared."""
    seed: int = 0
    """Seed of these observations."""
    json: bool = False
    """Print one JSON object on standard output."""


def main(args: Args) -> int:
    """Run `qpolicy export`; 0 if written, 1 if a code differs."""
    if args.observations < 1:
        raise UsageError(f"--observations: {args.observations} is too small; give 1 or more")
    source = _source(args.source)
    qat = load_qat(source)
    baseline = _baseline(args.baseline, source, qat.task)
    artifact = build_artifact(
        qat.actor, qat.mean, qat.std, baseline, qat.provenance, qat.observations
    )
    assert artifact.network is not None
    snapped = snap(qat.actor, qat.mean, qat.std)
    samples = sample_observations(qat.mean, qat.std, args.observations, args.seed)
    observed = np.concatenate([qat.observations, samples])
    result = compare_with_snapped(artifact.network, snapped, observed)
    thresholds = compare_accumulators(artifact.network, snapped)
    ppm = brevitas_disagreement_ppm(qat.actor, snapped, observed, qat.std)
    equal = result.equal and thresholds.equal
    if equal:
        save_policy(artifact, args.out)
    spec = qat.actor.spec
    report: dict[str, Any] = {
        "policy": str(args.out) if equal else None,
        "task": artifact.contract.task,
        "hidden": list(spec.hidden),
        "b_in": spec.b_in,
        "b_core": spec.b_core,
        "b_out": spec.b_out,
        "function_hash": artifact.function_hash,
        "equal": equal,
        "codes_compared": result.compared,
        "accumulators_compared": thresholds.compared,
        "mismatches": {
            name: count + thresholds.mismatches.get(name, 0)
            for name, count in result.mismatches.items()
        },
        "brevitas_disagreement_ppm": ppm,
    }
    print(json.dumps(report) if args.json else _text(report))
    return 0 if equal else 1


def _source(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = sorted(path.glob(f"*{SUFFIX}"))
    if len(found) != 1:
        wrong = f"holds {len(found)} files *{SUFFIX}"
        raise PolicyError.at(path, "source", wrong, "name one file")
    return found[0]


def _baseline(given: Path | None, source: Path, task: str) -> PolicyArtifact:
    beside = source.with_name("fp32.safetensors")
    path = given or (beside if beside.is_file() else find_policy(f"{task}/fp32"))
    artifact = load_policy(path)
    if artifact.contract.task != task:
        wrong = f"policy of {artifact.contract.task!r}, the module was trained for {task!r}"
        raise PolicyError.at(path, "task", wrong, "give --baseline of the same task")
    return artifact


def _text(report: dict[str, Any]) -> str:
    ppm = report["brevitas_disagreement_ppm"]
    plain = ", ".join(f"{name} {value:.3g}" for name, value in ppm.items())
    verdict = (
        f"{report['policy']}: written; every code equals the torch module"
        if report["equal"]
        else f"not written: codes differ from the torch module: {report['mismatches']}"
    )
    return (
        f"{verdict}\n"
        f"  compared: {report['codes_compared']} codes on observations, "
        f"{report['accumulators_compared']} on accumulators\n"
        f"  plain Brevitas graph, codes that differ, ppm: {plain}\n"
        f"  function {report['function_hash']}"
    )
