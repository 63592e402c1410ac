"""The generated Verilog of a layer, read back: what the proofs start from is the text itself.

Only the regular lines that the generator writes are understood; anything else in their place is an
error, never skipped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qpolicy_fpga.manifest import LayerEntry
from qpolicy_ros.policy import PolicyError

_MODULE = re.compile(r"^module (\w+) \((.*?)^\);\n(.*?)^endmodule", re.MULTILINE | re.DOTALL)
_LUT = re.compile(
    r"qpolicy_lut #\(\.K\((\d+)\), \.TABLE\(64'h([0-9a-f]+)\)\) \w+ \(\.a\(\{([^}]*)\}\), "
    r"\.y\((\w+)\)\);"
)
_STAGE = re.compile(r"^        (r\d+) <= \{([^}]*)\};", re.MULTILINE)
_SUM = re.compile(
    r"^    assign sum\[(\d+):(\d+)\] = \{([^}]*)\}(?: \+ \{([^}]*)\})?;", re.MULTILINE
)
_WORD = re.compile(r"(\d+)'d(\d+): block(\d+) <= \d+'h([0-9a-f]+);")


@dataclass(frozen=True)
class Lut:
    """One look-up table: ``table`` addressed by ``inputs``, the lowest address bit first."""

    inputs: tuple[str, ...]
    table: int


@dataclass(frozen=True)
class TreeText:
    """One tree as text and as look-up tables.

    Attributes:
        name: of the module.
        text: its source.
        luts: by the name of the bit that each drives, in order.
        aliases: registered bits by name, with the bit that each holds.
        rows: ``(lowest bit, bits, further bits)``: addends of ``sum``, one row or two to be added.
        width: bits of ``sum``.
        total: bits of what the tail looks at.
        source: what the tail looks at: ``sum``, ``sum_<k>``, ``next`` or ``held``.
        held: bits of the accumulator's register, 0 where there is none.
        step: what the accumulator adds, ``sum`` or its last register.
    """

    name: str
    text: str
    luts: Mapping[str, Lut]
    aliases: Mapping[str, str]
    rows: tuple[tuple[int, tuple[str, ...], tuple[str, ...]], ...]
    width: int
    total: int
    source: str
    held: int
    step: str


@dataclass(frozen=True)
class LayerText:
    """A layer's file read back.

    Attributes:
        name: of the layer's own module.
        trees: in order.
        words: weights in block RAM by address, empty where they are in the look-up tables.
        form: the layer's entry in the manifest.
    """

    name: str
    file: Path
    trees: tuple[TreeText, ...]
    words: Mapping[int, int]
    form: LayerEntry
    modules: Mapping[str, str] = field(repr=False)


def read_layer(folder: Path, index: int, form: LayerEntry) -> LayerText:
    """Read layer ``index`` of a generated folder.

    Raises:
        PolicyError: the file does not look like the generator's.
    """
    file = folder / f"qpolicy_layer{index}.v"
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise _odd(file, "file", f"cannot be read: {error.strerror}") from error
    modules = {found[1]: found[0] for found in _MODULE.finditer(text)}
    name = f"qpolicy_layer{index}"
    trees = []
    for place in range(form.trees):
        module = f"{name}_tree{place}"
        if module not in modules:
            raise _odd(file, module, "is missing")
        read = _lookup if form.tail == "lookup" else _tree
        trees.append(read(file, module, modules[module]))
    words = _words(file, modules.get(f"{name}_weights", ""))
    return LayerText(name, file, tuple(trees), words, form, modules)


def _lookup(file: Path, name: str, text: str) -> TreeText:
    """A neuron without a sum."""
    if re.search(r"\breg\b", text):
        raise _odd(file, name, "has a register, but its code is looked up by the input codes")
    return TreeText(name, text, {}, {}, (), 0, 0, "", 0, "")


def _tree(file: Path, name: str, text: str) -> TreeText:
    luts = {
        found[4]: Lut(_bits(found[3]), int(found[2], 16) & ((1 << (1 << int(found[1]))) - 1))
        for found in _LUT.finditer(text)
    }
    if len(luts) != text.count("qpolicy_lut"):
        raise _odd(file, name, "has look-up tables of an unknown form")
    aliases = {}
    for found in _STAGE.finditer(text):
        if len(_bits(found[2])) != _width(text, "reg", found[1]):
            raise _odd(file, name, f"has a register {found[1]} of another width than it is given")
        for place, bit in enumerate(_bits(found[2])):
            aliases[f"{found[1]}[{place}]"] = bit
    rows = tuple(
        (int(found[2]), _bits(found[3]), _bits(found[4] or ""))
        for found in sorted(_SUM.finditer(text), key=lambda found: int(found[2]))
    )
    width = _width(text, "wire", "sum")
    if not rows or sum(len(row[1]) for row in rows) != width:
        raise _odd(file, name, "has no sum of the known form")
    held = _width(text, "reg", "held")
    total = _width(text, "wire", "next") if held else width
    padded = re.findall(r"reg \[\d+:0\] (sum_\d+);", text)
    source = step = padded[-1] if padded else "sum"
    if held:
        behind = text.partition("if (add) held <= next;")[2]
        shown = held == total and (not behind or re.search(r"\bheld\b", behind))
        source = "held" if shown else "next"
    return TreeText(
        name=name,
        text=text,
        luts=luts,
        aliases=aliases,
        rows=rows,
        width=width,
        total=total,
        source=source,
        held=held,
        step=step,
    )


def _width(text: str, kind: str, name: str) -> int:
    found = re.search(rf"\b{kind} \[(\d+):0\] {name}(?:;| =)", text)
    return int(found[1]) + 1 if found else 0


def _bits(text: str) -> tuple[str, ...]:
    """The bits of a concatenation, lowest first."""
    return tuple(reversed([bit.strip() for bit in text.split(",")])) if text.strip() else ()


def _words(file: Path, text: str) -> dict[int, int]:
    """Words by address, put together from the blocks as ``word`` is."""
    places = re.findall(r"word\[(\d+):(\d+)\] <= (block\d+);", text)
    lows = {block: int(low) for _, low, block in places}
    words: dict[int, int] = {}
    entries = _WORD.findall(text)
    if len(entries) != text.count("'h") - text.count("default:"):
        raise _odd(file, "weights", "have entries of an unknown form")
    if len({entry[1:3] for entry in entries}) != len(entries):
        # Of two the first one counts; put together, the second might hide that it is wrong.
        raise _odd(file, "weights", "have an address twice")
    if not {f"block{entry[2]}" for entry in entries} <= set(lows):
        raise _odd(file, "weights", "have a block that is not in the word as it stands")
    widths = {(block, int(high) + 1 - int(low)) for high, low, block in places}
    if widths != {(block, _width(text, "reg", block)) for block in lows}:
        raise _odd(file, "weights", "have a block of another width than its place in the word")
    for _, address, block, value in entries:
        at = int(address)
        words[at] = words.get(at, 0) | int(value, 16) << lows[f"block{block}"]
    return words


def _odd(file: Path, field_: str, wrong: str) -> PolicyError:
    remedy = "give a folder that this version's `qpolicy fpga generate` wrote"
    return PolicyError.at(file, field_, wrong, remedy)
