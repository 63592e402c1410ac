"""`qpolicy export --format policy`: a trained module becomes a policy file, if they are equal."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.policy import PolicyArtifact, PolicyError, find_policy, load_policy, save_policy
from qpolicy_training.quant.equality import (
    brevitas_disagreement_ppm,
    compare_accumulators,
    compare_with_snapped,
    sample_observations,
)
from qpolicy_training.quant.export import build_artifact
from qpolicy_training.quant.qat_file import SUFFIX, QatPolicy, load_qat
from qpolicy_training.quant.snapped import snap


def export_policy(
    source: Path,
    out: Path,
    *,
    baseline: Path | None,
    observations: int,
    seed: int,
    as_json: bool,
) -> int:
    """Write the policy of a trained module; 0 if written, 1 if a code differs."""
    source = _source(source)
    qat = load_qat(source)
    fp32 = _baseline(baseline, source, qat)
    artifact = build_artifact(
        qat.actor, qat.mean, qat.std, fp32, qat.provenance, qat.observations, qat.action
    )
    assert artifact.network is not None
    snapped = snap(qat.actor, qat.mean, qat.std)
    samples = sample_observations(qat.mean, qat.std, observations, seed)
    observed = np.concatenate([qat.observations, samples])
    result = compare_with_snapped(artifact.network, snapped, observed)
    thresholds = compare_accumulators(artifact.network, snapped)
    ppm = brevitas_disagreement_ppm(qat.actor, snapped, observed, qat.std)
    equal = result.equal and thresholds.equal
    if equal:
        save_policy(artifact, out)
    spec = qat.actor.spec
    report: dict[str, Any] = {
        "policy": str(out) if equal else None,
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
    print(json.dumps(report) if as_json else _text(report))
    return 0 if equal else 1


def _source(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = sorted(path.glob(f"*{SUFFIX}"))
    if len(found) != 1:
        wrong = f"holds {len(found)} files *{SUFFIX}"
        raise PolicyError.at(path, "source", wrong, "name one file")
    return found[0]


def _baseline(given: Path | None, source: Path, qat: QatPolicy) -> PolicyArtifact:
    """Return the FP32 policy that the new file is to carry.

    Where the module's provenance names its teacher, that is the one: ``fp32.safetensors`` beside
    the module, or what is shipped.
    """
    task, wanted = qat.task, qat.provenance.get("teacher_file_hash")
    if given is not None:
        found = [given]
    else:
        beside = source.with_name("fp32.safetensors")
        found = [path for path in (beside,) if path.is_file()]
        with contextlib.suppress(PolicyError):
            found.append(find_policy(f"{task}/fp32"))
    for path in found:
        artifact = load_policy(path)
        if artifact.contract.task != task:
            wrong = f"policy of {artifact.contract.task!r}, the module was trained for {task!r}"
            raise PolicyError.at(path, "task", wrong, "give --baseline of the same task")
        if given is not None or wanted in (None, artifact.file_hash):
            return artifact
    wrong = f"the teacher {str(wanted)[:12]} is not at hand" if wanted else f"none of {task!r}"
    raise PolicyError.at(source, "baseline", wrong, "give the FP32 policy by --baseline FILE")


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
