"""Reading the manifest of a generated folder, which may be damaged or come from a stranger."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from qpolicy_fpga.folder import MANIFEST
from qpolicy_fpga.plan.devices import PARTS
from qpolicy_fpga.plan.layer import BUS_BITS
from qpolicy_ros.common.json_files import read_json
from qpolicy_ros.policy import PolicyError
from qpolicy_ros.policy.model import MAX_BITS, MIN_BITS

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 4 << 20
MAX_COUNT = 10_000_000
_COUNTS = ("n", "m", "beats", "cycles", "initiation_interval")
_BITS = ("b_in", "b_core", "b_out")
_IO_COUNTS = ("beats", "words_per_beat", "cycles", "initiation_interval")
_LAYER_COUNTS = ("inputs", "neurons", "fold", "planes", "parts", "trees", "cycles")
# These go into a script of Yosys and into paths, so nothing but a plain name may pass.
_TOP = "[A-Za-z_][A-Za-z0-9_]{0,80}"
_TEXTS = {"function_hash": "[0-9a-f]{64}", "task": ".{1,200}", "top": _TOP}
_FILE = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}"
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
    except OSError as error:
        raise PolicyError.at(path, "manifest", f"cannot be read: {error}", _REMEDY) from error
    manifest = read_json(path, "manifest", MAX_BYTES, _REMEDY)
    if not isinstance(manifest, dict):
        raise PolicyError.at(path, "manifest", "is not one of a generated core", _REMEDY)
    _check(path, "", manifest, _rules(manifest))
    if "io" in manifest:
        _check(path, "io.", manifest["io"], _io_rules(manifest["io"]))
    return manifest


def _check(path: Path, prefix: str, fields: dict[str, Any], rules: dict[str, bool]) -> None:
    """Raise PolicyError where a field is missing or its rule is broken."""
    for field, good in rules.items():
        if field not in fields:
            raise PolicyError.at(path, prefix + field, "is missing", _REMEDY)
        if not good:
            wrong = f"{fields[field]!r:.80} is not one of a generated core"
            raise PolicyError.at(path, prefix + field, wrong, _REMEDY)


def _rules(manifest: dict[str, Any]) -> dict[str, bool]:
    """Whether each field that is needed is as ``generate`` writes it."""
    get = manifest.get
    per_beat = get("codes_per_beat")
    layers, clock, part, pareto = get("layers"), get("clock_mhz"), get("part"), get("pareto")
    rules = {name: _is_count(get(name)) for name in _COUNTS}
    rules |= {name: _is_text(get(name), pattern) for name, pattern in _TEXTS.items()}
    for name in _BITS:
        rules[name] = _is_count(get(name)) and MIN_BITS <= manifest[name] <= MAX_BITS
    rules["codes_per_beat"] = _is_count(per_beat) and (
        not rules["b_in"] or per_beat * manifest["b_in"] <= BUS_BITS
    )
    if rules["n"] and rules["codes_per_beat"]:
        rules["beats"] = get("beats") == -(-manifest["n"] // per_beat)
    rules["part"] = isinstance(part, str) and part in PARTS
    rules["files"] = _are_files(get("files"))
    rules["clock_mhz"] = isinstance(clock, (int, float)) and 0 < clock < MAX_COUNT
    rules["layers"] = isinstance(layers, list) and all(map(_is_layer, layers))
    rules["pareto"] = isinstance(pareto, list) and all(
        isinstance(point, dict) and _are_counts(point, "cycles", "lut") for point in pareto
    )
    if "supervisor" in manifest:
        found = manifest["supervisor"]
        named = isinstance(found, dict) and _is_text(found.get("ranges"), "[0-9a-f]{8}")
        rules["supervisor"] = named and int(found["ranges"], 16) > 0
    if "io" in manifest:
        rules["io"] = isinstance(manifest["io"], dict)
    return rules


def _io_rules(io: dict[str, Any]) -> dict[str, bool]:
    """The same for what ``--with-io`` adds, as far as it is used."""
    rules = {name: _is_count(io.get(name)) for name in _IO_COUNTS}
    return {"top": _is_text(io.get("top"), _TOP), "files": _are_files(io.get("files")), **rules}


def _is_layer(layer: object) -> bool:
    if not isinstance(layer, dict):
        return False
    texts = all(_is_text(layer.get(name), ".{1,200}") for name in ("weights", "tail"))
    return texts and _are_counts(layer, *_LAYER_COUNTS)


def _are_counts(fields: dict[str, Any], *names: str) -> bool:
    return all(_is_count(fields.get(name)) for name in names)


def _are_files(value: object) -> bool:
    return isinstance(value, list) and all(_is_text(name, _FILE) for name in value)


def _is_text(value: object, pattern: str) -> bool:
    return (
        isinstance(value, str) and value.isprintable() and re.fullmatch(pattern, value) is not None
    )


def _is_count(value: object) -> bool:
    return type(value) is int and 0 < value <= MAX_COUNT
