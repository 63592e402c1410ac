"""Finding a shipped policy by name from any working directory and any kind of install."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import sysconfig
from pathlib import Path

from qpolicy_ros.policy.errors import PolicyError

PACKAGE = "qpolicy_ros"
POLICIES = Path("config") / "policies"
DEFAULT_VARIANT = "paper"
SUFFIX = ".safetensors"
ENVIRONMENT = "QPOLICY_POLICIES"


def find_policy(name: str | os.PathLike[str]) -> Path:
    """Find a policy file.

    Args:
        name: a path to a file; or ``<task>`` (its ``paper`` policy) or ``<task>/<variant>``,
            looked up in, first match wins: ``$QPOLICY_POLICIES``; the package's ament share; the
            installed distribution's data; ``<prefix>/share/qpolicy_ros`` of this Python; the
            source tree around this package.

    Raises:
        PolicyError: nothing by that name; the text lists the policies that were found.
    """
    text = os.fspath(name)
    path = Path(text)
    if path.suffix == SUFFIX and (path.is_absolute() or path.exists() or len(path.parts) > 2):
        return path  # load_policy says what is wrong with it
    if not text or path.is_absolute() or ".." in path.parts:
        return path
    relative = path / DEFAULT_VARIANT if len(path.parts) == 1 else path
    if relative.suffix != SUFFIX:
        relative = relative.with_name(relative.name + SUFFIX)
    folders = policy_folders()
    for folder in folders:
        if (folder / relative).is_file():
            return folder / relative
    if path.exists():
        return path
    known = sorted(
        {_name(folder, file) for folder in folders for file in folder.glob(f"*/*{SUFFIX}")}
    )
    remedy = f"known: {', '.join(known)}" if known else f"none found in {_listed(folders)}"
    raise PolicyError.at("", "policy", f"{text!r} is neither a file nor a shipped policy", remedy)


def policy_folders() -> list[Path]:
    """Existing folders that hold shipped policies, in the order of the search."""
    candidates: list[Path] = []
    if os.environ.get(ENVIRONMENT):
        candidates.append(Path(os.environ[ENVIRONMENT]))
    candidates += _ament_folders()
    candidates += _distribution_folders()
    candidates.append(Path(sys.prefix, "share", PACKAGE, POLICIES))
    candidates.append(Path(sysconfig.get_path("data"), "share", PACKAGE, POLICIES))
    candidates.append(Path(__file__).resolve().parents[2] / POLICIES)
    return list(dict.fromkeys(folder for folder in candidates if folder.is_dir()))


def _ament_folders() -> list[Path]:
    try:
        from ament_index_python.packages import (  # noqa: PLC0415 only on a ROS 2 machine
            get_package_share_directory,
        )
    except ImportError:
        return []
    try:
        return [Path(get_package_share_directory(PACKAGE)) / POLICIES]
    except (LookupError, OSError, ValueError):  # not in the index: not built by colcon
        return []


def _distribution_folders() -> list[Path]:
    """Where pip put the data files, also with --user, --target and --prefix."""
    try:
        files = importlib.metadata.distribution(PACKAGE).files or []
    except importlib.metadata.PackageNotFoundError:
        return []
    # <somewhere>/share/qpolicy_ros/config/policies/<task>/<variant>.safetensors
    return [
        Path(str(file.locate())).resolve().parents[1]
        for file in files
        if file.suffix == SUFFIX and file.parts[-4:-2] == POLICIES.parts
    ]


def _name(folder: Path, file: Path) -> str:
    return file.relative_to(folder).with_suffix("").as_posix()


def _listed(folders: list[Path]) -> str:
    return ", ".join(str(folder) for folder in folders) or f"any install; set ${ENVIRONMENT}"
