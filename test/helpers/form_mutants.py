"""Single faults planted into every form of layer, each shown to what `qpolicy verify` runs for it.

A fault in what a layer computes is part 3's to find. One in when it computes it (registers,
counters, the order in which words come together) the proofs look through: part 4 has to find it.
"""

from __future__ import annotations

import re
import shutil
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from layer_forms import write_toy
from mutants import simulation_finds
from same_layer import same_layer

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.verify import bounds, formal
from qpolicy_ros.verify.chain import QUICK_FRAMES, VERILATOR_FRAMES, Chain
from qpolicy_ros.verify.journal import Journal
from qpolicy_ros.verify.layer_text import read_layer


class FormMutant(NamedTuple):
    """One planted fault: where, and which part found it (empty if none did)."""

    form: str
    kind: str
    place: str
    by: str
    equivalent: bool = False
    """Whether it is proven that no output changes; asked only if it is not found."""

    @property
    def found(self):
        return bool(self.by)


class Fault(NamedTuple):
    """A change to the group ``x`` of one match of a pattern in a region of a layer's file.

    Regions: ``weights`` and ``layer`` are modules; ``tree`` and ``tail`` are a tree's module up to
    its sum and behind it (a neuron without a sum is a tail). ``change`` takes the match and a
    generator.
    """

    kind: str
    region: str
    pattern: str
    change: Any


def _bit(match, rng):
    """A flipped bit of a table that has 2^k, or of a word."""
    size = 1 << int(match["k"]) if "k" in match.groupdict() else int(match["n"])
    return f"{int(match['x'], 16) ^ 1 << int(rng.integers(size)):0{len(match['x'])}x}"


def _near(match, rng):
    """A number one above or below."""
    return str(max(0, int(match["x"]) + int(rng.choice([-1, 1]))) or 1)


def _next_to(match, _):
    """The index before, so that it stays one; the second for the first."""
    return str(int(match["x"]) - 1 if int(match["x"]) else 1)


def _flip(match, rng):
    """A number with a flipped bit, of those it has."""
    return str(int(match["x"]) ^ 1 << int(rng.integers(max(1, int(match["x"]).bit_length()))))


def _operator(match, _):
    return {"&": "|", "|": "&", ">=": ">", "+": "-"}[match["x"]]


def _invert(match, _):
    return match["x"][1:] if match["x"].startswith("~") else f"~{match['x']}"


def _one_place(match, _):
    """A slice one place lower."""
    return f"{int(match['h']) - 1}:{int(match['l']) - 1}"


def _swapped(match, _):
    return match["b"] + match["m"] + match["a"]


def _other(text):
    return lambda *_: text


_TABLE = r"\.K\((?P<k>\d+)\), \.TABLE\(64'h(?P<x>[0-9a-f]+)\)"
_NUMBER = r"\d+'d(?P<x>\d+)"

# What a layer computes: part 3.
COMPUTED = (
    Fault("weight word", "weights", r"'d\d+: block\d+ <= (?P<n>\d+)'h(?P<x>[0-9a-f]+)", _bit),
    Fault("weight word's address", "weights", rf"{_NUMBER}: block", _flip),
    Fault("adder: table", "tree", _TABLE, _bit),
    Fault("adder: input", "tree", r"\.a\(\{(?P<x>~?[\w\[\]]+)[,}]", _invert),
    Fault("adder: register", "tree", r"r\d+ <= \{(?P<x>~?[\w\[\]]+)[,}]", _invert),
    Fault("accumulator: start", "tail", r"next = \((?P<x>first) \?", _invert),
    Fault("accumulator: sum", "tail", r"next = \(first[^\n]*\) (?P<x>\+) ", _operator),
    Fault(
        "accumulator: shift",
        "tail",
        r"held\[\d+:0\], (?P<x>\d+'d0)\}\)",
        lambda match, _: f"{{{match['x'].partition(chr(39))[0]}{{1'b1}}}}",
    ),
    Fault("thresholds of a phase", "tail", rf"'d\d+: bound\d+ = {_NUMBER}", _near),
    Fault("comparator", "tail", r"(?:reached\[\d+\]|hit\d+) = .* (?P<x>>=) ", _operator),
    Fault("comparator", "tail", r"reached\[\d+\] = [^;>\n]*?(?P<x>[&|])", _operator),
    Fault("count", "tail", r"code\[\d+\] = [^;\n]*?(?P<x>[&|])", _operator),
    Fault("table: entry", "tail", rf"'d\d+: entry <?= {_NUMBER}", _flip),
    Fault(
        "table: address",
        "tail",
        r"address = (?P<x>[^;\n]+);",
        lambda match, _: f"{match['x']} ^ 1",
    ),
    Fault("search: thresholds", "tail", _TABLE, _bit),
    Fault("search: address", "tail", r"\.a\(\{[^}]*?(?P<x>(?:found|phase)\d+\[\d+\])", _invert),
    Fault("search: address", "tail", r"\.a\(\{[^}]*?(?P<x>tail_phase\[\d+\])", _invert),
    Fault("search: choice", "tail", r"\? (?P<x>(?P<a>above\d)(?P<m> : )(?P<b>below\d))", _swapped),
    Fault("search: answer", "tail", r"found\d+ <= \{[^}]*?(?P<x>hit\d+)\}", _invert),
    Fault("search: code", "tail", r"code = \{[^}]*?(?P<x>hit\d+)\}", _invert),
    Fault("scale: factor", "tail", rf"factor = {_NUMBER};", _flip),
    Fault("scale: offset", "tail", rf"product(?:\}}|\[\d+:0\]) \+ {_NUMBER};", _flip),
    Fault("scale: shift", "tail", r"scaled\[(?P<x>(?P<h>\d+):(?P<l>\d+))\]\}? \^", _one_place),
    Fault("scale: clip", "tail", r"over = (?P<x>\|scaled\[[^;]*);", _other("1'b0")),
    Fault("scale: clip", "tail", r"under = (?P<x>scaled\[\d+\]);", _other("1'b0")),
    Fault("planes: code", "layer", r"codes\[(?P<x>\d+)\]", _next_to),
    Fault("planes: choice", "layer", _TABLE, _bit),
)
# When it computes it: part 4.
_PLAIN = r"(?P<x>always @\(posedge clk\) (?P<to>(?!\w+_before)\w+) <= (?P<what>[^;\n]+));"


