"""What a build left behind: ``board/build.json``, which may be damaged or come from a stranger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qpolicy_fpga.build.boards import BOARDS
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.json_files import is_count, is_number, is_text, read_json

RESULT = "board/build.json"
FORMAT = 1
_MOST_BYTES = 1 << 20
_REMEDY = "build again with `qpolicy fpga build`"
_NUMBERS = ("clock_mhz", "routed_mhz", "latency_ns")
_SHARES = ("logic_ns", "routing_ns")  # of a 7-series part they are not told


def read_result(folder: Path, function_hash: str) -> dict[str, Any] | None:
    """Return what was built in ``folder``; None if nothing was.

    Args:
        folder: what ``generate`` or ``build_bitstream`` wrote.
        function_hash: of the core that lies there now.

    Raises:
        InputError: the file is damaged, or was built from another core.
    """
    file = folder / RESULT
    if not file.exists():
        return None
    content = read_json(file, "build", _MOST_BYTES, _REMEDY)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError.at(file, "build", "is no result of a build", _REMEDY)
    for name, good in _rules(content).items():
        if not good:
            raise InputError.at(file, name, f"{content.get(name)!r:.80}", _REMEDY)
    if content["function_hash"] != function_hash:
        wrong = f"{content['function_hash'][:12]}..., the core beside it is {function_hash[:12]}..."
        raise InputError.at(file, "function_hash", wrong, _REMEDY)
    return content


def _rules(content: dict[str, Any]) -> dict[str, bool]:
    rules = {name: is_number(content.get(name), 0.0) for name in _NUMBERS}
    rules |= {n: content.get(n) is None or is_number(content[n], 0.0) for n in _SHARES}
    rules["board"] = content.get("board") in BOARDS
    rules |= {name: is_text(content.get(name)) for name in ("function_hash", "tool", "versions")}
    rules["meets"] = isinstance(content.get("meets"), bool)
    rules["bitstream"] = content.get("bitstream") is None or _is_inside(content["bitstream"])
    rules["netlist"] = content.get("netlist") is None or _is_inside(content["netlist"])
    for name in ("used", "limits"):
        counts = content.get(name)
        rules[name] = isinstance(counts, dict) and all(map(is_count, counts.values()))
    path = content.get("path")
    rules["path"] = isinstance(path, list) and all(
        isinstance(place, list) and len(place) == 2 and is_text(place[0]) and is_number(place[1])
        for place in path
    )
    return rules


def _is_inside(name: object) -> bool:
    """Whether a name leads to a file of the build's own folder."""
    return is_text(name) and str(name).startswith("board/") and ".." not in str(name).split("/")
