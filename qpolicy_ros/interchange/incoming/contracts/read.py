"""Which form a contract has, and its reader."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.interchange.incoming.contracts import isaac_lab, leapp, own, rl_sar, unitree
from qpolicy_ros.interchange.incoming.contracts.context import Context
from qpolicy_ros.interchange.incoming.contracts.yaml_file import read_yaml
from qpolicy_ros.policy import Contract, policy_folders

CONTRACTS = "contracts"
_FORMS = "a deploy.yaml, IO descriptors, a LEAPP or rl_sar file, or one of ours"


def read_contract(name: str | os.PathLike[str], context: Context) -> Contract:
    """Read a contract of any form.

    Args:
        name: a file, a folder of rl_sar's or LEAPP's, or the name of one in ``config/contracts``.
        context: what is known beside it.

    Raises:
        InputError: none of these, or something in it is wrong; the text names file and field.
    """
    path = find_contract(name)
    content = read_yaml(path)
    if not isinstance(content, Mapping):
        raise InputError.at(path, "contract", "is no mapping", f"give {_FORMS}")
    try:
        return _read(content, path, context)
    except (RecursionError, OverflowError) as error:
        raise InputError.at(
            path, "contract", f"cannot be read: {error}", f"give {_FORMS}"
        ) from error


def find_contract(name: str | os.PathLike[str]) -> Path:
    """Return the file of a contract.

    Raises:
        InputError: it is neither a file nor one of ours.
    """
    path = Path(name)
    if path.is_dir():
        return _in_folder(path)
    if path.exists():
        return path
    known: dict[str, Path] = {}
    for folder in reversed(policy_folders()):
        known |= {file.stem: file for file in (folder.parent / CONTRACTS).glob("*.yaml")}
    if str(name) in known:
        return known[str(name)]
    wrong = f"{os.fspath(name)!r} is neither a file nor a contract of ours"
    raise InputError.at("", "--contract", wrong, f"known: {', '.join(sorted(known)) or 'none'}")


def _in_folder(folder: Path) -> Path:
    """The contract in a folder: rl_sar's or Isaac Lab's, or the one YAML file."""
    for name in ("deploy.yaml", "params/deploy.yaml", "config.yaml"):
        if (folder / name).is_file():
            return folder / name
    files = sorted(folder.glob("*.yaml"))
    if len(files) == 1:
        return files[0]
    wrong = f"has {len(files)} YAML files" if files else "has no YAML file"
    raise InputError.at(folder, "--contract", wrong, "name the contract's file")


def _read(content: Mapping[str, Any], path: Path, context: Context) -> Contract:
    keys = set(content)
    if keys >= unitree.KEYS:
        return unitree.read_deploy(content, path, context)
    if keys >= isaac_lab.KEYS:
        return isaac_lab.read_descriptors(content, path, context)
    if keys >= leapp.KEYS:
        return leapp.read_leapp(content, path, context)
    if keys >= own.KEYS:
        return own.read_own(content, path, context)
    if rl_sar.describes(content):
        return rl_sar.read_rl_sar(content, path, context)
    wrong = f"has the fields {', '.join(map(str, list(content)[:8]))}, which no known form has"
    raise InputError.at(path, "contract", wrong, f"give {_FORMS}")
