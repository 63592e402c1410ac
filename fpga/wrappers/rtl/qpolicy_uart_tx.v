// Sends bytes, 8 bits, no parity, one stop bit.
`default_nettype none
module qpolicy_uart_tx #(
    parameter CLKS_PER_BIT = 100
) (
    input  wire       clk,
    input  wire       rst,
    input  wire [7:0] data,
    input  wire       valid,
    output wire       ready,
    output reg        tx
);
    localparam W    = $clog2(CLKS_PER_BIT);
    localparam FULL = CLKS_PER_BIT - 1;

    reg [W-1:0] count;
    reg [3:0]   left;   // bits to come, start and stop bit included
    reg [8:0]   shift;
    assign ready = left == 4'd0;

    always @(posedge clk) begin
        if (left == 4'd0) begin
            tx <= 1'b1;
            if (valid) begin
                tx    <= 1'b0;
                shift <= {1'b1, data};
                left  <= 4'd10;
                count <= FULL[W-1:0];
            end
        end else if (count == {W{1'b0}}) begin
            count <= FULL[W-1:0];
            left  <= left - 4'd1;
            tx    <= shift[0];
            shift <= {1'b1, shift[8:1]};
        end else
            count <= count - 1'b1;
        if (rst) begin
            left <= 4'd0;
            tx   <= 1'b1;
        end
    end
endmodule
`default_nettype wire
