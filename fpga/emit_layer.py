"""One layer: its trees, what they share, and the register bank of its output codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpolicy_fpga.emit_tail import emit_tail, tail_cycles, tail_delay
from qpolicy_fpga.emit_tree import Tree, make_tree, phase_bits
from qpolicy_fpga.plan import Form, tail_kind
from qpolicy_fpga.verilog import CLOCK_TO_OUT, adder_delay

if TYPE_CHECKING:
    from qpolicy_fpga.arith import Layer

HEADER = """\
// A layer and its trees are one file. A weight of 0 leaves its input unread, so the inputs of a
// tree are not checked for unused bits.
// verilator lint_off DECLFILENAME
"""


@dataclass(frozen=True)
class LayerHardware:
    """A layer's Verilog and its timing.

    Attributes:
        source: the modules, trees first.
        name: the layer's module.
        form: how it is laid out.
        tail: kind of the tail.
        steps: cycles for which it reads its input codes.
        latency: cycles from the first of them to the last output code's visibility.
        spread: cycles between the first output codes written and the last.
        trees: number of trees.
        stages: register stages of a tree's adders.
        luts: look-up tables instantiated by name (adders and tails not counted).
        flops: registers between adders.
    """

    source: str
    name: str
    form: Form
    tail: str
    steps: int
    latency: int
    spread: int
    trees: int
    stages: int
    luts: int
    flops: int


def emit_layer(layer: Layer, form: Form, budget: float) -> LayerHardware:
    """Return layer ``layer`` laid out as ``form``, ``budget`` ns of logic between registers."""
    name = f"qpolicy_layer{layer.index}"
    trees = [
        make_tree(f"{name}_tree{t}", layer, neurons, form.planes, budget)
        for t, neurons in enumerate(assign_neurons(layer.neurons, form.fold))
    ]
    timing = _align(layer, form, trees, budget)
    for tree in trees:
        _finish(tree, layer, form, timing)
    steps = form.steps(layer.code_bits)
    last = steps - 1 + timing.before_tail + tail_cycles(timing.kind, layer.out_bits)
    source = "\n".join(
        [HEADER, *(tree.module.text() for tree in trees), _wrap(layer, form, trees, timing)]
    )
    return LayerHardware(
        source=source,
        name=name,
        form=form,
        tail=timing.kind,
        steps=steps,
        latency=last,
        spread=(form.fold - 1) * form.plane_steps(layer.code_bits),
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


@dataclass(frozen=True)
class Timing:
    """What all trees of a layer have in common.

    Attributes:
        kind: of the tail.
        stages: registers until the sum.
        serial: whether bit planes are added one after another, in an accumulator.
        early: whether the tail looks at the accumulator's next value.
        registered: whether the sum is registered once more before the tail.
        before_tail: registers until what the tail looks at.
    """

    kind: str
    stages: int
    serial: bool
    early: bool
    registered: bool

    @property
    def before_tail(self) -> int:
        """Registers until what the tail looks at."""
        return self.stages + int(self.serial and not self.early) + int(self.registered)


def _align(layer: Layer, form: Form, trees: list[Tree], budget: float) -> Timing:
    """Give every tree the same number of stages and choose where the tail begins."""
    kind = tail_kind(layer, form.fold)
    serial = form.plane_steps(layer.code_bits) > 1
    width = max(tree.total for tree in trees)
    tail = tail_delay(kind, width, form.fold)
    stages = max(tree.heap.stages for tree in trees)
    time = max(tree.heap.time for tree in trees if tree.heap.stages == stages)
    early = registered = False
    if serial:
        if time + adder_delay(width) > budget:
            stages, time = stages + 1, CLOCK_TO_OUT
        early = time + adder_delay(width) + tail <= budget
    elif time + tail > budget:
        registered = True
    return Timing(kind, stages, serial, early, registered)


def _finish(tree: Tree, layer: Layer, form: Form, timing: Timing) -> None:
    """Add padding registers, the accumulator and the tail to a tree; then its ports."""
    lines, source, total = tree.module.lines, tree.sum, tree.total
    padding = timing.stages - tree.heap.stages + int(timing.registered)
    for stage in range(padding):
        lines += [
            f"    reg [{tree.width - 1}:0] sum_{stage};",
            f"    always @(posedge clk) sum_{stage} <= {source};",
        ]
        source = f"sum_{stage}"
    tree.module.flops += padding * tree.width
    if timing.serial:
        shifted = f"{{held[{total - 1 - form.planes}:0], {form.planes}'d0}}"
        wide = f"{{{total - tree.width}'d0, {source}}}" if total > tree.width else source
        lines += [
            f"    reg [{total - 1}:0] held;",
            f"    wire [{total - 1}:0] next = (first ? {total}'d0 : {shifted}) + {wide};",
            "    always @(posedge clk) held <= next;",
        ]
        source = "next" if timing.early else "held"
    count = phase_bits(form.fold)
    ports = ["input  wire clk"]
    declarations = []
    if count:
        # Each tree has its own copy of the phase: one counter could not drive every table.
        for port in ("phase", "tail_phase"):
            ports.append(f"input  wire [{count - 1}:0] {port}_next")
            declarations += [
                f'    (* keep = "true" *) reg [{count - 1}:0] {port};',
                f"    always @(posedge clk) {port} <= {port}_next;",
            ]
    if timing.serial:
        ports.append("input  wire first")
    ports += [
        f"input  wire [{layer.inputs * form.planes - 1}:0] c",
        f"output wire [{layer.out_bits - 1}:0] code",
    ]
    emit_tail(tree.module, layer, tree.neurons, timing.kind, total, source)
    tree.module.ports = ports
    lines[:0] = declarations


def _wrap(layer: Layer, form: Form, trees: list[Tree], timing: Timing) -> str:
    """Return the layer's module: steps, trees, write strobes, bank."""
    name = f"qpolicy_layer{layer.index}"
    bits, n, out = layer.code_bits, layer.inputs, layer.out_bits
    plane_steps, fold, count = form.plane_steps(bits), form.fold, phase_bits(form.fold)
    steps = form.steps(bits)
    module = [
        f"module {name} (",
        "    input  wire clk,",
        "    input  wire rst,",
        "    // high in the cycle before the codes are all there" if steps > 1 else "    // codes",
        "    input  wire load,",
        f"    input  wire [{n * bits - 1}:0] codes,",
        f"    output reg  [{layer.neurons * out - 1}:0] result,",
        "    // high in the cycle before the result is all there",
        "    output wire last",
        ");",
    ]
    plane_bits = max(1, (plane_steps - 1).bit_length())
    body: list[str] = []
    if steps > 1:
        body += ["    reg run;"]
        if plane_steps > 1:
            body += [f"    reg [{plane_bits - 1}:0] plane;"]
        if fold > 1:
            body += [
                f"    reg [{count - 1}:0] phase;",
                f"    reg [{count - 1}:0] phase_next;",
            ]
        end_plane = f"plane == {plane_bits}'d{plane_steps - 1}" if plane_steps > 1 else "1'b1"
        end_phase = f"phase == {count}'d{fold - 1}" if fold > 1 else "1'b1"
        body += [
            f"    wire end_plane = {end_plane};",
            f"    wire end_step = end_plane & ({end_phase});",
            "    always @(posedge clk) begin",
            "        if (rst) run <= 1'b0;",
            "        else if (load) run <= 1'b1;",
            "        else if (end_step) run <= 1'b0;",
            "    end",
        ]
        if plane_steps > 1:
            zero, one = f"{plane_bits}'d0", f"{plane_bits}'d1"
            body += [
                "    always @(posedge clk)",
                f"        plane <= (load | end_plane) ? {zero} : plane + {one};",
            ]
        if fold > 1:
            body += [
                "    always @* begin",
                "        phase_next = phase;",
                f"        if (load) phase_next = {count}'d0;",
                f"        else if (end_plane) phase_next = phase + {count}'d1;",
                "    end",
                "    always @(posedge clk) phase <= phase_next;",
            ]
        body.append("    wire summed = run & end_plane;")
    else:
        body.append("    wire summed = load;")
    body += _planes(layer, form)
    body += _delay("summed", timing.before_tail, "ready", reset=True)
    if timing.serial:
        body.append(f"    wire first_plane = plane == {plane_bits}'d0;")
        body += _delay("first_plane", timing.stages, "first", reset=False)
    cycles = tail_cycles(timing.kind, out)
    body += _delay("ready", cycles - 1, "write", reset=True)
    if fold > 1:
        body += _phase_counter("tail_phase", "ready", fold)
        body += _phase_counter("write_phase", "write", fold)
        body.append(f"    assign last = write & (write_phase == {count}'d{fold - 1});")
    else:
        body.append("    assign last = write;")
    body.append(f"    wire [{len(trees) * out - 1}:0] code;")
    for t, tree in enumerate(trees):
        ports = [".clk(clk)"]
        if count:
            ports += [".phase_next(phase_next)", ".tail_phase_next(tail_phase_next)"]
        if timing.serial:
            ports.append(".first(first)")
        ports += [".c(c)", f".code(code[{t * out} +: {out}])"]
        body.append(f"    {tree.module.name} tree{t} ({', '.join(ports)});")
    body += _bank(layer, fold, len(trees))
    return "\n".join([*module, *body, "endmodule", ""])


