// Receives bytes, 8 bits, no parity, one stop bit; samples each bit in its middle.
`default_nettype none
module qpolicy_uart_rx #(
    parameter CLKS_PER_BIT = 100  // at least 4
) (
    input  wire       clk,
    input  wire       rst,
    input  wire       rx,      // asynchronous
    output reg  [7:0] data,
    output reg        valid,   // one cycle a good byte
    output reg        broken   // one cycle where the stop bit is missing
);
    localparam W    = $clog2(CLKS_PER_BIT);
    localparam FULL = CLKS_PER_BIT - 1;
    localparam HALF = CLKS_PER_BIT / 2 - 1;

    reg [1:0]   sync;
    reg [W-1:0] count;
    reg [3:0]   left;      // bits to come, with the stop bit
    reg         starting;  // within the start bit
    wire        line = sync[1];
    wire        idle = left == 4'd0 && !starting;

    always @(posedge clk) begin
        sync   <= {sync[0], rx};
        valid  <= 1'b0;
        broken <= 1'b0;
        count  <= count - 1'b1;
        if (idle) begin
            count    <= HALF[W-1:0];
            starting <= !line;
        end else if (count == {W{1'b0}}) begin
            count <= FULL[W-1:0];
            if (starting) begin
                starting <= 1'b0;
                left     <= line ? 4'd0 : 4'd9;  // a glitch is no start bit
            end else begin
                left <= left - 4'd1;
                if (left == 4'd1) begin
                    valid  <= line;
                    broken <= !line;
                end else
                    data <= {line, data[7:1]};
            end
        end
        if (rst) begin
            sync     <= 2'b11;
            left     <= 4'd0;
            starting <= 1'b0;
            valid    <= 1'b0;
            broken   <= 1'b0;
        end
    end
endmodule
`default_nettype wire
