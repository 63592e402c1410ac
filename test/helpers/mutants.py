"""Single faults planted into a policy, the generated Verilog and its wrappers.

Each is shown to what `qpolicy verify` runs for that place; ``found`` says that it fails there.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import shutil
from typing import NamedTuple

import numpy as np
from tiny_policy import forge

from qpolicy_fpga import generate
from qpolicy_fpga.driver.wrapped import open_wrapped
from qpolicy_fpga.wrappers.tops import Sizes, write_wrapper
from qpolicy_ros.backends.base import BackendError
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.policy import load_policy
from qpolicy_ros.verify import formal, neurons
from qpolicy_ros.verify.chain import QUICK_FRAMES, VERILATOR_FRAMES, Chain
from qpolicy_ros.verify.journal import Journal
from qpolicy_ros.verify.observations import random_observations


class Mutant(NamedTuple):
    """One planted fault."""

    kind: str
    place: str
    found: bool
    equivalent: bool = False
    """Whether it is proven that no output changes; asked only if it is not found."""


# The policy's file, its hashes made right again.


def artifact_mutants(policy, folder, count, seed=0):
    """Weights, thresholds, table entries, means and gains, in turn."""
    rng = np.random.default_rng(seed)
    kinds = ("weight", "threshold", "table", "scale")
    for index in range(count):
        copy = folder / f"artifact{index}" / policy.parent.name / policy.name
        shutil.copytree(policy.parent, copy.parent)
        kind = kinds[index % len(kinds)]
        place = _forge(copy, kind, rng)
        checks = neurons.check_torch(load_policy(copy), copy.with_suffix(".qat.safetensors"))
        yield Mutant(f"policy: {kind}", place, not all(check.passed for check in checks))
        shutil.rmtree(copy.parents[1])


class _Place(NamedTuple):
    layer: int
    neuron: int
    column: int
    level: int
    output: int
    code: int
    step: int
    bit: int


def _forge(policy, kind, rng):
    """Change one value to another valid one."""
    network = load_policy(policy).network
    while True:
        layer = int(rng.integers(len(network.weights)))
        sizes = (*network.weights[layer].shape, network.thresholds[layer].shape[1])
        drawn = [int(rng.integers(size)) for size in (*sizes, *network.table.shape)]
        place = _Place(layer, *drawn, int(rng.choice([-1, 1])), int(rng.integers(4, 22)))
        try:
            forge(policy, functools.partial(_change, kind, place))
        except InputError:
            continue  # the loader refuses it: found before anything else; draw another
        return str(place)


def _change(kind, at, arrays):
    if kind == "weight":
        arrays["weights"][at.layer][at.neuron, at.column] += at.step
    elif kind == "threshold":
        row = arrays["thresholds"][at.layer][at.neuron]
        row[at.level] += at.step
        row.sort()
    elif kind == "table":
        arrays["table"].view(np.uint32)[at.output, at.code] ^= np.uint32(1 << at.bit)
    else:
        values = arrays["mean" if at.step > 0 else "gain"]
        column = at.column % values.size
        values[column] = np.nextafter(values[column], np.float32(at.step * np.inf))


def tie_mutants(artifact_of, seeds):
    """An exporter that rounds half up; ``artifact_of`` gives module and FP32 policy by seed."""
    from qpolicy_training.quant.equality import compare_accumulators  # noqa: PLC0415
    from qpolicy_training.quant.export import export_snapped  # noqa: PLC0415
    from qpolicy_training.quant.snapped import snap  # noqa: PLC0415

    for seed in seeds:
        actor, mean, std = artifact_of(seed)
        snapped = snap(actor, mean, std)
        half_up = dataclasses.replace(
            snapped,
            layers=tuple(
                dataclasses.replace(layer, quantiser=_HalfUp(layer)) for layer in snapped.layers
            ),
        )
        ones = np.ones(snapped.spec.actions)
        wrong, right = (export_snapped(each, ones, 0 * ones) for each in (half_up, snapped))
        pairs = zip(wrong.thresholds, right.thresholds, strict=True)
        if all(np.array_equal(a, b) for a, b in pairs):
            continue  # no tie among its accumulators: the same policy
        result = compare_accumulators(wrong, snapped)
        yield Mutant("exporter: tie rule", f"seed {seed}", not result.equal)


class _HalfUp:
    def __init__(self, layer):
        self._range = layer.code_range

    def to_int(self, step, _zero_point, _bits, values):
        return (values / step + 0.5).floor().clamp(*self._range)


# The generated Verilog of the layers: parts 2 and 3.

_LAYER_FAULTS = (
    ("adder table", r"(\.TABLE\(64'h)([0-9a-f]+)", "bit"),
    ("threshold", r"(reached\[\d\] = [^;]*?)([&|])()", "operator"),
    ("code table", r"(entry = \d+'d)(\d+)", "number"),
    ("count", r"(assign code\[\d\] = [^;]*?)([&|])()", "operator"),
    ("bit plane", r"(codes\[)(\d+)", "number"),
)


def layer_mutants(policy, folder, count, seed=0):
    """Faults in look-up tables, comparators, code tables and wiring, all proven in one go."""
    artifact = load_policy(policy)
    manifest = generate(artifact, "xc7a15t", 100.0, "latency", folder / "good")
    rng = np.random.default_rng(seed)
    groups, places, found = [], [], {}
    while len(places) < count:
        kind, pattern, how = _LAYER_FAULTS[int(rng.integers(len(_LAYER_FAULTS)))]
        index = int(rng.integers(len(manifest.layers)))
        text = (folder / "good" / f"qpolicy_layer{index}.v").read_text()
        hits = list(re.finditer(pattern, text))
        if not hits:
            continue
        hit = hits[int(rng.integers(len(hits)))]
        changed = text[: hit.start(2)] + _changed(hit[2], how, rng) + text[hit.end(2) :]
        at = len(places)
        mutant = folder / f"layer{at}"
        shutil.copytree(folder / "good", mutant)
        (mutant / f"qpolicy_layer{index}.v").write_text(changed)
        places.append(
            (f"verilog: {kind}", f"layer {index}, line {text.count(chr(10), 0, hit.start())}")
        )
        layer = formal.FormalLayer(artifact.network, mutant, manifest, index)
        found[at] = not layer.dots().passed
        (mutant / "scratch").mkdir()
        for job in layer.jobs(mutant / "scratch", whole=False):
            miters = [(proof._replace(label=str(at)), text) for proof, text in job["miters"]]
            groups.append({**job, "miters": miters})
    for proof, outcome in formal.prove(groups, lambda _: None).items():
        found[int(proof.label)] |= outcome != "proved"
    left = [at for at in found if not found[at]]
    same = {at: _same_codes(folder / "good", folder / f"layer{at}", manifest) for at in left}
    return [Mutant(*place, found[at], same.get(at, False)) for at, place in enumerate(places)]


def _same_codes(good, mutant, manifest):
    """Whether every tree of two designs gives the same codes for all inputs, by SAT."""
    groups = []
    for index, form in enumerate(manifest.layers):
        texts = [(folder / f"qpolicy_layer{index}.v").read_text() for folder in (good, mutant)]
        for place in range(form.trees):
            name = f"qpolicy_layer{index}_tree{place}"
            first, second = (
                re.search(rf"module {name} .*?endmodule\n", t, re.DOTALL)[0] for t in texts
            )
            if first == second:
                continue
            ports = re.findall(r"(input|output) +wire (?:(\[\d+:0\]) )?(\w+)", first)
            size = {port: bits or "" for _, bits, port in ports}
            pair = f"module pair(input {size['c']} c, output {size['code']} a, b);\n"
            pair += f"{name} one(.c(c), .code(a)); {name}_m two(.c(c), .code(b)); endmodule\n"
            file = mutant / f"{name}_pair.v"
            file.write_text(first + second.replace(name, f"{name}_m") + pair)
            miter = f"module miter(input {size['c']} c, output ok); wire {size['code']} a, b;\n"
            miter += "pair dut(.c(c), .a(a), .b(b)); assign ok = a == b; endmodule\n"
            shared = [str(good / each) for each in formal.SHARED_MODULES]
            common = {"files": [*shared, str(file)], "top": "pair"}
            common |= {"timeout": 120, "free": [], "shown": []}
            groups.append({**common, "miters": [(formal.Proof("same", index, place, 1), miter)]})
    outcomes = formal.prove(groups, lambda _: None)
    return bool(outcomes) and set(outcomes.values()) == {"proved"}


def _changed(text, how, rng):
    if how == "bit":
        return f"{int(text, 16) ^ 1 << int(rng.integers(4 * len(text))):0{len(text)}x}"
    if how == "operator":
        return "|" if text == "&" else "&"
    return str(int(text) ^ 1)


# The core around the layers, and the wrappers: part 4.

CORE_FAULTS = (
    ("qpolicy_core.v", "accept = s_valid & s_ready", "accept = s_valid"),
    ("qpolicy_core.v", "(credit != ", "(credit == "),
    ("qpolicy_core.v", "credit <= credit - ", "credit <= credit + "),
    ("qpolicy_core.v", "done <= ~rst & ", "done <= rst | "),
    ("qpolicy_core.v", "fetched & ~take", "fetched & take"),
    ("qpolicy_results.v", "waiting ? kept", "~waiting ? kept"),
    ("qpolicy_results.v", "s_valid & (waiting | ~room)", "s_valid & waiting"),
    ("qpolicy_results.v", "place <= place + 1'b1", "place <= place"),
    ("qpolicy_results.v", "valid <= waiting | s_valid", "valid <= s_valid"),
    ("qpolicy_results.v", "(fetch & ~keep)", "(fetch)"),
    ("qpolicy_layer0.v", "if (write) bank", "if (~write) bank"),
    ("qpolicy_layer1.v", "shifted = code", "shifted = ~code"),
)
# (wrapper, file, which of its constants): values, then addresses of registers that a driver uses.
WRAPPER_FAULTS = tuple(
    ("axi_lite", "qpolicy_registers.vh", which) for which in (0, 11, 23, 24, 2, 3, 5, 8, 9, 12)
)

# (wrapper, file, old, new): what happens to sound traffic. Damaged frames are not sent here.
BUS_FAULTS = (
    ("axi_stream", "qpolicy_axi_stream.v", "s_axis_tlast != at_last", "s_axis_tlast == at_last"),
    ("axi_stream", "qpolicy_axi_stream.v", "sent + 1'b1", "sent"),
    ("axi_stream", "qpolicy_axi_stream.v", "answered + 1'b1", "answered"),
    ("axi_stream", "qpolicy_axi_stream.v", "drop || m_axis_tready", "drop || m_valid"),
    ("axi_stream", "qpolicy_axi_stream.v", "m_valid && !drop", "m_valid && drop"),
    ("axi_stream", "qpolicy_axi_stream.v", "1'b0}}, m_data}", "1'b0}}, ~m_data}"),
    ("axi_stream", "qpolicy_axi_stream.v", ": s_axis_tdata[", ": ~s_axis_tdata["),
    ("uart", "qpolicy_crc16.v", "16'h1021", "16'h1023"),
    ("uart", "qpolicy_uart_rx.v", "{line, data[7:1]}", "{~line, data[7:1]}"),
    ("uart", "qpolicy_uart_rx.v", "4'd0 : 4'd9", "4'd0 : 4'd8"),
    ("uart", "qpolicy_uart_tx.v", "shift[0]", "~shift[0]"),
    ("uart", "qpolicy_uart.v", "{result, cycles, OK}", "{~result, cycles, OK}"),
    ("uart", "qpolicy_uart.v", "kind | REPLY", "kind"),
    ("uart", "qpolicy_uart.v", "VERSION_VALUE, MAGIC_VALUE", "MAGIC_VALUE, VERSION_VALUE"),
    ("uart", "qpolicy_uart.v", "in_lane + 1'b1", "in_lane"),
    ("uart", "qpolicy_uart.v", "length != IN_BYTES", "length == IN_BYTES"),
)


def simulation_finds(chain, mutant, manifest, frames, *, lanes):
    """Whether part 4's core fails or cannot be simulated."""
    try:
        return not chain.core(mutant, manifest, frames, lanes=lanes).passed
    except (InputError, BackendError):
        return True


