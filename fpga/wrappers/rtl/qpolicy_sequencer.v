// Runs one inference: sends the stored beats to the core, takes its answer, counts the cycles.
//
// `cycles` is the number of clock cycles from the one in which the core accepts the first beat to
// the one in which its output is valid. One observation is in flight at a time.
`default_nettype none
module qpolicy_sequencer #(
    parameter BEATS    = 1,
    parameter BEAT_W   = 1,   // width of a beat index
    parameter OUT_BITS = 8    // all output codes together
) (
    input  wire                clk,
    input  wire                rst,
    // control
    input  wire                start,    // ignored while busy
    output wire                busy,
    output reg                 done,     // one cycle, with `result` and `cycles` valid from here on
    output reg  [OUT_BITS-1:0] result,
    output reg  [31:0]         cycles,
    output reg  [BEAT_W-1:0]   beat,     // which stored beat is on its way to the core
    // core
    output wire                s_valid,
    input  wire                s_ready,
    input  wire [OUT_BITS-1:0] m_data,
    input  wire                m_valid,
    output wire                m_ready
);
    localparam LAST = BEATS - 1;

    reg        sending;
    reg        waiting;
    reg [31:0] count;

    assign busy    = sending | waiting;
    assign s_valid = sending;
    assign m_ready = busy;

    always @(posedge clk) begin
        done  <= 1'b0;
        count <= count + 32'd1;
        if (sending && s_ready) begin
            if (beat == {BEAT_W{1'b0}})
                count <= 32'd1;
            beat <= beat + 1'b1;
            if (beat == LAST[BEAT_W-1:0]) begin
                sending <= 1'b0;
                waiting <= 1'b1;
            end
        end
        if (busy && m_valid) begin
            result  <= m_data;
            cycles  <= count;
            done    <= 1'b1;
            waiting <= 1'b0;
        end
        if (start && !busy) begin
            sending <= 1'b1;
            beat    <= {BEAT_W{1'b0}};
        end
        if (rst) begin
            sending <= 1'b0;
            waiting <= 1'b0;
            done    <= 1'b0;
            beat    <= {BEAT_W{1'b0}};
            result  <= {OUT_BITS{1'b0}};
            cycles  <= 32'd0;
        end
    end
endmodule
`default_nettype wire
