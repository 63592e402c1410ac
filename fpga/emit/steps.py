"""Counters and strobes of a layer: which neuron and which bit planes are added when."""

from __future__ import annotations

from qpolicy_fpga.emit.fanout import MAX_LOADS, copy
from qpolicy_fpga.emit.verilog import Module, concatenate
from qpolicy_fpga.plan.form import Form, phase_bits
from qpolicy_fpga.plan.layer import Layer


def step_counters(layer: Layer, form: Form) -> list[str]:
    """Lines that count a frame's steps; ``summed`` is high in a neuron's last one."""
    planes, fold = form.plane_steps(layer.code_bits), form.fold
    if planes * fold == 1:
        return ["    wire summed = load;"]
    count, plane_bits = phase_bits(fold), (planes - 1).bit_length()
    end_plane = f"plane == {plane_bits}'d{planes - 1}" if planes > 1 else "1'b1"
    end_phase = f"phase == {count}'d{fold - 1}" if fold > 1 else "1'b1"
    lines = ["    reg run;"]
    if planes > 1:
        lines.append(f"    reg [{plane_bits - 1}:0] plane;")
    if fold > 1:
        lines += [f"    reg [{count - 1}:0] phase;", f"    reg [{count - 1}:0] phase_next;"]
    lines += [
        f"    wire end_plane = {end_plane};",
        f"    wire end_step = end_plane & ({end_phase});",
        "    always @(posedge clk) begin",
        "        if (rst) run <= 1'b0;",
        "        else if (load) run <= 1'b1;",
        "        else if (end_step) run <= 1'b0;",
        "    end",
    ]
    if planes > 1:
        zero, one = f"{plane_bits}'d0", f"{plane_bits}'d1"
        lines += [
            f"    wire [{plane_bits - 1}:0] plane_next;",
            f"    assign plane_next = (load | end_plane) ? {zero} : plane + {one};",
            "    always @(posedge clk) plane <= plane_next;",
        ]
    if fold > 1:
        lines += [
            "    always @* begin",
            "        phase_next = phase;",
            f"        if (load) phase_next = {count}'d0;",
            f"        else if (end_plane) phase_next = phase + {count}'d1;",
            "    end",
            "    always @(posedge clk) phase <= phase_next;",
        ]
    return [*lines, "    wire summed = run & end_plane;"]


def chunk_counter(layer: Layer, *, direct: bool) -> list[str]:
    """Lines that count the chunks of a frame; ``summed`` is high in the last one's cycle.

    ``part_there`` is high while a chunk is there: in the cycle after ``load`` or, read directly
    from the bus, in the same one.
    """
    bits = phase_bits(layer.chunks)
    lines = phase_counter("part", "load", layer.chunks)
    conditions = {
        "part_there": "load",
        "first_part": f"part == {bits}'d0",
        "summed": f"load & (part == {bits}'d{layer.chunks - 1})",
    }
    for name, condition in conditions.items():
        if direct:
            lines.append(f"    wire {name} = {condition};")
        else:
            lines += [
                f"    reg {name};",
                f"    always @(posedge clk) {name} <= ~rst & {condition};",
            ]
    return lines


def bit_planes(layer: Layer, form: Form, plane: str, plane_next: str) -> list[str]:
    """Lines that choose the bit planes of step ``plane``, highest first, as vector ``c``.

    Of up to four steps one look-up table chooses a bit, of up to eight three do; left to synthesis
    it may become deeper than the time that ``make_tree`` allows. ``plane_next`` is what ``plane``
    will be: what chooses is registered once for each so many choosers.
    """
    bits, n, planes = layer.code_bits, layer.chunk, form.planes
    steps = form.plane_steps(bits)

    def source(code: int, bit: int) -> str:
        if bit >= bits:
            return "1'b0"
        sign = "~" if layer.signed and bit == bits - 1 else ""
        return f"{sign}codes[{code * bits + bit}]"

    chooser = Module("", [])
    names: list[str] = []
    groups = -(-n * planes // MAX_LOADS)
    for bit in range(planes):
        for code in range(n):
            choices = [source(code, (steps - 1 - step) * planes + bit) for step in range(steps)]
            group = len(names) * groups // (n * planes)
            names.append(_choose(chooser, choices, f"choice{group}"))
    lines: list[str] = []
    if steps > 1:
        size = phase_bits(steps)
        if groups == 1:
            lines = [f"    wire [{size - 1}:0] choice0 = {plane};"]
        else:
            lines = [
                line for group in range(groups) for line in copy(f"choice{group}", plane_next, size)
            ]
    return [*lines, *chooser.lines, f"    wire [{n * planes - 1}:0] c = {concatenate(names)};"]


def _choose(module: Module, choices: list[str], select: str) -> str:
    """Add a multiplexer of up to eight bits; return its output's name."""
    if len(choices) == 1:
        return choices[0]
    if len(choices) > 4:
        halves = [_choose(module, choices[:4], select), _choose(module, choices[4:], select)]
        return module.lut([*halves, f"{select}[2]"], 0b11001010)
    count = len(choices)
    selects = [f"{select}[{bit}]" for bit in range((count - 1).bit_length())]
    table = sum(
        (address >> min(address >> count, count - 1) & 1) << address
        for address in range(1 << (count + len(selects)))
    )
    return module.lut([*choices, *selects], table)


def delay(
    source: str, cycles: int, name: str, *, reset: bool, bits: int | None = None
) -> list[str]:
    """Lines that delay a signal; ``name_k`` is it ``k`` cycles later, ``name`` at the end."""
    size = "" if bits is None else f"[{bits - 1}:0] "
    lines, previous = [], source
    for cycle in range(1, cycles + 1):
        value = f"~rst & {previous}" if reset else previous
        lines += [
            f"    reg {size}{name}_{cycle};",
            f"    always @(posedge clk) {name}_{cycle} <= {value};",
        ]
        previous = f"{name}_{cycle}"
    return [*lines, f"    wire {size}{name} = {previous};"]


def phase_counter(name: str, event: str, fold: int) -> list[str]:
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
