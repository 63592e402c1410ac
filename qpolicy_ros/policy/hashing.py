"""The two hashes of a policy file, and the canonical forms they are taken over.

Canonical JSON: keys sorted, no white space, ``ensure_ascii``, floats as Python's shortest
``repr``, NaN and infinities refused.

A tensor is fed to SHA-256 as canonical JSON of ``[name, dtype, shape]`` (dtype in safetensors'
spelling: ``F32``, ``I8``, ``I32``), a line feed, then its little-endian bytes in C order; tensors
go in the order of their names.

``function_hash``: the line ``qpolicy-function-1``, canonical JSON of the bit-widths
(``{"core":..,"input":..,"output":..}`` or ``null``), of the contract (names, sources, limits,
safe action, period, task, env_id) and, where there are any, of the baseline's steps, each followed
by a line feed, then the tensors ``integer.*`` and ``baseline.*``. It names what the policy
computes.

``file_hash``: the line ``qpolicy-file-1``, the hexadecimal ``function_hash``, canonical JSON of
the whole metadata without its two hash fields, each followed by a line feed, then the tensors
``golden.*``. It names the file's content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

DTYPE_NAMES = {"float32": "F32", "int8": "I8", "int32": "I32"}
HASH_FIELDS = ("function_hash", "file_hash")


def canonical_json(value: object) -> str:
    """Return ``value`` as canonical JSON.

    Raises:
        ValueError: NaN or an infinity.
        TypeError: not JSON-able.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def function_hash(metadata: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256, 64 hex digits, over what the policy computes; see the module's text."""
    digest = hashlib.sha256(b"qpolicy-function-1\n")
    for key in ("bits", "contract", "steps"):
        if key in metadata:  # files before version 3 have no steps
            digest.update(canonical_json(metadata[key]).encode() + b"\n")
    _feed(digest, {name: t for name, t in tensors.items() if not name.startswith("golden.")})
    return digest.hexdigest()


def file_hash(metadata: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256, 64 hex digits, over everything in the file; see the module's text."""
    digest = hashlib.sha256(b"qpolicy-file-1\n")
    digest.update(function_hash(metadata, tensors).encode() + b"\n")
    rest = {key: value for key, value in metadata.items() if key not in HASH_FIELDS}
    digest.update(canonical_json(rest).encode() + b"\n")
    _feed(digest, {name: t for name, t in tensors.items() if name.startswith("golden.")})
    return digest.hexdigest()


def _feed(digest: hashlib._Hash, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    for name in sorted(tensors):
        tensor = tensors[name]
        head = [name, DTYPE_NAMES[tensor.dtype.name], list(tensor.shape)]
        little = np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<"))
        digest.update(canonical_json(head).encode() + b"\n" + little.tobytes())
