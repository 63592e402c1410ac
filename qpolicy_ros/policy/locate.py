"""Finding a shipped policy by name from any working directory and any kind of install."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from qpolicy_ros.common.errors import PolicyError

PACKAGE = "qpolicy_ros"
POLICIES = Path("config") / "policies"
# What a task's name alone means: the paper's policy, a robot's walking policy.
DEFAULT_VARIANTS = ("paper", "walk")
SUFFIX = ".safetensors"
ENVIRONMENT = "QPOLICY_POLICIES"


def find_policy(name: str | os.PathLike[str]) -> Path:
    """Find a policy file.

    Args:
        name: ``<task>`` (its ``paper`` policy, else its ``walk`` one) or ``<task>/<variant>``,
            looked up in ``policy_folders``, the first match wins; or a path.

    Returns:
        A shipped policy's file, or the path as given; ``load_policy`` says what is wrong with it.

    Raises:
        PolicyError: neither a path that exists nor a shipped policy; the text lists those found.
    """
    path = Path(name)
    folders = policy_folders()
    if len(path.parts) in (1, 2) and not path.is_absolute() and ".." not in path.parts:
        names = [path / name for name in DEFAULT_VARIANTS] if len(path.parts) == 1 else [path]
        for folder in () if path.is_file() else folders:
            for relative in names:
                file = folder / relative.with_name(relative.name.removesuffix(SUFFIX) + SUFFIX)
                if file.is_file():
                    return file
    if os.fspath(name) and path.exists():
        return path
    wrong = f"{os.fspath(name)!r} is neither a file nor a shipped policy"
    known = sorted(
        {_name(folder, file) for folder in folders for file in folder.glob("*/*")} - {""}
    )
    tasks = [name.partition("/")[0] for name in known]
    near = difflib.get_close_matches(os.fspath(name), [*known, *tasks], n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    remedy = (
        f"{meant}known: {', '.join(known)}"
        if known
        else f"set ${ENVIRONMENT} to a folder of policies"
    )
    raise PolicyError.at("", "policy", wrong, remedy)


def policy_folders() -> list[Path]:
    """Existing folders that hold ``<task>/<variant>.safetensors``, in the order of the search.

    ``$QPOLICY_POLICIES``; the package's ament share; ``share/qpolicy_ros/config/policies`` of the
    installation that this module lies in (wheel, ``--user``, ``--target``, colcon); the source
    tree that it lies in (editable, ``--symlink-install``).
    """
    here = Path(__file__).resolve()
    chosen = os.environ.get(ENVIRONMENT)
    candidates = [
        *([Path(chosen)] if chosen else []),
        *_ament_folders(),
        # The installation's root is four to six levels up, depending on the kind of install.
        *(parent / "share" / PACKAGE / POLICIES for parent in here.parents),
        here.parents[2] / POLICIES,
    ]
    return list(dict.fromkeys(folder for folder in candidates if folder.is_dir()))


def _ament_folders() -> list[Path]:
    try:
        from ament_index_python.packages import (  # noqa: PLC0415  only on a ROS 2 machine
            get_package_share_directory,
        )
    except ImportError:
        return []
    try:
        return [Path(get_package_share_directory(PACKAGE)) / POLICIES]
    except (LookupError, OSError, ValueError):  # not in the index: not built by colcon
        return []


def _name(folder: Path, file: Path) -> str:
    """``<task>/<variant>`` of a policy file, empty for any other file and for a ``.qat`` module."""
    relative = file.relative_to(folder).as_posix()
    name = relative[: -len(SUFFIX)]
    return name if relative.endswith(SUFFIX) and "." not in name else ""
