"""Reading the manifest of a generated folder, which may be damaged or come from a stranger."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeGuard

from qpolicy_fpga.design import MANIFEST
from qpolicy_ros.policy import PolicyError

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 4 << 20
MAX_COUNT = 10_000_000
_COUNTS = (
    *("n", "m", "b_in", "b_core", "b_out", "codes_per_beat", "beats"),
    *("cycles", "initiation_interval"),
)
_LAYER_COUNTS = ("inputs", "neurons", "fold", "planes", "parts", "trees", "cycles")
# These go into a script of Yosys and into paths, so nothing but a plain name may pass.
_TEXTS = {
    "function_hash": "[0-9a-f]{64}",
    "part": "[a-z0-9-]{1,40}",
    "task": ".{1,200}",
    "top": "[A-Za-z_][A-Za-z0-9_]{0,80}",
}
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}")
_REMEDY = "generate the folder again with `qpolicy fpga generate`"


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a generated folder; every field that is used is checked.

    Raises:
        PolicyError: there is none, or it is not one of a generated core; the text names the field.
    """
    path = folder / MANIFEST
    try:
        if path.exists() and (not path.is_file() or path.stat().st_size > MAX_BYTES):
            wrong = f"is not one of a generated core: no file of at most {MAX_BYTES} bytes"
            raise PolicyError.at(path, "manifest", wrong, _REMEDY)
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PolicyError.at(path, "manifest", "not found", _REMEDY) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError.at(path, "manifest", f"cannot be read: {error}", _REMEDY) from error
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyError.at(path, "manifest", f"cannot be read: {error}", _REMEDY) from error
    if not isinstance(manifest, dict):
        raise PolicyError.at(path, "manifest", "is not one of a generated core", _REMEDY)
    for field, good in _rules(manifest).items():
        if field not in manifest:
            raise PolicyError.at(path, field, "is missing", _REMEDY)
        if not good:
            wrong = f"{manifest[field]!r:.80} is not one of a generated core"
            raise PolicyError.at(path, field, wrong, _REMEDY)
    return manifest


def _rules(manifest: dict[str, Any]) -> dict[str, bool]:
    """Whether each field that is needed is as ``generate`` writes it."""
    get = manifest.get
    files, layers, clock = get("files"), get("layers"), get("clock_mhz")
    rules = {name: _is_count(get(name)) for name in _COUNTS}
    for name, pattern in _TEXTS.items():
        value = get(name)
        rules[name] = _is_text(value) and re.fullmatch(pattern, value) is not None
    rules["files"] = isinstance(files, list) and all(
        isinstance(name, str) and _FILE.fullmatch(name) is not None for name in files
    )
    rules["clock_mhz"] = isinstance(clock, (int, float)) and 0 < clock < MAX_COUNT
    rules["layers"] = isinstance(layers, list) and all(map(_is_layer, layers))
    pareto = get("pareto")
    rules["pareto"] = isinstance(pareto, list) and all(
        isinstance(point, dict) and _are_counts(point, "cycles", "lut") for point in pareto
    )
    return rules


def _is_layer(layer: object) -> bool:
    if not isinstance(layer, dict):
        return False
    texts = all(_is_text(layer.get(name)) for name in ("weights", "tail"))
    return texts and _are_counts(layer, *_LAYER_COUNTS)


def _are_counts(fields: dict[str, Any], *names: str) -> bool:
    return all(_is_count(fields.get(name)) for name in names)


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value.isprintable()


def _is_count(value: object) -> bool:
    return type(value) is int and 0 < value <= MAX_COUNT
