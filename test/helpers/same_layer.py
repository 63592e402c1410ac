"""Whether a fault in a layer changes nothing: what has it beside what has not, by SAT."""

from __future__ import annotations

import re

from qpolicy_ros.verify import formal
from qpolicy_ros.verify.layer_text import read_layer
from qpolicy_ros.verify.specification import specify


def same_layer(network, good, mutant, manifest, index):
    """Whether every tree and the planes give the same, for all inputs in all phases in use.

    Behind a multiplication only sums that can be reached are asked for.
    """
    entry = manifest.layers[index]
    texts = [read_layer(folder, index, entry) for folder in (good, mutant)]
    name, neurons, trees = texts[0].name, entry.neurons, entry.trees
    if texts[0].words != texts[1].words:
        return False
    groups = []
    for place in range(trees):
        pair = [text.trees[place] for text in texts]
        if pair[0].text != pair[1].text:
            used = entry.parts if entry.parts > 1 else -(-(neurons - place) // trees)
            legal = {"phase_next": used, "tail_phase_next": -(-(neurons - place) // trees)}
            if entry.tail == "scale":
                legal[pair[0].source] = int(specify(network, index, entry).highest[place]) + 1
            held = ["held"] if pair[0].held else []
            groups.append(_pair(mutant, pair[0].name, [t.text for t in pair], [], "sum", legal))
            free = sorted({pair[0].source, *held})
            cut = [
                re.sub(r"^    assign sum\[.*$", "", each.text, flags=re.MULTILINE) for each in pair
            ]
            groups.append(_pair(mutant, pair[0].name, cut, free, "code", legal))
            if held:
                free = sorted({pair[0].step, "held"})
                cut = cut if pair[0].step == "sum" else [each.text for each in pair]
                groups.append(_pair(mutant, pair[0].name, cut, free, "next", legal))
    both = [
        re.sub(
            r"^\s+qpolicy_layer\d+_(tree\d+|weights) .*$", "", t.modules[name], flags=re.MULTILINE
        )
        for t in texts
    ]
    if both[0] != both[1]:
        steps = -(-_code_bits(manifest, index) // entry.planes)
        free = formal.choices(texts[0].modules[name]) if steps > 1 else []
        legal = dict.fromkeys(free, steps)
        seen = formal.copies_seen(texts[0].modules[name])
        groups += [_pair(mutant, name, both, free, each, legal) for each in seen]
    outcomes = formal.prove(
        [
            {**g, "miters": [(formal.Proof("pair", at, 0, 1), g["miters"])]}
            for at, g in enumerate(groups)
        ],
        lambda _: None,
    )
    return bool(outcomes) and set(outcomes.values()) == {"proved"}


def _code_bits(manifest, index):
    return manifest.b_core if index else manifest.b_in


def _pair(folder, name, texts, free, shown, legal):
    """A job: wire ``shown`` of two modules is the same where wires ``free`` and all inputs are.

    ``legal``: of inputs and free wires, how many of their values are in use, from 0.
    """
    ports = {
        port: high for high, port in re.findall(r"input +wire (?:\[(\d+):0\] )?(\w+)", texts[0])
    }
    wires = [*free, shown]
    high = {
        wire: re.search(rf"(?:wire|reg|output wire) +\[(\d+):0\] {wire}\b", texts[0])[1]
        for wire in wires
    }
    both = ", ".join(f".{port}({port})" for port in ports)
    inputs = ", ".join(f"input [{bits or 0}:0] {port}" for port, bits in ports.items())
    top = f"module pair({inputs});\n{name} one({both});\n{name}_m two({both});\nendmodule\n"
    file = folder / f"pair_{name}_{shown}.v"
    second = re.sub(rf"\b{name}\b", f"{name}_m", texts[1])
    file.write_text("\n".join([texts[0], second, top]))
    given = "".join(f"input [{high[wire]}:0] {wire}, " for wire in free)
    taken = "".join(f".\\{side}.{wire} ({wire}), " for wire in free for side in ("one", "two"))
    sizes = {**ports, **high}
    unused = [
        f"({wire} >= {int(sizes[wire] or 0) + 2}'d{count})"
        for wire, count in legal.items()
        if wire in ports or wire in free
    ]
    miter = (
        f"module miter({inputs}, {given}output ok);\n"
        f"wire [{high[shown]}:0] first_one, second_one;\n"
        f"pair dut({both}, {taken}.\\one.{shown} (first_one), .\\two.{shown} (second_one));\n"
        f"assign ok = {' | '.join([*unused, '(first_one == second_one)'])};\nendmodule\n"
    )
    return {
        "files": [*(str(folder / name) for name in formal.SHARED_MODULES), str(file)],
        "top": "pair",
        "timeout": 120,
        "free": [f"{side}.{wire}" for wire in free for side in ("one", "two")],
        "shown": [f"{side}.{shown}" for side in ("one", "two")],
        "miters": miter,
    }