def _without_register(match, _):
    return f"always @* {match['to']} = {match['what']}"


TIMED = (
    Fault(
        "register: phase",
        "tree",
        r"(?P<x>qpolicy_copy #\(\.WIDTH\(\d+\)\) \w+ \(\.clk\(clk\), "
        r"\.d\((?P<what>\w*phase_next)\), \.q\((?P<to>\w+)\)\));",
        lambda match, _: f"assign {match['to']} = {match['what']}",
    ),
    Fault("register: sum", "tail", _PLAIN.replace(r"\w+_before", "held"), _without_register),
    Fault(
        "register: strobes",
        "layer",
        _PLAIN.replace(r"(?!\w+_before)\w+", r"(?:ready|first|add|write|plane_read)_\d+"),
        _without_register,
    ),
    Fault("register: weights", "weights", r"<= (?P<x>block\d+);", _invert),
    Fault("accumulator: register", "tail", r"held <= (?P<x>next)\b", _other("held")),
    Fault("accumulator: enable", "tail", r"if \((?P<x>add)\)", _invert),
    Fault("counter: end", "layer", rf"(?:phase|part|plane) == {_NUMBER}", _flip),
    Fault(  # but for a bit's: it counts the same either way
        "counter: step",
        "layer",
        r"(?:phase|part|plane|step) (?P<x>\+) (?!1')\d+'d1",
        _operator,
    ),
    Fault(
        "weights: in turn", "layer", r"whole = \{(?P<x>(?P<a>word)(?P<m>, )(?P<b>part0))", _swapped
    ),
    Fault("weights: of a tree", "layer", r"weights\[(?P<x>\d+) \+:", _next_to),
    # A wide register has copies of its enable.
    Fault(
        "weights: when whole",
        "layer",
        r"(?:all_enable\d+_copy [^\n]*\.d\(|last_part <= (?=[^\n]*\n[^\n]*last_part\)))"
        rf"\w+ == {_NUMBER}",
        _flip,
    ),
    Fault(
        "codes: of a tree",
        "layer",
        r"code\[(?P<x>(?P<a>\d+)(?P<m> [^\n]*\n[^\n]*code\[)(?P<b>\d+))",
        _swapped,
    ),
    Fault(
        "codes: bank",
        "layer",
        r"shifted = \{(?P<x>(?P<a>code)(?P<m>, )(?P<b>bank\[\d+:\d+\]))",
        _swapped,
    ),
    Fault("codes: bank", "layer", r"shifted = (?P<x>code);", _other("bank")),
)
# Where a bit is cut off: the reader of the Verilog refuses it.
CUT = (
    Fault("adder: width", "tree", r"reg \[(?P<x>\d+):0\] r\d+;", _next_to),
    Fault("weight word's width", "weights", r"reg \[(?P<x>\d+):0\] block\d+;", _next_to),
)
FAULTS = COMPUTED + TIMED + CUT
KINDS = frozenset(fault.kind for fault in FAULTS)


def regions(text):
    """Regions of a layer's file: ``(kind, start, end)``."""
    found = []
    for match in re.finditer(r"^module (\w+) .*?^endmodule", text, re.MULTILINE | re.DOTALL):
        if re.search(r"_tree\d+$", match[1]):
            middle = text.rfind("assign sum[", match.start(), match.end())
            middle = match.start() if middle < 0 else text.index("\n", middle)
            found += [("tree", match.start(), middle), ("tail", middle, match.end())]
        else:
            kind = "weights" if match[1].endswith("_weights") else "layer"
            found.append((kind, match.start(), match.end()))
    return found


def _sites(text, fault):
    return [
        match
        for kind, start, end in regions(text)
        if kind == fault.region
        for match in re.compile(fault.pattern).finditer(text, start, end)
    ]


