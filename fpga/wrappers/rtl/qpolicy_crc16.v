// CRC-16/IBM-3740 ("CCITT-FALSE"): polynomial 0x1021, start 0xFFFF, highest bit first; one byte.
`default_nettype none
module qpolicy_crc16 (
    input  wire [15:0] crc,
    input  wire [7:0]  data,
    output reg  [15:0] next
);
    integer i;
    always @* begin
        next = crc ^ {data, 8'd0};
        for (i = 0; i < 8; i = i + 1)
            next = {next[14:0], 1'b0} ^ (next[15] ? 16'h1021 : 16'h0000);
    end
endmodule
`default_nettype wire
