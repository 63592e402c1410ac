// AXI4-Stream around the core: one frame of BEATS transfers in, one transfer out, an observation.
//
// Beats pass to the core at once, so observations follow each other at the core's own rate. A
// frame whose TLAST comes early is filled up with zeros and one whose TLAST comes late is cut, so
// that the next frame starts where it should; the action of such a frame is thrown away and
// `malformed` counts it.
`default_nettype none
module qpolicy_axi_stream #(
    parameter         N              = 1,
    parameter         B_IN           = 8,
    parameter         CODES_PER_BEAT = 1,
    parameter         BEATS          = 1,
    parameter         M              = 1,
    parameter         B_OUT          = 8,
    parameter [127:0] FUNCTION_HASH  = 128'd0,
    parameter         IN_FLIGHT      = 16,  // observations within the core, at most; a power of two
    parameter         IN_WIDTH       = 8 * ((CODES_PER_BEAT * B_IN + 7) / 8),
    parameter         OUT_WIDTH      = 8 * ((M * B_OUT + 7) / 8)
) (
    input  wire                 aclk,
    input  wire                 aresetn,
    // input codes, packed from bit 0 of each transfer on
    input  wire [IN_WIDTH-1:0]  s_axis_tdata,
    input  wire                 s_axis_tvalid,
    output wire                 s_axis_tready,
    input  wire                 s_axis_tlast,
    // output codes, packed
    output wire [OUT_WIDTH-1:0] m_axis_tdata,
    output wire                 m_axis_tvalid,
    input  wire                 m_axis_tready,
    output wire                 m_axis_tlast,
    // status
    output reg  [31:0]          malformed,
    output wire [127:0]         function_hash
);
    localparam BEAT_BITS = CODES_PER_BEAT * B_IN;
    localparam OUT_BITS  = M * B_OUT;
    localparam BEAT_W    = BEATS > 1 ? $clog2(BEATS) : 1;
    localparam LAST      = BEATS - 1;
    localparam SLOT_W    = $clog2(IN_FLIGHT);
    localparam [1:0] PASS = 2'd0, FILL = 2'd1, DROP = 2'd2;

    wire clk = aclk;
    wire rst = ~aresetn;
    assign function_hash = FUNCTION_HASH;

    reg  [1:0]        state;
    reg  [BEAT_W-1:0] beat;
    wire              at_last = beat == LAST[BEAT_W-1:0];

    // Which observations in flight came from a malformed frame.
    reg               bad [0:IN_FLIGHT-1];
    reg  [SLOT_W:0]   sent;
    reg  [SLOT_W:0]   answered;
    wire [SLOT_W:0]   in_flight = sent - answered;
    wire              full      = in_flight == IN_FLIGHT[SLOT_W:0];
    wire              drop      = bad[answered[SLOT_W-1:0]];

    wire                s_ready, m_valid;
    wire [OUT_BITS-1:0] m_data;
    wire                s_valid  = !full && ((state == PASS && s_axis_tvalid) || state == FILL);
    wire                s_taken  = s_valid && s_ready;
    wire                m_ready  = drop || m_axis_tready;
    wire                mismatch = state == FILL || s_axis_tlast != at_last;
    assign s_axis_tready = state == DROP || (state == PASS && !full && s_ready);
    assign m_axis_tvalid = m_valid && !drop;
    assign m_axis_tlast  = 1'b1;

    generate
        if (OUT_WIDTH > OUT_BITS) begin : pad
            assign m_axis_tdata = {{(OUT_WIDTH-OUT_BITS){1'b0}}, m_data};
        end else begin : no_pad
            assign m_axis_tdata = m_data;
        end
    endgenerate

    always @(posedge clk) begin
        if (s_taken) begin
            beat <= beat + 1'b1;
            if (at_last) begin
                beat                    <= {BEAT_W{1'b0}};
                bad[sent[SLOT_W-1:0]]   <= mismatch;
                sent                    <= sent + 1'b1;
                malformed               <= malformed + {31'd0, mismatch};
                state                   <= state == PASS && !s_axis_tlast ? DROP : PASS;
            end else if (state == PASS && s_axis_tlast)
                state <= FILL;
        end
        if (state == DROP && s_axis_tvalid && s_axis_tlast)
            state <= PASS;
        if (m_valid && m_ready)
            answered <= answered + 1'b1;
        if (rst) begin
            state     <= PASS;
            beat      <= {BEAT_W{1'b0}};
            sent      <= {(SLOT_W+1){1'b0}};
            answered  <= {(SLOT_W+1){1'b0}};
            malformed <= 32'd0;
        end
    end

    qpolicy_core core (
        .clk(clk), .rst(rst),
        .s_data(state == FILL ? {BEAT_BITS{1'b0}} : s_axis_tdata[BEAT_BITS-1:0]),
        .s_valid(s_valid), .s_ready(s_ready),
        .m_data(m_data), .m_valid(m_valid), .m_ready(m_ready)
    );

    // verilator lint_off UNUSEDSIGNAL
    wire unused = &{1'b0, s_axis_tdata, N[0]};
    // verilator lint_on UNUSEDSIGNAL
endmodule
`default_nettype wire
