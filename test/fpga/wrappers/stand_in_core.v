// A core for tests of the wrappers: output j = low bits of (sum of all input codes + j), signed,
// LATENCY + 1 cycles after the last beat.
`default_nettype none
module qpolicy_core (
    input  wire                          clk,
    input  wire                          rst,
    input  wire [`CODES_PER_BEAT*`B_IN-1:0] s_data,
    input  wire                          s_valid,
    output wire                          s_ready,
    output reg  [`M*`B_OUT-1:0]          m_data,
    output wire                          m_valid,
    input  wire                          m_ready
);
    reg signed [31:0] sum;
    reg [15:0] beat;
    reg [15:0] wait_count;
    reg computing;
    reg valid;
    integer i;
    reg signed [31:0] add;
    reg [`B_IN-1:0] code;
    always @* begin
        add = 0;
        for (i = 0; i < `CODES_PER_BEAT; i = i + 1) begin
            code = s_data[i*`B_IN +: `B_IN];
            if (beat * `CODES_PER_BEAT + i < `N)
                add = add + {{(32-`B_IN){code[`B_IN-1]}}, code};
        end
    end
    assign s_ready = !computing && !valid;
    assign m_valid = valid;
    always @(posedge clk) begin
        if (s_valid && s_ready) begin
            sum <= (beat == 0 ? 0 : sum) + add;
            beat <= beat + 1;
            if (beat == `BEATS - 1) begin
                beat <= 0;
                computing <= 1;
                wait_count <= 1;
            end
        end
        if (computing) begin
            wait_count <= wait_count + 1;
            if (wait_count == `LATENCY) begin
                computing <= 0;
                valid <= 1;
                for (i = 0; i < `M; i = i + 1)
                    m_data[i*`B_OUT +: `B_OUT] <= sum[`B_OUT-1:0] + i[`B_OUT-1:0];
            end
        end
        if (valid && m_ready) valid <= 0;
        if (rst) begin
            beat <= 0; computing <= 0; valid <= 0;
        end
    end
endmodule
`default_nettype wire
