"""From a neuron's sum to its code: how many thresholds it reaches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qpolicy_fpga.emit.verilog import LUT_DELAY, Module, adder_delay, concatenate, table_bit
from qpolicy_fpga.plan.form import Form, phase_bits, tail_kind
from qpolicy_fpga.plan.layer import Layer
from qpolicy_fpga.plan.multiply_shift import FACTOR_BITS, find_scale

DSP_SETUP = 1.3  # to the register behind the multiplier, ns


def tail_delay(kind: str, width: int, fold: int) -> float:
    """Logic between the sum and the tail's first register, ns, before routing."""
    if kind in ("compare", "staged"):
        return adder_delay(width) + LUT_DELAY if fold > 1 else (2 + width // 8) * LUT_DELAY
    if kind == "table":
        return 2 * LUT_DELAY
    if kind == "scale":
        return DSP_SETUP
    if kind == "lookup":
        return 0.0
    return 0.6 if kind == "rom" else adder_delay(width) + LUT_DELAY


def delays_after(layer: Layer, form: Form, width: int) -> tuple[float, ...]:
    """Logic behind a sum of ``width`` bits, ns of each step up to the tail's first register."""
    tail = tail_delay(tail_kind(layer, form), width, form.fold)
    serial = form.stream or form.plane_steps(layer.code_bits) > 1
    return (adder_delay(width), tail) if serial else (tail,)


def tail_cycles(kind: str, out_bits: int) -> int:
    """Registers from the sum to the code's own register, which is counted."""
    fixed = {"lookup": 1, "compare": 1, "table": 1, "rom": 2, "staged": 2, "scale": 3}
    return fixed.get(kind, out_bits)


def emit_tail(
    module: Module, layer: Layer, neurons: Sequence[int | None], kind: str, width: int, source: str
) -> None:
    """Drive ``code``, the tree's output before its register, from ``source``.

    ``source`` is ``width`` bits; the phase of its neuron is ``tail_phase``.
    """
    rows = [
        None if neuron is None else np.minimum(layer.thresholds[neuron], 1 << width)
        for neuron in neurons
    ]
    if kind in ("compare", "staged"):
        _compare(module, layer, rows, width, source, staged=kind == "staged")
    elif kind == "search":
        _search(module, layer, rows, width, source)
    elif kind == "scale":
        _scale(module, layer, neurons[0] or 0, width, source)
    else:
        _table(module, layer, rows, width, source, block=kind == "rom")


def sign_bits(layer: Layer) -> int:
    """What turns a count into the output code's bits: signed codes start at the lowest one."""
    return 1 << (layer.out_bits - 1) if layer.signed_out else 0


def _compare(
    module: Module,
    layer: Layer,
    rows: list[np.ndarray | None],
    width: int,
    source: str,
    *,
    staged: bool,
) -> None:
    """Comparators, and the number of thresholds reached from their unary answer."""
    levels = (1 << layer.out_bits) - 1
    lines = module.lines
    lines.append(f"    wire [{levels}:1] reached;")
    for level in range(1, levels + 1):
        if len(rows) == 1:
            row = rows[0]
            text = "1'b0" if row is None else at_least(source, width, int(row[level - 1]))
            lines.append(f"    assign reached[{level}] = {text};")
        else:
            values = [0 if row is None else int(row[level - 1]) for row in rows]
            bits = phase_bits(len(rows))
            # One bit more than the sum: a threshold that is never reached needs it.
            lines += [
                f"    reg [{width}:0] bound{level};",
                "    always @* begin",
                "        case (tail_phase)",
                *[
                    f"            {bits}'d{phase}: bound{level} = {width + 1}'d{value};"
                    for phase, value in enumerate(values)
                ],
                f"            default: bound{level} = {width + 1}'d0;",
                "        endcase",
                "    end",
                f"    assign reached[{level}] = {{1'b0, {source}}} >= bound{level};",
            ]
    unary = "reached"
    if staged:
        unary = "reached_before"
        lines += [
            f"    reg [{levels}:1] {unary};",
            f"    always @(posedge clk) {unary} <= reached;",
        ]
    for bit in range(layer.out_bits):
        step = 1 << bit
        terms = []
        for low in range(step, levels + 1, 2 * step):
            end = low + step
            terms.append(f"{unary}[{low}]" + (f" & ~{unary}[{end}]" if end <= levels else ""))
        text = " | ".join(f"({term})" for term in terms)
        flip = "~" if sign_bits(layer) >> bit & 1 else ""
        lines.append(f"    assign code[{bit}] = {flip}({text});")


def at_least(source: str, width: int, bound: int) -> str:
    """Return the expression ``source >= bound`` for a constant, without a carry chain."""
    if bound <= 0:
        return "1'b1"
    if bound >= 1 << width:
        return "1'b0"
    # From the lowest set bit of bound upwards: below it every sum is large enough.
    low = (bound & -bound).bit_length() - 1
    text = f"{source}[{low}]"
    for bit in range(low + 1, width):
        text = f"{source}[{bit}] {'&' if bound >> bit & 1 else '|'} ({text})"
    return text


def _table(
    module: Module,
    layer: Layer,
    rows: list[np.ndarray | None],
    width: int,
    source: str,
    *,
    block: bool,
) -> None:
    """A table of codes over every sum (and phase), in look-up tables or in block RAM."""
    bits = phase_bits(len(rows))
    size, out = width + bits, layer.out_bits
    address = f"{{tail_phase, {source}}}" if bits else source
    codes = []
    for row in rows:
        count = 0 if row is None else np.searchsorted(row, np.arange(1 << width), side="right")
        codes += [int(code) ^ sign_bits(layer) for code in np.broadcast_to(count, (1 << width,))]
    style, event, assign = ("block", "posedge clk", "<=") if block else ("distributed", "*", "=")
    default = codes[-1]
    module.lines += [
        f'    (* rom_style = "{style}" *) reg [{out - 1}:0] entry;',
        f"    wire [{size - 1}:0] address = {address};",
        f"    always @({event})",
        "        case (address)",
        *[
            f"            {size}'d{at}: entry {assign} {out}'d{code};"
            for at, code in enumerate(codes)
            if code != default or block
        ],
        f"            default: entry {assign} {out}'d{default};",
        "        endcase",
        "    assign code = entry;",
    ]


def _scale(module: Module, layer: Layer, neuron: int, width: int, source: str) -> None:
    """A DSP multiplies and adds; what is above its clip or below it is cut off."""
    scale = find_scale(layer.thresholds, layer.high)
    assert scale is not None
    factor, offset = scale.factors[neuron], scale.offsets[neuron]
    out, low, mask = layer.out_bits, scale.shift, (1 << layer.out_bits) - 1
    largest = ((1 << width) - 1) * factor
    product = max(1, largest.bit_length())
    # As wide as need be and no wider: where a sign stands twice, Yosys 0.70 packs the sum into the
    # DSP and loses the second one.
    size = max(abs(offset), abs(largest + offset)).bit_length() + 1
    size = max(size, low + 2)
    operand = f"{{{size - product}'d0, product}}" if size > product else f"product[{size - 1}:0]"
    top = min(size - 1, low + out)
    shown = f"scaled[{top - 1}:{low}]"
    if top < low + out:
        shown = f"{{{low + out - top}'d0, {shown}}}"
    over = f"|scaled[{size - 2}:{low + out}]" if size - 2 >= low + out else "1'b0"
    module.lines += [
        f"    wire [{FACTOR_BITS - 1}:0] factor = {FACTOR_BITS}'d{factor};",
        f'    (* use_dsp = "yes" *) reg [{product - 1}:0] product;',
        f'    (* use_dsp = "yes" *) reg [{size - 1}:0] scaled;',
        "    always @(posedge clk) begin",
        f"        product <= {source} * factor;",
        f"        scaled <= {operand} + {size}'d{offset & ((1 << size) - 1)};",
        "    end",
        f"    wire under = scaled[{size - 1}];",
        f"    wire over = {over};",
        (
            f"    assign code = under ? {out}'d{sign_bits(layer)} : "
            f"over ? {out}'d{mask ^ sign_bits(layer)} : {shown} ^ {out}'d{sign_bits(layer)};"
        ),
    ]


def _search(
    module: Module, layer: Layer, rows: list[np.ndarray | None], width: int, source: str
) -> None:
    """Binary search, highest bit first: stage s compares with one of 2^s thresholds.

    While a stage compares, both thresholds that the next one may need are looked up, so that a
    large table of thresholds and a carry chain never stand on one path.
    """
    out, bits, lines = layer.out_bits, phase_bits(len(rows)), module.lines
    previous, found, phase = source, "", "tail_phase"
    at_phase = [f"{phase}[{bit}]" for bit in range(bits)]
    lines.append(f"    wire [{width}:0] bound0 = {_bounds(module, rows, at_phase, width, out, 0)};")
    for stage in range(out):
        if stage:
            lines.append(
                f"    wire [{width}:0] bound{stage} = {found}[0] ? above{stage} : below{stage};"
            )
        lines.append(f"    wire hit{stage} = {{1'b0, {previous}}} >= bound{stage};")
        found_next = f"{found}, hit{stage}" if stage else f"hit{stage}"
        if stage == out - 1:
            flip = f" ^ {out}'d{sign_bits(layer)}" if sign_bits(layer) else ""
            lines.append(f"    assign code = {{{found_next}}}{flip};")
            break
        known = [f"{found}[{bit}]" for bit in range(stage)]
        known += [f"{phase}[{bit}]" for bit in range(bits)]
        for hit, name in enumerate(("below", "above")):
            bound = _bounds(module, rows, known, width, out, stage + 1, hit)
            lines += [
                f"    reg [{width}:0] {name}{stage + 1};",
                f"    always @(posedge clk) {name}{stage + 1} <= {bound};",
            ]
        lines += [
            f"    reg [{width - 1}:0] sum{stage};",
            f"    reg [{stage}:0] found{stage};",
            (
                f"    always @(posedge clk) begin sum{stage} <= {previous}; "
                f"found{stage} <= {{{found_next}}}; end"
            ),
        ]
        if bits:
            lines += [
                f"    reg [{bits - 1}:0] phase{stage};",
                f"    always @(posedge clk) phase{stage} <= {phase};",
            ]
        previous, found, phase = f"sum{stage}", f"found{stage}", f"phase{stage}"


def _bounds(
    module: Module,
    rows: list[np.ndarray | None],
    inputs: list[str],
    width: int,
    out_bits: int,
    stage: int,
    hit: int = 0,
) -> str:
    """Return the thresholds of ``stage`` as a vector looked up by ``inputs``.

    ``inputs`` are the bits found before the last one, the latest lowest, then the phase; ``hit``
    is the last one found.
    """
    step = 1 << (out_bits - 1 - stage)
    prefixes = range(hit, 1 << stage, 2) if stage else range(1)
    bounds = [
        0 if row is None else int(row[prefix * 2 * step + step - 1])
        for row in rows
        for prefix in prefixes
    ]
    return concatenate(
        [
            table_bit(module, inputs, [value >> bit & 1 for value in bounds])
            for bit in range(width + 1)
        ]
    )
