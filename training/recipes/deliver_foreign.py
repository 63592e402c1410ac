"""From a student of somebody else's policy to the files that ship."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.policy import PolicyArtifact, PolicyError, save_policy
from qpolicy_training.quant.equality import compare_accumulators, compare_with_snapped
from qpolicy_training.quant.export import build_artifact
from qpolicy_training.quant.qat_file import QatPolicy, qat_path, save_qat
from qpolicy_training.quant.snapped import snap
from qpolicy_training.recipes.foreign import ForeignCourse, Trained
from qpolicy_training.runs.provenance import provenance

_GOLDEN = 32


def deliver_foreign(
    course: ForeignCourse, trained: Trained, facts: dict[str, Any], out: Path
) -> PolicyArtifact:
    """Write ``out``, its ``.qat.safetensors`` and, with the curve, its ``.csv``.

    ``facts`` go into the provenance. Raises ``PolicyError`` where the integers differ from the
    trained module, or a file cannot be written.
    """
    actor, scaling, teacher = trained.actor, trained.scaling, course.teacher
    action = (scaling.action_scale, scaling.action_bias)
    golden = _golden(trained.observations)
    made = provenance(**facts, **trained.verdict.facts)
    artifact = build_artifact(actor, scaling.mean, scaling.std, teacher, made, golden, action)
    assert artifact.network is not None
    snapped = snap(actor, scaling.mean, scaling.std)
    if not (
        compare_with_snapped(artifact.network, snapped, golden).equal
        and compare_accumulators(artifact.network, snapped).equal
    ):
        message = "export: the integer network differs from the trained module; please report this"
        raise PolicyError(message)
    save_policy(artifact, out)
    qat = QatPolicy(
        task=artifact.contract.task,
        actor=actor,
        mean=scaling.mean,
        std=scaling.std,
        observations=golden,
        provenance=artifact.provenance,
        action=action,
    )
    save_qat(qat, qat_path(out))
    curve = course.run.folder / "curve.csv"
    if curve.exists():
        write_atomically(out.with_suffix(".csv"), curve.read_bytes())
    return artifact


def files_digest(files: Iterable[Path]) -> str:
    """SHA-256 over the contents of files and folders, hexadecimal; those missing are left out."""
    digest = hashlib.sha256()
    for given in files:
        for file in sorted(given.rglob("*")) if given.is_dir() else [given]:
            if file.is_file():
                with file.open("rb") as stream:
                    while block := stream.read(1 << 20):
                        digest.update(block)
    return digest.hexdigest()


def _golden(observations: NDArray[np.float32]) -> NDArray[np.float32]:
    """Half of the golden observations were met, a quarter are those times ten, the rest steps."""
    half, quarter = _GOLDEN // 2, _GOLDEN // 4
    met = observations[np.linspace(0, len(observations) - 1, half).astype(int)]
    levels = np.linspace(-2.0, 2.0, quarter)[:, None] * np.ones_like(met[:1])
    return np.concatenate((met, 10 * met[:quarter], levels)).astype(np.float32)