def core_mutants(policy, folder, faults=CORE_FAULTS):
    """Faults in admission, credits, waiting results and the layers' banks.

    Both simulations must find them: Verilator's of a full run and, as of a quick one, the lanes.
    """
    artifact = load_policy(policy)
    for index, (file, old, new) in enumerate(faults):
        mutant = folder / f"core{index}"
        manifest = generate(artifact, "xc7a15t", 100.0, "latency", mutant)
        text = (mutant / file).read_text()
        assert old in text, (file, old)
        (mutant / file).write_text(text.replace(old, new, 1))
        chain = Chain(artifact, artifact.golden.observations, Journal("", "mutant", ""))
        for frames, lanes in ((VERILATOR_FRAMES, False), (QUICK_FRAMES, True)):
            found = simulation_finds(chain, mutant, manifest, frames, lanes=lanes)
            how = "lanes" if lanes else "Verilator"
            yield Mutant("verilog: control", f"{file}: {old} -> {new}, {how}", found)


def wrapper_mutants(policy, folder, faults=WRAPPER_FAULTS + BUS_FAULTS):
    """A register's address or a flag's bit moved by one; a change to a serial line or a stream."""
    artifact = load_policy(policy)
    manifest = generate(artifact, "xc7a15t", 100.0, "latency", folder / "core")
    core = manifest.verilog(folder / "core")
    observations = random_observations(artifact.network, 1, 1000)
    wanted = dict(neurons.engines(artifact.network))["numpy"](observations)
    for index, (kind, file, *fault) in enumerate(faults):
        mutant = folder / f"wrapper{index}"
        write_wrapper(kind, Sizes.of(manifest), mutant)
        text = (mutant / file).read_text()
        if len(fault) == 1:
            changed, place = _moved(text, *fault)
        else:
            old, new = fault
            assert old in text, (file, old)
            changed, place = text.replace(old, new, 1), f"{old} -> {new}"
        (mutant / file).write_text(changed)
        try:
            device = open_wrapped(kind, manifest, core, mutant)
            found = bool((device.infer(wanted[0]) != wanted[-1]).any())
            device.close()
        except BackendError:
            found = True
        yield Mutant(f"wrapper: {kind}", f"{file}: {place}", found)


def _moved(text, which):
    """Change one of a file's constants; return the text and the constant's name."""
    hits = list(re.finditer(r"(localparam[^=]*= \d+'h)([0-9A-Fa-f]+)", text))
    hit = hits[which % len(hits)]
    value = f"{int(hit[2], 16) ^ 4:0{len(hit[2])}X}"
    return text[: hit.start(2)] + value + text[hit.end(2) :], hit[1].split()[-3]
