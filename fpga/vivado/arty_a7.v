// Arty A7: 100 MHz clock, reset button, USB serial port, one light while a request is served.
`default_nettype none
module arty_a7 (
    input  wire CLK100MHZ,
    input  wire ck_rst,        // low while the red button is pressed
    input  wire uart_txd_in,   // from the USB adapter
    output wire uart_rxd_out,  // to the USB adapter
    output wire led
);
    // The button is asynchronous: two registers on release.
    reg [1:0] reset;
    always @(posedge CLK100MHZ or negedge ck_rst)
        if (!ck_rst)
            reset <= 2'b11;
        else
            reset <= {reset[0], 1'b0};

    qpolicy_uart_top #(
        .CLKS_PER_BIT(100), .BYTE_LIMIT(2000000), .CORE_LIMIT(1000000)
    ) controller (
        .clk(CLK100MHZ), .rst(reset[1]), .rx(uart_txd_in), .tx(uart_rxd_out), .active(led)
    );
endmodule
`default_nettype wire
