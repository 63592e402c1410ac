"""One layer: its trees, what they share, and the register bank of its output codes."""

from __future__ import annotations

from dataclasses import dataclass

from qpolicy_fpga.emit.fanout import copy, enabled
from qpolicy_fpga.emit.lookup import make_lookup
from qpolicy_fpga.emit.steps import (
    bit_planes,
    chunk_counter,
    delay,
    phase_counter,
    step_counters,
)
from qpolicy_fpga.emit.tail import emit_tail, tail_cycles
from qpolicy_fpga.emit.timing import LayerTiming, Timing, align, layer_timing
from qpolicy_fpga.emit.tree import Tree, make_tree, weight_bits
from qpolicy_fpga.emit.weights import emit_weights, read_cycles, weight_words
from qpolicy_fpga.plan.form import Form, phase_bits
from qpolicy_fpga.plan.layer import Layer

_VECTORS = ("phase_next", "tail_phase_next", "w", "c")
# Unused bits are not an error in a tree: a weight of 0 leaves its input unread, and thresholds
# may not need a sum's lowest bits. Nor is an unused reset: a layer of one cycle has no state.
HEADER = """\
// A layer and its trees are one file, hence DECLFILENAME. What is unused is so by its weights and
// thresholds, hence UNUSEDSIGNAL.
// verilator lint_off DECLFILENAME
// verilator lint_off UNUSEDSIGNAL
"""


@dataclass(frozen=True)
class LayerHardware(LayerTiming):
    """A layer's Verilog and its timing.

    Attributes:
        source: the modules, trees first.
        name: the layer's module.
        tail: kind of the tail.
        codes: bits of the output codes that are handed on at once.
        trees: number of trees.
        stages: register stages of a tree's adders.
        luts: look-up tables instantiated by name (adders and tails not counted).
        flops: registers between adders.
    """

    source: str
    name: str
    tail: str
    codes: int
    trees: int
    stages: int
    luts: int
    flops: int


def emit_layer(
    layer: Layer, form: Form, budget: float, *, direct: bool = False, ahead: bool = False
) -> LayerHardware:
    """Return layer ``layer`` laid out as ``form``.

    Args:
        layer: what to compute.
        form: its form.
        budget: ns of logic between registers.
        direct: whether it takes its chunks from the bus, without a register.
        ahead: whether the next layer takes its codes as they come, phase by phase.
    """
    name = f"qpolicy_layer{layer.index}"
    trees = [
        make_lookup(f"{name}_tree{t}", layer, t, budget)
        if form.lookup
        else make_tree(f"{name}_tree{t}", layer, neurons, form, budget)
        for t, neurons in enumerate(assign_neurons(layer.neurons, form.fold))
    ]
    timing = align(layer, form, trees, budget)
    for tree in trees:
        _finish(tree, layer, form, timing)
    wrapped = _wrap(layer, form, trees, timing, direct=direct, ahead=ahead)
    modules = [*(tree.module.text() for tree in trees), wrapped]
    if form.ram:
        modules.insert(0, emit_weights(layer, form, [tree.neurons for tree in trees]))
    source = "\n".join([HEADER, *modules])
    return LayerHardware(
        **vars(layer_timing(layer, form, timing)),
        source=source,
        name=name,
        tail=timing.kind,
        codes=(len(trees) if ahead else layer.neurons) * layer.out_bits,
        trees=len(trees),
        stages=timing.stages,
        luts=sum(tree.module.luts for tree in trees),
        flops=sum(tree.module.flops for tree in trees),
    )


