"""Where a policy comes from: what its artifact says of command, versions and returns."""

from __future__ import annotations

import hashlib
import platform
import shlex
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.common.invocation import invocation
from qpolicy_ros.common.revision import revision
from qpolicy_ros.policy import PolicyArtifact, PolicyError

_PACKAGES = ("mujoco", "gymnasium", "torch", "brevitas")


def provenance(**facts: Any) -> dict[str, Any]:
    """Command, git revision and versions of this process, and the ``facts`` given."""
    return {
        "command": shlex.join(invocation()),
        "git_revision": revision(Path(__file__).resolve().parent),
        **{f"{name}_version": _version(name) for name in _PACKAGES},
        "python_version": platform.python_version(),
        **facts,
    }


def _version(package: str) -> str | None:
    """Return a package's version, None where it is not installed: recordings need no simulator."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def teacher_facts(teacher: PolicyArtifact) -> dict[str, object]:
    """What the provenance of a student says of its teacher."""
    return {
        "teacher_file_hash": teacher.file_hash,
        "teacher_provenance": {
            key: value for key, value in teacher.provenance.items() if key != "returns"
        },
    }


def returns_summary(returns: list[float], *, seed: int, backend: str) -> dict[str, Any]:
    """Mean, sample standard deviation and number of evaluation episodes."""
    return {
        "backend": backend,
        "episodes": len(returns),
        "seed": seed,
        "mean": float(np.mean(returns)),
        "std": float(np.std(returns, ddof=1)) if len(returns) > 1 else 0.0,
    }


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal; ``PolicyError`` where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        message = f"{path}: {error.strerror}; give a file that exists"
        raise PolicyError(message) from None


def beside_teacher(mean: float, teacher: float) -> str:
    """Say a student's mean return beside its teacher's.

    A share means something only of returns above zero, so the difference is said in their own unit.
    """
    share = f"; {mean / teacher:.1%}" if mean > 0 and teacher > 0 else ""
    return f"{mean:.4g}, the teacher's {teacher:.4g} ({mean - teacher:+.3g}{share})"