def _planes(layer: Layer, form: Form) -> list[str]:
    """Lines that choose the bit planes of a step, highest first; the sign bit is inverted."""
    bits, n, planes = layer.code_bits, layer.inputs, form.planes
    steps = form.plane_steps(bits)

    def source(code: int, plane: int) -> str:
        if plane >= bits:
            return "1'b0"
        sign = "~" if layer.signed and plane == bits - 1 else ""
        return f"{sign}codes[{code * bits + plane}]"

    vectors = []
    for step in range(steps):
        top = steps * planes - (step + 1) * planes
        names = [source(i, top + plane) for plane in range(planes) for i in range(n)]
        parts = list(reversed(names))
        rows = [", ".join(parts[i : i + 10]) for i in range(0, len(parts), 10)]
        vectors.append("{" + ",\n        ".join(rows) + "}")
    width = n * planes
    if steps == 1:
        return [f"    wire [{width - 1}:0] c = {vectors[0]};"]
    plane_bits = (steps - 1).bit_length()
    lines = [
        f"    wire [{width - 1}:0] plane_group{step} = {vector};"
        for step, vector in enumerate(vectors)
    ]
    return [
        *lines,
        f"    reg [{width - 1}:0] c;",
        "    always @* begin",
        "        case (plane)",
        *[f"            {plane_bits}'d{s}: c = plane_group{s};" for s in range(steps - 1)],
        f"            default: c = plane_group{steps - 1};",
        "        endcase",
        "    end",
    ]


