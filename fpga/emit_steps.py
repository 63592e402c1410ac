"""Counters and strobes of a layer: which neuron and which bit planes are added when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpolicy_fpga.emit_tree import phase_bits

if TYPE_CHECKING:
    from qpolicy_fpga.arith import Layer
    from qpolicy_fpga.plan import Form


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
            "    always @(posedge clk)",
            f"        plane <= (load | end_plane) ? {zero} : plane + {one};",
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


def bit_planes(layer: Layer, form: Form, plane: str) -> list[str]:
    """Lines that choose the bit planes of step ``plane``, highest first; the sign is inverted."""
    bits, n, planes = layer.code_bits, layer.inputs, form.planes
    steps = form.plane_steps(bits)

    def source(code: int, bit: int) -> str:
        if bit >= bits:
            return "1'b0"
        sign = "~" if layer.signed and bit == bits - 1 else ""
        return f"{sign}codes[{code * bits + bit}]"

    vectors = []
    for step in range(steps):
        top = steps * planes - (step + 1) * planes
        names = [source(i, top + bit) for bit in range(planes) for i in range(n)]
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
        f"        case ({plane})",
        *[f"            {plane_bits}'d{s}: c = plane_group{s};" for s in range(steps - 1)],
        f"            default: c = plane_group{steps - 1};",
        "        endcase",
        "    end",
    ]


def delay(source: str, cycles: int, name: str, *, reset: bool, bits: int = 1) -> list[str]:
    """Lines that delay a signal; ``name_k`` is it ``k`` cycles later, ``name`` at the end."""
    size = f"[{bits - 1}:0] " if bits > 1 else ""
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
