"""Where a policy comes from: what its artifact says of command, versions and returns."""

from __future__ import annotations

import hashlib
import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from qpolicy_ros.common.revision import revision
from qpolicy_ros.policy import PolicyError


def provenance(**facts: Any) -> dict[str, Any]:
    """Command, git revision and versions of this process, and the ``facts`` given."""
    return {
        "command": shlex.join(["qpolicy", *sys.argv[1:]]),
        "git_revision": revision(Path(__file__).resolve().parent),
        "mujoco_version": version("mujoco"),
        "gymnasium_version": version("gymnasium"),
        "torch_version": version("torch"),
        "brevitas_version": version("brevitas"),
        "python_version": platform.python_version(),
        **facts,
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
