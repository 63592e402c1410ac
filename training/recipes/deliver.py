"""From a trained student to the files that ship: export, proof, final episodes, three files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qpolicy_ros.backends import create_backend
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.policy import PolicyArtifact, PolicyError, save_policy
from qpolicy_training.quant.equality import compare_accumulators, compare_with_snapped
from qpolicy_training.quant.export import build_artifact
from qpolicy_training.quant.qat_file import QatPolicy, qat_path, save_qat
from qpolicy_training.quant.snapped import snap
from qpolicy_training.recipes.student import Student
from qpolicy_training.runs.golden import golden_observations, measured_returns
from qpolicy_training.runs.provenance import provenance


def deliver(
    student: Student,
    teacher: PolicyArtifact,
    facts: dict[str, object],
    episodes: int,
    out: Path,
    curve: Path | None = None,
) -> PolicyArtifact:
    """Write ``out``, its ``.qat.safetensors`` and, with ``curve``, its ``.csv``.

    ``facts`` go into the provenance, with the returns of ``episodes`` episodes from seed 0 through
    the integer backend and of the teacher. Raises ``PolicyError`` where the integers differ from
    the trained module, or a file cannot be written.
    """
    artifact = _artifact(student, teacher, facts, episodes)
    save_policy(artifact, out)
    qat = QatPolicy(
        task=artifact.contract.task,
        actor=student.actor,
        mean=student.normaliser.mean,
        std=student.normaliser.std,
        observations=artifact.golden.observations,
        provenance=artifact.provenance,
        action=_action_of(teacher),
    )
    save_qat(qat, qat_path(out))
    if curve is not None:
        write_atomically(out.with_suffix(".csv"), curve.read_bytes())
    return artifact


def _artifact(
    student: Student, teacher: PolicyArtifact, facts: dict[str, object], episodes: int
) -> PolicyArtifact:
    """Export, prove equal to the snapped module, play the final episodes."""
    mean, std = student.normaliser.mean, student.normaliser.std
    task = teacher.contract.env_id
    first = build_artifact(
        student.actor, mean, std, teacher, {}, teacher.golden.observations, _action_of(teacher)
    )
    backend = create_backend("integer", first)
    golden = golden_observations(backend.act, task)
    assert first.network is not None
    snapped = snap(student.actor, mean, std)
    if not (
        compare_with_snapped(first.network, snapped, golden).equal
        and compare_accumulators(first.network, snapped).equal
    ):
        message = "export: the integer network differs from the trained module; please report this"
        raise PolicyError(message)
    returns = {
        "integer": measured_returns(backend, task, episodes),
        "fp32": measured_returns(create_backend("fp32", teacher), task, episodes),
    }
    facts = provenance(**facts, returns=returns)
    return build_artifact(student.actor, mean, std, teacher, facts, golden, _action_of(teacher))


def _action_of(teacher: PolicyArtifact) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Scale and bias of a student's actions; None: those of a teacher of ours.

    What somebody else's network scales its outputs by are not the limits that tanh reaches.
    """
    if not teacher.baseline.steps:
        return None
    low = np.array([channel.low for channel in teacher.contract.action])
    high = np.array([channel.high for channel in teacher.contract.action])
    return ((high - low) / 2).astype(np.float32), ((high + low) / 2).astype(np.float32)
