"""Policy files for tests, whole and damaged, written without the code under test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qpolicy_ros.policy import hashing


def read_raw(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header and the tensors' bytes of a safetensors file."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def write_raw(path: Path, header: dict[str, Any], data: bytes) -> None:
    """Write a safetensors file from a header and the tensors' bytes."""
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def edit_metadata(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change the policy's metadata and leave everything else, hashes included, as it is."""
    header, data = read_raw(path)
    metadata = json.loads(header["__metadata__"]["qpolicy"])
    edit(metadata)
    header["__metadata__"]["qpolicy"] = json.dumps(metadata)
    write_raw(path, header, data)


def edit_tensors(
    path: Path, edit: Callable[[dict[str, Any]], object], *, rehash: bool = False
) -> None:
    """Change tensors in place; ``rehash`` makes the hashes fit, as a careful forger would."""
    import safetensors.numpy  # noqa: PLC0415

    header, _ = read_raw(path)
    text = header["__metadata__"]["qpolicy"]
    tensors = {name: tensor.copy() for name, tensor in safetensors.numpy.load_file(path).items()}
    edit(tensors)
    if rehash:
        metadata = json.loads(text)
        metadata["function_hash"] = hashing.function_hash(metadata, tensors)
        metadata["file_hash"] = hashing.file_hash(metadata, tensors)
        text = json.dumps(metadata)
    safetensors.numpy.save_file(tensors, path, {"qpolicy": text})
