"""The core: input beats, the chain of layers, credits, results that wait to be fetched."""

from __future__ import annotations

from collections.abc import Sequence

from qpolicy_fpga.emit.layer import LayerHardware
from qpolicy_fpga.emit.timing import Core
from qpolicy_fpga.plan.layer import Layer


def emit_core(layers: Sequence[Layer], hardware: Sequence[LayerHardware], core: Core) -> str:
    """Return module ``qpolicy_core``."""
    bits, inputs = layers[0].code_bits, layers[0].inputs
    bus, result = core.codes_per_beat * bits, layers[-1].neurons * layers[-1].out_bits
    lines = [
        "// The policy from input codes to output codes. Frames flow through without ever being",
        "// held up: a frame is accepted only if there is room for its result.",
        "module qpolicy_core (",
        "    input  wire clk,",
        "    input  wire rst,",
        f"    input  wire [{bus - 1}:0] s_data,",
        "    input  wire s_valid,",
        "    output wire s_ready,",
        f"    output wire [{result - 1}:0] m_data,",
        "    output wire m_valid,",
        "    input  wire m_ready",
        ");",
        *_admission(core),
        *_capture(core, bus, bits, inputs),
    ]
    source, load = "codes", "load0"
    for index, layout in enumerate(hardware):
        if layout.steps == 1 and layout.chunks == 1 and not (index == 0 and core.direct):
            # A layer of one step takes its codes in the cycle in which they are there.
            lines += [
                f"    reg there{index};",
                f"    always @(posedge clk) there{index} <= ~rst & {load};",
            ]
            load = f"there{index}"
        lines += [
            f"    wire [{layout.codes - 1}:0] result{index};",
            f"    wire load{index + 1};",
            (
                f"    {layout.name} layer{index} (.clk(clk), .rst(rst), .load({load}), "
                f".codes({source}), .result(result{index}), .last(load{index + 1}));"
            ),
        ]
        source, load = f"result{index}", f"load{index + 1}"
    lines += [
        "    reg done;",
        f"    always @(posedge clk) done <= ~rst & {load};",
        (
            f"    qpolicy_results #(.WIDTH({result}), "
            f".INDEX_BITS({(core.credits - 1).bit_length()})) results ("
        ),
        "        .clk(clk), .rst(rst),",
        f"        .s_data({source}), .s_valid(done),",
        "        .m_data(m_data), .m_valid(m_valid), .m_ready(m_ready)",
        "    );",
        "endmodule",
        "",
    ]
    return "\n".join(lines)


def _admission(core: Core) -> list[str]:
    """Lines that say when a beat is accepted."""
    credit_bits = core.credits.bit_length()
    lines = [
        "    wire accept = s_valid & s_ready;",
        "    wire fetched = m_valid & m_ready;",
    ]
    if core.beats > 1:
        beat_bits = (core.beats - 1).bit_length()
        zero = f"{beat_bits}'d0"
        lines += [
            f"    reg [{beat_bits - 1}:0] beat;",
            f"    wire first_beat = beat == {zero};",
            f"    wire last_beat = beat == {beat_bits}'d{core.beats - 1};",
            "    always @(posedge clk) begin",
            f"        if (rst) beat <= {zero};",
            f"        else if (accept) beat <= last_beat ? {zero} : beat + {beat_bits}'d1;",
            "    end",
        ]
    else:
        lines.append("    wire first_beat = 1'b1;")
        if core.gap > 1:
            lines.append("    wire last_beat = 1'b1;")
    lines += [
        f"    reg [{credit_bits - 1}:0] credit;",
        "    wire take = accept & first_beat;",
        "    always @(posedge clk) begin",
        f"        if (rst) credit <= {credit_bits}'d{core.credits};",
        f"        else if (take & ~fetched) credit <= credit - {credit_bits}'d1;",
        f"        else if (fetched & ~take) credit <= credit + {credit_bits}'d1;",
        "    end",
    ]
    idle = "1'b1"
    if core.gap > 1:
        wait_bits = (core.gap - 1).bit_length()
        zero = f"{wait_bits}'d0"
        lines += [
            "    // Cycles until the registers of the last frame may be overwritten.",
            f"    reg [{wait_bits - 1}:0] wait_count;",
            "    always @(posedge clk) begin",
            f"        if (rst) wait_count <= {zero};",
            f"        else if (accept & last_beat) wait_count <= {wait_bits}'d{core.gap - 1};",
            f"        else if (wait_count != {zero}) wait_count <= wait_count - {wait_bits}'d1;",
            "    end",
        ]
        idle = f"(wait_count == {zero})"
    room = f"(credit != {credit_bits}'d0)"
    gate = f"{idle} & {room}" if core.gap > 1 else room
    if core.beats > 1:
        gate = f"~first_beat | ({gate})"
    return [*lines, f"    assign s_ready = {gate};"]


def _capture(core: Core, bus: int, bits: int, inputs: int) -> list[str]:
    """Lines that collect the beats of a frame."""
    if core.direct:
        return [f"    wire [{bus - 1}:0] codes = s_data;", "    wire load0 = accept;"]
    width = inputs * bits
    lines = [
        f"    reg [{width - 1}:0] codes;",
        "    wire load0 = accept & last_beat;" if core.beats > 1 else "    wire load0 = accept;",
        "    always @(posedge clk) begin",
    ]
    if core.beats == 1:
        lines.append("        if (accept) codes <= s_data;")
    else:
        beat_bits = (core.beats - 1).bit_length()
        for beat in range(core.beats):
            low, high = beat * bus, min((beat + 1) * bus, width)
            lines += [
                f"        if (accept & (beat == {beat_bits}'d{beat}))",
                f"            codes[{high - 1}:{low}] <= s_data[{high - low - 1}:0];",
            ]
    return [*lines, "    end"]


RESULTS_SOURCE = """\
// Results that wait. One is shown from a register; what comes while that is taken is kept in a
// ring, the oldest shown next. There is always room, as no frame is accepted without a credit.
module qpolicy_results #(
    parameter WIDTH = 8,
    parameter INDEX_BITS = 1
) (
    input  wire             clk,
    input  wire             rst,
    input  wire [WIDTH-1:0] s_data,
    input  wire             s_valid,
    output wire [WIDTH-1:0] m_data,
    output wire             m_valid,
    input  wire             m_ready
);
    reg [WIDTH-1:0] kept [0:(1<<INDEX_BITS)-1];
    reg [INDEX_BITS-1:0] oldest;
    reg [INDEX_BITS-1:0] place;
    reg waiting;
    reg [WIDTH-1:0] shown;
    reg valid;
    wire room = ~valid | m_ready;
    wire keep = s_valid & (waiting | ~room);
    wire fetch = waiting & room;
    wire [INDEX_BITS-1:0] after = oldest + 1'b1;

    assign m_valid = valid;
    assign m_data = shown;

    always @(posedge clk) begin
        if (room) shown <= waiting ? kept[oldest] : s_data;
        if (keep) kept[place] <= s_data;
        if (rst) valid <= 1'b0;
        else if (room) valid <= waiting | s_valid;
        if (rst) place <= {INDEX_BITS{1'b0}};
        else if (keep) place <= place + 1'b1;
        if (rst) oldest <= {INDEX_BITS{1'b0}};
        else if (fetch) oldest <= after;
        if (rst) waiting <= 1'b0;
        else if (keep & ~fetch) waiting <= 1'b1;
        else if (fetch & ~keep) waiting <= after != place;
    end
endmodule
"""
