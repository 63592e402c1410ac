"""Mutations that keep a file's outer form, so that what is inside is reached and damaged too."""

from __future__ import annotations

import json
import random
from typing import Any

from qpolicy_ros.policy import hashing
from qpolicy_ros.verify import certificate

HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 8, 9, 255, 65536, 2**31, 2**63, 10**400, 0.5, -0.0),
    *(1e-320, 1e308, 1e39, "", "0", "a" * 400, "\n\x1b[2J", "\ud800", "../../etc/x.v", "x; exec"),
    *([], {}, [[]], [1] * 64, [[[[[[]]]]]], {"a": {"b": {}}}),
)
DEEP = 400


def mutate(kind: str, data: bytes, seed: int) -> bytes | None:
    """Return ``data`` changed inside its form; None where it has none.

    Args:
        kind: ``safetensors``, ``json``, ``lines`` (of JSON), ``certificate`` or ``bytes``.
        data: the input.
        seed: of the change.
    """
    rng = random.Random(seed)
    try:
        if kind == "json":
            return _dump(_change(json.loads(data), rng))
        if kind == "certificate":  # the hash made right again: the checks behind are reached
            return _dump(certificate.seal(_change(json.loads(data), rng)))
        if kind == "lines":
            lines = data.splitlines()
            at = rng.randrange(len(lines))
            return b"\n".join(
                [*lines[:at], _dump(_change(json.loads(lines[at]), rng)), *lines[at + 1 :]]
            )
        if kind == "safetensors":
            return _mutate_safetensors(data, rng)
    except (ValueError, LookupError, TypeError, RecursionError, AttributeError, OverflowError):
        return None
    return None


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()


def _mutate_safetensors(data: bytes, rng: random.Random) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), bytearray(data[8 + length :])
    metadata = header["__metadata__"]
    key = rng.choice(sorted(metadata) or [""])
    what = rng.randrange(4)
    if what == 0:
        metadata[key] = _dump(_change(json.loads(metadata[key]), rng)).decode()
    elif what == 1:
        header = _change(header, rng)
    elif body:
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(body))
            body[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    if what == 3 and key == "qpolicy":
        metadata[key] = _rehash(metadata[key], header, bytes(body))
    text = _dump(header)
    return len(text).to_bytes(8, "little") + text + bytes(body)


def _rehash(text: str, header: dict[str, Any], body: bytes) -> str:
    """Make the hashes fit, as a careful forger would, so that the checks behind are reached."""
    import numpy as np  # noqa: PLC0415

    types = {name: np.dtype(dtype) for dtype, name in hashing.DTYPE_NAMES.items()}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            values = np.frombuffer(body[begin:end], types[entry["dtype"]])
            tensors[name] = values.reshape(entry["shape"])
    metadata = json.loads(text)
    metadata["function_hash"] = hashing.function_hash(metadata, tensors)
    metadata["file_hash"] = hashing.file_hash(metadata, tensors)
    return json.dumps(metadata)


def _change(value: Any, rng: random.Random) -> Any:  # noqa: PLR0911
    """Replace, remove, repeat or wrap one part of a JSON value."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        changed = dict(value)
        if rng.random() < 0.1:
            del changed[key]
        elif rng.random() < 0.05:
            changed[str(rng.choice(HOSTILE))] = value[key]
        else:
            changed[key] = _change(value[key], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        what = rng.randrange(8)
        if what == 0:
            return value[:at] + value[at + 1 :]
        if what == 1:
            return value[: at + 1] * 2 + value[at + 1 :]
        return [*value[:at], _change(value[at], rng), *value[at + 1 :]]
    if rng.random() < 0.02:
        for _ in range(DEEP):
            value = [value] if rng.random() < 0.5 else {"a": value}
        return value
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.5:
        return value + rng.choice((-1, 1, 2))
    return rng.choice(HOSTILE)