def assign_neurons(neurons: int, fold: int) -> list[list[int | None]]:
    """Return the neurons of each tree by phase: in phase f, tree t serves neuron f T + t."""
    trees = -(-neurons // fold)
    return [
        [n if (n := phase * trees + tree) < neurons else None for phase in range(fold)]
        for tree in range(trees)
    ]


def _finish(tree: Tree, layer: Layer, form: Form, timing: Timing) -> None:
    """Add padding registers, the accumulator and the tail to a tree; then its ports."""
    if form.lookup:  # its code is there already
        tree.module.ports = _ports(layer, form, timing)
        return
    lines, source = tree.module.lines, tree.sum
    # Without an accumulator there are no bits but the sum's: a neuron without weights has one.
    total = tree.total if timing.serial else tree.width
    padding = timing.stages - tree.heap.stages + int(timing.registered)
    for stage in range(padding):
        lines += [
            f"    reg [{tree.width - 1}:0] sum_{stage};",
            f"    always @(posedge clk) sum_{stage} <= {source};",
        ]
        source = f"sum_{stage}"
    tree.module.flops += padding * tree.width
    if timing.serial:
        wide = f"{{{total - tree.width}'d0, {source}}}" if total > tree.width else source
        lines += _accumulator(form, total, wide, early=timing.early)
        source = "next" if timing.early else "held"
    elif total > tree.width:
        # Weights so small that a sum has fewer bits than a code, as which the tail takes it.
        zeros = total - tree.width
        lines.append(f"    wire [{total - 1}:0] wide_sum = {{{zeros}'d0, {source}}};")
        source = "wide_sum"
    emit_tail(tree.module, layer, tree.neurons, timing.kind, total, source)
    tree.module.ports = _ports(layer, form, timing)
    lines[:0] = _own_phases(layer, form, tree.phases)


def _ports(layer: Layer, form: Form, timing: Timing) -> list[str]:
    """Ports of a tree."""
    phases, tail_phases = phase_bits(max(form.fold, layer.chunks)), phase_bits(form.fold)
    ports = {
        "clk": (1, True),
        "phase_next": (phases, phases and not form.ram),
        "tail_phase_next": (tail_phases, tail_phases),
        "first": (1, timing.serial),
        "add": (1, form.stream),
        "w": (layer.inputs * weight_bits(layer), form.ram),
        "c": (layer.chunk * form.planes, True),
    }
    lines = []
    for name, (bits, there) in ports.items():
        size = "" if bits == 1 and name not in _VECTORS else f"[{bits - 1}:0] "
        if there:
            lines.append(f"input  wire {size}{name}")
    return [*lines, f"output wire [{layer.out_bits - 1}:0] code"]


def _own_phases(layer: Layer, form: Form, phases: int) -> list[str]:
    """Registers of the phase in each tree: one counter could not drive the tables of all."""
    count = phase_bits(max(form.fold, layer.chunks))
    lines = []
    for number in range(phases):
        lines += copy(f"own_phase{number}", "phase_next", count)
    return lines + (copy("tail_phase", "tail_phase_next", count) if form.fold > 1 else [])


def _accumulator(form: Form, total: int, step: str, *, early: bool) -> list[str]:
    """Lines that add ``step`` to what was summed before, shifted by a step's planes.

    Chunks are of equal weight, so that nothing is shifted; cycles between them do not matter.
    """
    if form.stream:
        return [
            f"    reg [{total - 1}:0] held;",
            f"    wire [{total - 1}:0] next = (first ? {total}'d0 : held) + {step};",
            "    always @(posedge clk) if (add) held <= next;",
        ]
    rest = total - form.planes
    # A tail that looks at the next value leaves only what is shifted to be kept.
    kept = rest if early else total
    return [
        f"    reg [{kept - 1}:0] held;",
        (
            f"    wire [{total - 1}:0] next = "
            f"(first ? {total}'d0 : {{held[{rest - 1}:0], {form.planes}'d0}}) + {step};"
        ),
        f"    always @(posedge clk) held <= next[{kept - 1}:0];",
    ]


def _wrap(
    layer: Layer, form: Form, trees: list[Tree], timing: Timing, *, direct: bool, ahead: bool
) -> str:
    """Return the layer's module: steps, trees, write strobes, bank."""
    fold, count, out = form.fold, phase_bits(form.fold), layer.out_bits
    cycles = tail_cycles(timing.kind, out)
    reads = read_cycles(form, layer.code_bits)
    body = chunk_counter(layer, direct=direct) if form.stream else step_counters(layer, form)
    body += _codes(layer, form, timing, reads)
    if form.ram:
        body += weight_words(layer, form, len(trees))
    body += _strobes(form, timing, "plane_read" if timing.serial and reads else "plane")
    shared = max(1, timing.groups)
    body += delay("summed", timing.before_tail + reads, "ready", reset=True)
    body += delay("ready", cycles - 1, "write", reset=True)
    if fold > 1:
        body += phase_counter("tail_phase", "ready", fold)
    if fold > 1 and not ahead:
        body += phase_counter("write_phase", "write", fold)
        body.append(f"    assign last = write & (write_phase == {count}'d{fold - 1});")
    else:
        body.append("    assign last = write;")
    body.append(f"    wire [{len(trees) * out - 1}:0] code;")
    phase = _phase(form, timing, direct=direct)
    if phase == "part_late":
        bits = phase_bits(layer.chunks)
        body += [
            f"    reg [{bits - 1}:0] part_late;",
            "    always @(posedge clk) part_late <= part;",
        ]
    for place, tree in enumerate(trees):
        group = place * shared // len(trees)
        body.append(_instance(layer, form, tree, place, timing, phase, group))
    before = _write_before(timing, reads, cycles)
    body += _bank(layer, 1 if ahead else fold, len(trees), before, whole=ahead)
    result = (len(trees) if ahead else layer.neurons) * out
    handed = "a phase of the result is" if ahead else "the result is all"
    when = "in the cycle before the codes are all there"
    if direct or (form.steps(layer.code_bits) == 1 and not form.stream):
        when = "when the codes are there"
    elif form.stream:
        when = "in the cycle before a part of the codes is there"
    return "\n".join(
        [
            f"module qpolicy_layer{layer.index} (",
            "    input  wire clk,",
            "    input  wire rst,",
            f"    // high {when}",
            "    input  wire load,",
            f"    input  wire [{layer.chunk * layer.code_bits - 1}:0] codes,",
            f"    output wire [{result - 1}:0] result,",
            f"    // high in the cycle before {handed} there",
            "    output wire last",
            ");",
            *body,
            "endmodule",
            "",
        ]
    )


def _codes(layer: Layer, form: Form, timing: Timing, reads: int) -> list[str]:
    """Lines that choose the bit planes and copy them for each group of trees."""
    lines, plane, plane_next = [], "plane", "plane_next"
    if timing.serial and reads:
        # The trees work as much later as their weights come; what is copied, a cycle before.
        bits = phase_bits(form.plane_steps(layer.code_bits))
        lines = delay("plane", reads, "plane_read", reset=False, bits=bits)
        at = reads - int(timing.groups > 0)
        plane, plane_next = f"plane_read_{at}", f"plane_read_{at - 1}"
    lines += bit_planes(layer, form, plane, plane_next)
    for group in range(timing.groups):
        lines += copy(f"c{group}", "c", layer.chunk * form.planes)
    return lines


def _strobes(form: Form, timing: Timing, plane: str) -> list[str]:
    """Lines of what the accumulators need, once for each group of trees."""
    if form.stream:
        # With a reset these cannot become shift registers, which answer late.
        sources = {"first": "first_part", "add": "part_there"}
    else:
        sources = {"first": f"~|{plane}"} if timing.serial else {}
    lines = []
    for name, source in sources.items():
        lines += _strobe(name, source, timing, reset=form.stream)
    return lines


def _phase(form: Form, timing: Timing, *, direct: bool) -> str:
    """What a tree's phase is in the next cycle; it has a register of its own."""
    if form.stream:
        if direct:
            return "part" if timing.lead else "part_next"
        return "part_late" if timing.lead else "part"
    return "phase" if timing.lead else "phase_next"


def _strobe(name: str, source: str, timing: Timing, *, reset: bool) -> list[str]:
    """Lines that delay a strobe to the accumulators; its last register is one for each group."""
    cycles, groups = timing.stages + timing.lead, max(1, timing.groups)
    if cycles == 0:
        return [f"    wire {name}{group} = {source};" for group in range(groups)]
    lines = [f"    wire {name}_now = {source};"]
    lines += delay(f"{name}_now", cycles - 1, f"{name}_late", reset=reset)
    for group in range(groups):
        lines += copy(f"{name}{group}", f"{name}_late")
    return lines


def _instance(
    layer: Layer, form: Form, tree: Tree, place: int, timing: Timing, phase: str, group: int
) -> str:
    """Return the line that puts tree number ``place``, of ``group``, into its layer."""
    ports, out = [".clk(clk)"], layer.out_bits
    if form.stream or (form.fold > 1 and not form.ram):
        ports.append(f".phase_next({phase})")
    if form.fold > 1:
        ports.append(".tail_phase_next(tail_phase_next)")
    if form.ram:
        size = layer.inputs * weight_bits(layer)
        ports.append(f".w(weights[{place * size} +: {size}])")
    if timing.serial:
        ports.append(f".first(first{group})")
    if form.stream:
        ports.append(f".add(add{group})")
    codes = f"c{group}" if timing.groups else "c"
    ports += [f".c({codes})", f".code(code[{place * out} +: {out}])"]
    return f"    {tree.module.name} tree{place} ({', '.join(ports)});"


def _write_before(timing: Timing, reads: int, tail: int) -> str:
    """What the register of ``write`` takes; empty where it is none."""
    if tail > 2:
        return f"~rst & write_{tail - 2}"
    if tail == 2:
        return "~rst & ready"
    stages = timing.before_tail + reads
    if stages > 1:
        return f"~rst & ready_{stages - 1}"
    return "~rst & summed" if stages else ""


def _bank(layer: Layer, fold: int, trees: int, before: str, *, whole: bool) -> list[str]:
    """Lines that shift the codes of each phase into the bank; the first phase's end up lowest.

    ``whole``: all of the bank is handed on, as one of a phase is. ``before``: what the register
    of ``write`` takes.
    """
    size = trees * layer.out_bits
    used = size if whole else layer.neurons * layer.out_bits
    bits = fold * size
    shifted = "code" if fold == 1 else f"{{code, bank[{bits - 1}:{size}]}}"
    return [
        f"    reg [{bits - 1}:0] bank;",
        f"    wire [{bits - 1}:0] shifted = {shifted};",
        *enabled("bank", bits, "shifted", "write", before),
        f"    assign result = bank[{used - 1}:0];",
    ]
