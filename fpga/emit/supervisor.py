"""The supervisor in fabric: counts input codes that the policy never saw, value by value."""

from __future__ import annotations

import numpy as np

from qpolicy_ros.policy.seen import SeenCodes, ranges_id

MODULE = "qpolicy_supervisor"

_SOURCE = """\
// Counts input codes that the policy never saw in its episodes, value by value.
//
// Generated: ranges {ranges:08x}, the lowest and highest code of each value. It looks at every beat
// that the core takes. When an observation's last beat has come with such a code in any of them,
// it goes through the values, two cycles each: their counters and flags are small memories.
`default_nettype none
module {module} (
    input  wire                  clk,
    input  wire                  rst,
    input  wire                  stop,    // the core forgets the observation that is under way
    input  wire                  forget,  // clear all counts and flags
    // what the core takes
    input  wire [{beat_bits:d}-1:0]{pad}data,
    input  wire [{beat_w:d}-1:0]{beat_pad}beat,
    input  wire                  taken,
    output wire                  settled, // all is counted: another observation may begin
    // what has been counted
    input  wire [15:0]           value,
    output reg  [31:0]           observations, // with at least one such code; stops at the top
    output wire [31:0]           count,   // those in which it was `value`; stops at the top
    output wire [31:0]           flags    // of the 32 values around `value`: whether it ever was
);
    localparam N      = {n};
    localparam B_IN   = {b_in};
    localparam CODES  = {codes};  // a beat
    localparam BEATS  = {beats};
    localparam BEAT_W = {beat_w};
    localparam AT_W   = {at_w};   // width of a value's number
    localparam LANE_W = {lane_w};   // width of its number within a beat
    localparam WORDS  = {words};  // of flags
    localparam WORD_W = {word_w};
    localparam [1:0] IDLE = 2'd0, COUNT = 2'd1, CLEAR = 2'd2;

    // The ranges of the beat that comes. A code beyond the last value is never outside.
{ranges_by_beat}

    // Which codes of the beat are outside.
    wire [CODES-1:0] outside;
    genvar lane;
    generate
        for (lane = 0; lane < CODES; lane = lane + 1) begin : lanes
            wire signed [B_IN-1:0] code = data[lane*B_IN +: B_IN];
            wire signed [B_IN-1:0] low  = lowest[lane*B_IN +: B_IN];
            wire signed [B_IN-1:0] high = highest[lane*B_IN +: B_IN];
            assign outside[lane] = code < low || code > high;
        end
    endgenerate

    // The same, a cycle later, kept until they are counted.
    reg [CODES-1:0]  found;
    reg [BEAT_W-1:0] found_beat;
    reg              found_valid;
    reg              found_last;
    reg              any;              // in an earlier beat of this observation
    reg [CODES-1:0]  waiting [0:BEATS-1];

    // Counters and flags, and the value that is being counted.
    reg [1:0]        state;
    reg              clearing;         // wanted: begins between two observations
    reg              under_way;        // an observation's first beat has come, its last has not
    reg [31:0]       counts [0:N-1];
    reg [31:0]       sticky [0:WORDS-1];
    reg [AT_W-1:0]   at;
    reg [LANE_W-1:0] at_lane;
    reg [BEAT_W-1:0] at_beat;

    wire             first    = beat == {{BEAT_W{{1'b0}}}};
    wire             last     = beat == {beat_w}'d{last_beat};
    wire [CODES-1:0] row      = waiting[at_beat];
    wire             is_out   = row[at_lane] && state == COUNT;
    wire             clears   = state == CLEAR;
    wire [WORD_W-1:0] at_word = {at_word};
    wire [4:0]       at_bit   = {at_bit};
    // Read in one cycle, written in the next.
    reg              writes;
    reg              was_out;
    reg [31:0]       old_count;
    reg [31:0]       old_flags;
    wire [31:0]      new_count = clears ? 32'd0 : old_count + {{31'd0, was_out && ~&old_count}};
    wire [31:0]      new_flags = clears ? 32'd0 : old_flags | ({{31'd0, was_out}} << at_bit);

    assign settled = state == IDLE && !(found_valid && found_last) && (under_way || !clearing);

    always @(posedge clk) begin
        found       <= outside;
        found_beat  <= beat;
        found_valid <= taken;
        found_last  <= last;
        if (taken)
            under_way <= !last;
        if (found_valid) begin
            waiting[found_beat] <= found;
            any <= !found_last && (any || found != {{CODES{{1'b0}}}});
        end
        if (taken && first)
            any <= 1'b0;
        writes    <= state != IDLE && !writes;
        was_out   <= is_out;
        old_count <= counts[at];
        old_flags <= sticky[at_word];
        if (state != IDLE && writes) begin
            counts[at]      <= new_count;
            sticky[at_word] <= new_flags;
            at      <= at + 1'b1;
            at_lane <= at_lane + 1'b1;
            if (at_lane == {lane_w}'d{last_lane}) begin
                at_lane <= {{LANE_W{{1'b0}}}};
                at_beat <= at_beat + 1'b1;
            end
            if (at == {at_w}'d{last_value}) begin
                at      <= {{AT_W{{1'b0}}}};
                at_lane <= {{LANE_W{{1'b0}}}};
                at_beat <= {{BEAT_W{{1'b0}}}};
                state   <= IDLE;
            end
        end
        if (state == IDLE && found_valid && found_last) begin
            if (any || found != {{CODES{{1'b0}}}}) begin
                state        <= COUNT;
                observations <= observations + {{31'd0, ~&observations}};
            end
        end else if (state == IDLE && clearing && !under_way && !taken) begin
            state        <= CLEAR;
            clearing     <= 1'b0;
            observations <= 32'd0;
        end
        if (forget)
            clearing <= 1'b1;
        if (stop)
            under_way <= 1'b0;
        if (rst) begin
            state       <= IDLE;
            clearing    <= 1'b1;
            found_valid <= 1'b0;
            writes      <= 1'b0;
            at          <= {{AT_W{{1'b0}}}};
            at_lane     <= {{LANE_W{{1'b0}}}};
            at_beat     <= {{BEAT_W{{1'b0}}}};
        end
    end

    wire known = value < N[15:0];
    assign count = known ? counts[value[AT_W-1:0]] : 32'd0;
    assign flags = known ? sticky[{value_word}] : 32'd0;

    // verilator lint_off UNUSEDSIGNAL
    wire unused = &{{1'b0, value}};
    // verilator lint_on UNUSEDSIGNAL
endmodule
`default_nettype wire
"""


