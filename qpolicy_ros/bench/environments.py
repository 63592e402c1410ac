"""Environments of peers that do not fit into this project's own: made once, by pip, pinned."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from qpolicy_ros.common.files import cache_folder

_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"  # PyPI's torch brings gigabytes of CUDA

#: Stable-Baselines3 and sbx (JAX), with the versions of torch, NumPy and MuJoCo of this project.
TRAINERS = (
    "torch==2.13.0",
    "numpy==2.4.6",
    "gymnasium[mujoco]==1.4.0",
    "mujoco==4.0.0",
    "stable-baselines3==2.9.2",
    "sbx-rl==0.28.0",
    "jax==0.10.2",
    "flax==0.12.8",
    "optax==0.2.8",
    "tfp-nightly==0.26.0.dev20261027",
)

#: What the scripts of a CleanRL checkout need: they use what Gymnasium dropped after 0.29.
CLEANRL = (
    "torch==2.13.0",
    "numpy==1.26.4",
    "gymnasium==0.29.1",
    "mujoco==4.0.0",
    "imageio",  # imported by gymnasium.envs.mujoco
    "tensorboard==2.21.0",
    "tyro==1.0.1",
)


class PeerEnvironmentError(RuntimeError):
    """An environment cannot be made; the text is one line."""


def interpreter(requirements: tuple[str, ...], say: Callable[[str], None]) -> Path:
    """Return the Python of an environment with exactly these requirements; made if missing.

    It lies in ``~/.cache/qpolicy/bench-envs`` (``$QPOLICY_RUNS/bench-envs`` where that is set).

    Raises:
        PeerEnvironmentError: pip failed.
    """
    text = "\n".join((*requirements, sys.version))
    chosen = os.environ.get("QPOLICY_RUNS", "")
    root = (Path(chosen) if chosen else cache_folder("qpolicy")) / "bench-envs"
    folder = root / hashlib.sha256(text.encode()).hexdigest()[:12]
    python = folder / "bin" / "python"
    if (folder / ".complete").exists():
        return python
    say(f"making the peers' environment in {folder} (downloads; minutes the first time)")
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    if _answers(_TORCH_INDEX):
        command += ["--extra-index-url", _TORCH_INDEX]
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([*command, *requirements], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise PeerEnvironmentError(
            f"{folder}: the peers' environment cannot be made: {lines[-1] if lines else error}"
        ) from error
    (folder / ".complete").touch()
    return python


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/torch/", timeout=10):  # noqa: S310 a constant
            return True
    except (urllib.error.URLError, OSError):
        return False
