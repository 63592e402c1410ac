"""Making, saving and loading policy files.

A policy file is a safetensors file: tensors ``integer.*`` (absent in an FP32-only policy),
``baseline.*`` and ``golden.*``, and one metadata entry ``qpolicy`` that holds canonical JSON with
the format version, the contract, the bit-widths, the provenance and the two hashes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from qpolicy_ros.common.errors import ObservationError, PolicyError
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.policy.baseline import baseline_actions, fp32_tolerance
from qpolicy_ros.policy.container import METADATA_KEY, read_container
from qpolicy_ros.policy.contract_rules import check_contract
from qpolicy_ros.policy.hashing import canonical_json, file_hash, function_hash
from qpolicy_ros.policy.layout import (
    FORMAT_VERSION,
    metadata_of,
    parse_metadata,
    parse_tensors,
    tensors_of,
)
from qpolicy_ros.policy.model import (
    FEATURE,
    Baseline,
    Contract,
    Golden,
    IntegerNetwork,
    PolicyArtifact,
)
from qpolicy_ros.policy.numpy_engine import NumpyEngine
from qpolicy_ros.policy.signing import TrustedKeys
from qpolicy_ros.policy.validate import (
    Checker,
    check_baseline,
    check_golden,
    check_network,
    check_provenance,
)

__all__ = [
    "FORMAT_VERSION",
    "load_policy",
    "make_artifact",
    "require_features",
    "require_task",
    "save_policy",
]


def make_artifact(
    contract: Contract,
    baseline: Baseline,
    network: IntegerNetwork | None,
    provenance: dict[str, Any],
    golden_observations: npt.ArrayLike,
) -> PolicyArtifact:
    """Put a policy together: check every part, compute golden vectors and hashes.

    Args:
        contract: what goes in and out.
        baseline: FP32 policy of the same task.
        network: integer policy, or None for an FP32-only artifact.
        provenance: JSON-able; ``returns`` inside is what ``qpolicy info`` shows.
        golden_observations: float32 ``(k, n)``, 1 to 4096 vectors.

    Raises:
        PolicyError: a part breaks a rule; the text names it.
    """
    _check_parts(contract, baseline, network, provenance, "")
    try:
        golden = _golden(baseline, network, np.array(golden_observations, np.float32))
    except ObservationError as error:
        raise PolicyError.at("", "golden_observations", str(error), "choose others") from error
    check_golden(golden, contract, integer=network is not None)
    # Through JSON: what a later load will give, and out of the caller's reach.
    provenance = json.loads(canonical_json(provenance))
    unhashed = PolicyArtifact(
        contract=contract,
        baseline=baseline,
        network=network,
        provenance=provenance,
        golden=golden,
        function_hash="",
        file_hash="",
    )
    metadata, tensors = metadata_of(unhashed), tensors_of(unhashed)
    return PolicyArtifact(
        contract=contract,
        baseline=baseline,
        network=network,
        provenance=provenance,
        golden=golden,
        function_hash=function_hash(metadata, tensors),
        file_hash=file_hash(metadata, tensors),
    )


def save_policy(artifact: PolicyArtifact, path: str | os.PathLike[str]) -> None:
    """Write ``artifact`` to ``path``, all or nothing: an interrupted save leaves the old file.

    Raises:
        PolicyError: the artifact breaks a rule, or the file cannot be written (full disk, no
            such folder, no permission).
    """
    target = Path(path)
    check = Checker(target)
    check.require(not target.is_dir(), "path", "is a folder", "give a file name in it")
    _check_artifact(artifact, target)
    metadata = {METADATA_KEY: canonical_json(metadata_of(artifact))}
    write_atomically(target, safetensors.numpy.save(tensors_of(artifact), metadata))


def load_policy(path: str | os.PathLike[str], trusted: TrustedKeys | None = None) -> PolicyArtifact:
    """Read a policy file and check everything in it, golden vectors included.

    Args:
        path: of the file.
        trusted: keys of which one must have signed it; None takes any file.

    Raises:
        PolicyError: the file is missing, not a policy, damaged, altered or from a newer version;
            with ``trusted`` also if it is not signed, or by another.
    """
    file = Path(path)
    text, tensors = read_container(file, trusted.check(file) if trusted else None)
    metadata = parse_metadata(text, file)
    contract, baseline, network, golden = parse_tensors(metadata, tensors, file)
    artifact = PolicyArtifact(
        contract=contract,
        baseline=baseline,
        network=network,
        provenance=metadata["provenance"],
        golden=golden,
        function_hash=metadata["function_hash"],
        file_hash=metadata["file_hash"],
        path=str(file),
    )
    _check_artifact(artifact, file)
    return artifact


def require_task(artifact: PolicyArtifact, task: str) -> None:
    """Raise PolicyError unless ``artifact`` is a policy of ``task`` (short name or env id)."""
    contract = artifact.contract
    if task not in {contract.task, contract.env_id} - {""}:
        wrong = f"the policy is for {contract.task!r}, asked for {task!r}"
        remedy = f"give a policy of {task!r} or set the task to {contract.task!r}"
        raise PolicyError.at(artifact.path, "task", wrong, remedy)


def require_features(artifact: PolicyArtifact) -> None:
    """Raise PolicyError unless every observation value comes from a feature vector.

    Those of a robot's policy come from its topics.
    """
    for channel in artifact.contract.observation:
        if channel.source != FEATURE:
            wrong = f"{channel.name!r} comes from {channel.source!r}, not from a feature vector"
            remedy = "give a policy of a simulated task such as hopper"
            raise PolicyError.at(artifact.path, "contract.observation", wrong, remedy)


def _golden(baseline: Baseline, network: IntegerNetwork | None, observations: Any) -> Golden:
    actions = codes = None
    if network is not None:
        engine = NumpyEngine(network)
        codes, actions = engine.codes_batch(observations)[-1], engine.act_batch(observations)
    return Golden(observations, codes, actions, baseline_actions(baseline, observations))


def _check_parts(
    contract: Contract,
    baseline: Baseline,
    network: IntegerNetwork | None,
    provenance: object,
    file: object,
) -> None:
    check_contract(contract, file)
    check_baseline(baseline, contract, file)
    if network is not None:
        check_network(network, contract, file)
    check_provenance(provenance, file)


def _check_artifact(artifact: PolicyArtifact, file: Path) -> None:
    """Check all parts, then both hashes, then replay the golden vectors."""
    _check_parts(artifact.contract, artifact.baseline, artifact.network, artifact.provenance, file)
    golden, integer = artifact.golden, artifact.network is not None
    check_golden(golden, artifact.contract, integer=integer, file=file)
    check = Checker(file)
    metadata, tensors = metadata_of(artifact), tensors_of(artifact)
    for field, recorded, actual in (
        ("function_hash", artifact.function_hash, function_hash(metadata, tensors)),
        ("file_hash", artifact.file_hash, file_hash(metadata, tensors)),
    ):
        wrong = f"{recorded[:12]}... recorded, {actual[:12]}... found: the content was altered"
        check.require(recorded == actual, field, wrong, "restore the file or export it again")
    replay = _golden(artifact.baseline, artifact.network, golden.observations)
    # Anything else is an error of this software or machine: the hashes say the file is intact.
    remedy = "report it with the output of `qpolicy info`"
    for field, kept, now in (
        ("golden.codes", golden.codes, replay.codes),
        ("golden.actions", golden.actions, replay.actions),
    ):
        if kept is not None and now is not None:
            check.all(now, now == kept, field, "is not the recorded answer")
    close = np.abs(replay.baseline_actions - golden.baseline_actions) <= fp32_tolerance(
        artifact.contract
    )
    field = "golden.baseline_actions"
    check.require(bool(close.all()), field, "differ from the recorded answers", remedy)
