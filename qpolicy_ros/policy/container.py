"""Reading a safetensors file that may be hostile: every size is checked before memory is taken."""

from __future__ import annotations

import io
import json
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy.typing as npt
import safetensors
import safetensors.numpy

from qpolicy_ros.common.errors import PolicyError
from qpolicy_ros.policy.hashing import DTYPE_NAMES

METADATA_KEY = "qpolicy"
MAX_FILE_BYTES = 256 << 20
MAX_HEADER_BYTES = 16 << 20
MAX_TENSORS = 128
MAX_DIMENSION = 1 << 16

_LENGTH_BYTES = 8
_ITEM_BYTES = {"F32": 4, "I8": 1, "I32": 4}
_RESTORE = "restore it from its source"
_FOREIGN = "give a policy file made by `qpolicy export`"


def read_container(
    file: Path, check: Callable[[bytes], None] | None = None
) -> tuple[str, dict[str, npt.NDArray[Any]]]:
    """Return the metadata text and the tensors by name.

    Args:
        file: to be read.
        check: gets all bytes before one of them is parsed; what it raises goes on.

    Raises:
        PolicyError: no such file, a folder, empty, too large, truncated, not safetensors, or
            safetensors without a policy's metadata.
    """
    try:
        size = _regular_size(file)
        with file.open("rb") as opened:
            stream: BinaryIO = opened
            if check is not None:
                checked = opened.read(size)
                check(checked)
                stream = io.BytesIO(checked)
            header = _header(stream, size, file)
            text = _metadata_text(header, file)
            _check_entries(header, size, stream.tell(), file)
            stream.seek(0)
            content = stream.read(size)
    except OSError as error:
        raise PolicyError.at(
            file, "file", f"cannot be read: {error.strerror or error}", "check path and permission"
        ) from error
    try:
        return text, safetensors.numpy.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise PolicyError.at(file, "file", f"damaged: {error}", _RESTORE) from error


def _regular_size(file: Path) -> int:
    """Size in bytes; looked up before opening, since opening a pipe would block."""
    try:
        status = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        remedy = "check the path, or train and export one"
        raise PolicyError.at(file, "file", "does not exist", remedy) from None
    except ValueError as error:  # a path with a zero byte
        raise PolicyError.at(repr(str(file)), "file", str(error), "check the path") from None
    if stat.S_ISDIR(status.st_mode):
        raise PolicyError.at(file, "file", "is a folder", "give the .safetensors file in it")
    if not stat.S_ISREG(status.st_mode):
        raise PolicyError.at(file, "file", "is not a regular file", _FOREIGN)
    if status.st_size == 0:
        raise PolicyError.at(file, "file", "is empty", _RESTORE)
    if status.st_size > MAX_FILE_BYTES:
        wrong = f"{status.st_size} bytes, at most {MAX_FILE_BYTES} are read"
        raise PolicyError.at(file, "file", wrong, _FOREIGN)
    return status.st_size


def _header(stream: BinaryIO, size: int, file: Path) -> Mapping[str, Any]:
    length_bytes = stream.read(_LENGTH_BYTES)
    length = int.from_bytes(length_bytes, "little")
    if len(length_bytes) < _LENGTH_BYTES:
        raise PolicyError.at(file, "file", f"is not a safetensors file, {size} bytes", _FOREIGN)
    opening = stream.read(1)
    if opening != b"{" or length > MAX_HEADER_BYTES:
        raise PolicyError.at(file, "file", "is not a safetensors file", _FOREIGN)
    if length > size - _LENGTH_BYTES:
        wrong = f"truncated, {size} bytes where the header alone has {length}"
        raise PolicyError.at(file, "file", wrong, _RESTORE)
    try:
        header = json.loads(opening + stream.read(length - 1))
    except (ValueError, RecursionError) as error:
        raise PolicyError.at(file, "header", f"damaged: {error}", _RESTORE) from error
    if not isinstance(header, dict):
        raise PolicyError.at(file, "header", "is not an object", _FOREIGN)
    return header


def _metadata_text(header: Mapping[str, Any], file: Path) -> str:
    metadata = header.get("__metadata__")
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        wrong = f"safetensors without {METADATA_KEY!r} metadata, so not a policy"
        raise PolicyError.at(file, "metadata", wrong, _FOREIGN)
    return text


def _check_entries(header: Mapping[str, Any], size: int, start: int, file: Path) -> None:
    """Tensors must have known types and bounded shapes and fill the rest of the file exactly."""
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if len(entries) > MAX_TENSORS:
        wrong = f"{len(entries)} tensors, at most {MAX_TENSORS}"
        raise PolicyError.at(file, "header", wrong, _FOREIGN)
    end = start
    for name, entry in entries.items():
        try:
            dtype, shape, (begin, finish) = entry["dtype"], entry["shape"], entry["data_offsets"]
            numbers = [*shape, begin, finish]
        except (TypeError, KeyError, ValueError):
            wrong = "damaged header entry"
            raise PolicyError.at(file, f"{name:.80}", wrong, _RESTORE) from None
        if dtype not in DTYPE_NAMES.values():
            wrong = f"dtype {dtype!r:.20}, a policy has {', '.join(sorted(_ITEM_BYTES))}"
            raise PolicyError.at(file, f"{name:.80}", wrong, _FOREIGN)
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise PolicyError.at(file, f"{name:.80}", "damaged header entry", _RESTORE)
        count = _ITEM_BYTES[dtype]
        for dimension in shape:
            count *= dimension
        if len(shape) > 2 or any(d > MAX_DIMENSION for d in shape):
            wrong = f"shape {shape!r:.60}, at most 2 axes of {MAX_DIMENSION}"
            raise PolicyError.at(file, f"{name:.80}", wrong, _FOREIGN)
        if finish - begin != count:
            wrong = f"{finish - begin} bytes for shape {shape}, expected {count}"
            raise PolicyError.at(file, f"{name:.80}", wrong, _RESTORE)
        end = max(end, start + finish)
    if end != size:
        wrong = "truncated" if end > size else "has extra bytes"
        raise PolicyError.at(file, "file", f"{wrong}: {size} bytes, expected {end}", _RESTORE)