def _delay(source: str, cycles: int, name: str, *, reset: bool) -> list[str]:
    """Lines that delay one bit."""
    if cycles == 0:
        return [f"    wire {name} = {source};"]
    chain = f"{name}_chain"
    shifted = source if cycles == 1 else f"{{{chain}[{cycles - 2}:0], {source}}}"
    following = f"rst ? {cycles}'d0 : {shifted}" if reset else shifted
    return [
        f"    reg [{cycles - 1}:0] {chain};",
        f"    always @(posedge clk) {chain} <= {following};",
        f"    wire {name} = {chain}[{cycles - 1}];",
    ]


def _phase_counter(name: str, event: str, fold: int) -> list[str]:
    """Lines of a counter of phases that ``event`` advances."""
    count = phase_bits(fold)
    return [
        f"    reg [{count - 1}:0] {name};",
        f"    reg [{count - 1}:0] {name}_next;",
        "    always @* begin",
        f"        {name}_next = {name};",
        f"        if (rst) {name}_next = {count}'d0;",
        (
            f"        else if ({event}) {name}_next = "
            f"({name} == {count}'d{fold - 1}) ? {count}'d0 : {name} + {count}'d1;"
        ),
        "    end",
        f"    always @(posedge clk) {name} <= {name}_next;",
    ]


def _bank(layer: Layer, fold: int, trees: int) -> list[str]:
    """Lines that write codes into the bank, the codes of one phase at a time."""
    out = layer.out_bits
    if fold == 1:
        return ["    always @(posedge clk) if (write) result <= code;"]
    count = phase_bits(fold)
    lines = ["    always @(posedge clk) begin"]
    for phase in range(fold):
        first, end = phase * trees * out, min((phase + 1) * trees, layer.neurons) * out
        if end > first:
            lines += [
                f"        if (write & (write_phase == {count}'d{phase}))",
                f"            result[{end - 1}:{first}] <= code[{end - first - 1}:0];",
            ]
    return [*lines, "    end"]