def form_of(entry):
    """A layer of a manifest in words."""
    fold = "folded" if entry.fold > 1 else "unrolled"
    weights = "block RAM" if entry.weights == "ram" else "LUTs"
    return f"{entry.tail}, {fold}, weights in {weights}"


def draw(name, good, manifest):
    """Yield ``(layer, fault, place, file's text)``: each kind of fault that a layer can have."""
    for index in range(len(manifest.layers)):
        text = (good / f"qpolicy_layer{index}.v").read_text()
        for number, fault in enumerate(FAULTS):
            sites = _sites(text, fault)
            if not sites:
                continue
            rng = np.random.default_rng([zlib.crc32(name.encode()), index, number])
            match = sites[int(rng.integers(len(sites)))]
            new = fault.change(match, rng)
            line = text.count("\n", 0, match.start("x")) + 1
            old, short = (" ".join(each.split())[:70] for each in (match["x"], new))
            place = f"{name}: layer {index}, line {line}: {old} -> {short}"
            yield index, fault, place, text[: match.start("x")] + new + text[match.end("x") :]


def form_mutants(name, folder, kinds=KINDS):
    """Plant the faults of a toy; the same ones every time.

    Args:
        name: of ``layer_forms.TOYS``.
        folder: for their files.
        kinds: of faults.
    """
    good = folder / "good"
    artifact, manifest = write_toy(good, name)
    drawn = [each for each in draw(name, good, manifest) if each[1].kind in kinds]
    by, groups = {}, []
    for at, (index, _, _, text) in enumerate(drawn):
        mutant = folder / f"mutant{at}"
        shutil.copytree(good, mutant)
        (mutant / f"qpolicy_layer{index}.v").write_text(text)
        by[at], jobs = _read(artifact.network, good, mutant, manifest, index)
        for job in jobs:
            miters = [(proof._replace(label=str(at)), miter) for proof, miter in job["miters"]]
            groups.append({**job, "miters": miters})
    for proof, outcome in formal.prove(groups, lambda _: None).items():
        at = int(proof.label)
        if outcome != "proved":
            by[at] = by[at] or "part 3, SAT"
    for at, (index, fault, place, _) in enumerate(drawn):
        mutant, same = folder / f"mutant{at}", False
        if not by[at] and fault in COMPUTED:
            same = same_layer(artifact.network, good, mutant, manifest, index)
        if not by[at] and not same:
            by[at] = _simulated(artifact, mutant, manifest)
        yield FormMutant(form_of(manifest.layers[index]), fault.kind, place, by[at], same)
        shutil.rmtree(mutant)


def table(planted):
    """The counts of each form and what found them, as a table of Markdown."""
    rows = [
        "| layer | planted | by the proofs | by simulation | refused | proven to change nothing |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    forms = sorted({mutant.form for mutant in planted})
    for form in [*forms, "**all**"]:
        chosen = [mutant for mutant in planted if form in (mutant.form, "**all**")]
        starts = (("part 1", "part 3"), "part 4", "refused")
        counts = [sum(mutant.by.startswith(start) for mutant in chosen) for start in starts]
        counts = [len(chosen), *counts, sum(mutant.equivalent for mutant in chosen)]
        rows.append(" | ".join([f"| {form}", *(str(count or "") for count in counts)]) + " |")
    return "\n".join(rows)


def _read(network, good, mutant, manifest, index):
    """What finds a fault before SAT, and the proofs of what differs from the good layer."""
    entry = manifest.layers[index]
    try:
        layer = formal.FormalLayer(network, mutant, manifest, index)
    except InputError:
        return "refused", []
    texts = [read_layer(good, at, form) for at, form in enumerate(manifest.layers)]
    texts[index] = layer.text
    if not bounds.check_bounds(network, texts, manifest.layers).passed:
        return "part 1", []
    if not layer.lookup and not layer.dots().passed:
        return "part 3, rewriting", []
    jobs = []
    for folder in (good, mutant):
        scratch = folder / f"scratch{index}"
        scratch.mkdir(exist_ok=True)
        made = formal.FormalLayer(network, folder, manifest, index).jobs(scratch, whole=False)
        jobs.append([(_contents(job), job) for job in made])
    # A layer that differs nowhere in its trees and planes has been proven as the good one.
    known = [content for content, _ in jobs[0]]
    assert len(jobs[1]) >= entry.trees
    return "", [job for content, job in jobs[1] if content not in known]


def _contents(job):
    texts = [Path(file).read_text() for file in job["files"]]
    return texts, {**job, "files": []}


def _simulated(artifact, mutant, manifest):
    """Part 4: the lanes of a quick verification, and Verilator beside them in a full one."""
    chain = Chain(artifact, artifact.golden.observations, Journal("", "mutant", ""))
    for frames, lanes in ((QUICK_FRAMES, True), (VERILATOR_FRAMES, False)):
        if simulation_finds(chain, mutant, manifest, frames, lanes=lanes):
            return f"part 4, {'lanes' if lanes else 'Verilator'}"
    return ""