def emit_supervisor(seen: SeenCodes, b_in: int, codes_per_beat: int) -> str:
    """Return the Verilog of the supervisor of one policy.

    Args:
        seen: the codes that the policy saw.
        b_in: bits of an input code.
        codes_per_beat: codes that the core takes at once.
    """
    n = len(seen.low)
    beats = -(-n // codes_per_beat)
    last_value, last_lane = n - 1, codes_per_beat - 1
    ends = (last_value, last_lane, beats - 1)
    at_w, lane_w, beat_w = (max(1, end.bit_length()) for end in ends)
    words = -(-n // 32)
    word_w = max(1, (words - 1).bit_length())
    at_bit = "at[4:0]" if at_w >= 5 else f"{{{5 - at_w}'d0, at}}"
    return _SOURCE.format(
        module=MODULE,
        ranges=ranges_id(seen),
        n=n,
        b_in=b_in,
        codes=codes_per_beat,
        beats=beats,
        beat_bits=codes_per_beat * b_in,
        pad=" " * (14 - len(str(codes_per_beat * b_in))),
        beat_w=beat_w,
        beat_pad=" " * (14 - len(str(beat_w))),
        at_w=at_w,
        lane_w=lane_w,
        words=words,
        word_w=word_w,
        last_beat=beats - 1,
        last_lane=last_lane,
        last_value=last_value,
        at_word=f"at[{at_w - 1}:5]" if words > 1 else f"{word_w}'d0",
        at_bit=at_bit,
        value_word=f"value[{word_w + 4}:5]" if words > 1 else f"{word_w}'d0",
        ranges_by_beat="\n".join(_ranges(seen, b_in, codes_per_beat, beat_w)),
    )


def _ranges(seen: SeenCodes, b_in: int, codes: int, beat_w: int) -> list[str]:
    """The lines that give a beat's ranges; what is beyond the last value may be anything."""
    n = len(seen.low)
    beats = -(-n // codes)
    ends = []
    for given, beyond in ((seen.low, -(1 << (b_in - 1))), (seen.high, (1 << (b_in - 1)) - 1)):
        padded = np.concatenate([given, np.full(beats * codes - n, beyond, given.dtype)])
        ends.append(padded.reshape(beats, codes))

    def packed(row: np.ndarray) -> str:
        bits = sum((int(code) & ((1 << b_in) - 1)) << (b_in * at) for at, code in enumerate(row))
        return f"{codes * b_in}'h{bits:x}"

    rows = list(zip(*([packed(row) for row in end] for end in ends), strict=True))
    wide = "[CODES*B_IN-1:0]"
    if beats == 1:
        pair = zip(("lowest ", "highest"), rows[0], strict=True)
        return [f"    wire {wide} {name} = {row};" for name, row in pair]
    lines = [f"    reg {wide} lowest, highest;", "    always @*", "        case (beat)"]
    for beat, (low, high) in enumerate(rows):
        chosen = f"{beat_w}'d{beat}" if beat < beats - 1 else "default"
        lines.append(f"            {chosen}: begin")
        lines += [f"                lowest  = {low};", f"                highest = {high};"]
        lines.append("            end")
    return [*lines, "        endcase"]
