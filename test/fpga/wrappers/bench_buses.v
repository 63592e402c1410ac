// Three designs side by side, so that one compilation serves all: the timeout block before the
// AXI4-Lite wrapper, with an error response (s_axi) and as the board design has it (q_axi), and the
// AXI4-Stream wrapper.
`default_nettype none
module bench_buses (
    input  wire        aclk,
    input  wire        aresetn,
    input  wire        mute,
    input  wire [11:0] s_axi_awaddr,
    input  wire [2:0]  s_axi_awprot,
    input  wire        s_axi_awvalid,
    output wire        s_axi_awready,
    input  wire [31:0] s_axi_wdata,
    input  wire [3:0]  s_axi_wstrb,
    input  wire        s_axi_wvalid,
    output wire        s_axi_wready,
    output wire [1:0]  s_axi_bresp,
    output wire        s_axi_bvalid,
    input  wire        s_axi_bready,
    input  wire [11:0] s_axi_araddr,
    input  wire [2:0]  s_axi_arprot,
    input  wire        s_axi_arvalid,
    output wire        s_axi_arready,
    output wire [31:0] s_axi_rdata,
    output wire [1:0]  s_axi_rresp,
    output wire        s_axi_rvalid,
    input  wire        s_axi_rready,
    input  wire [11:0] q_axi_awaddr,
    input  wire [2:0]  q_axi_awprot,
    input  wire        q_axi_awvalid,
    output wire        q_axi_awready,
    input  wire [31:0] q_axi_wdata,
    input  wire [3:0]  q_axi_wstrb,
    input  wire        q_axi_wvalid,
    output wire        q_axi_wready,
    output wire [1:0]  q_axi_bresp,
    output wire        q_axi_bvalid,
    input  wire        q_axi_bready,
    input  wire [11:0] q_axi_araddr,
    input  wire [2:0]  q_axi_arprot,
    input  wire        q_axi_arvalid,
    output wire        q_axi_arready,
    output wire [31:0] q_axi_rdata,
    output wire [1:0]  q_axi_rresp,
    output wire        q_axi_rvalid,
    input  wire        q_axi_rready,
    output wire        irq,
    output wire        timed_out,
    output wire        q_timed_out,
    input  wire [8*((`CODES_PER_BEAT*`B_IN+7)/8)-1:0] s_axis_tdata,
    input  wire        s_axis_tvalid,
    output wire        s_axis_tready,
    input  wire        s_axis_tlast,
    output wire [8*((`M*`B_OUT+7)/8)-1:0] m_axis_tdata,
    output wire        m_axis_tvalid,
    input  wire        m_axis_tready,
    output wire        m_axis_tlast,
    output wire [31:0] malformed
);
    board_bus #(.RESPONSE(2'b10)) errors (
        .s_axi_aclk(aclk), .s_axi_aresetn(aresetn),
        .s_axi_awaddr(s_axi_awaddr), .s_axi_awprot(s_axi_awprot),
        .s_axi_awvalid(s_axi_awvalid), .s_axi_awready(s_axi_awready),
        .s_axi_wdata(s_axi_wdata), .s_axi_wstrb(s_axi_wstrb),
        .s_axi_wvalid(s_axi_wvalid), .s_axi_wready(s_axi_wready),
        .s_axi_bresp(s_axi_bresp), .s_axi_bvalid(s_axi_bvalid),
        .s_axi_bready(s_axi_bready), .s_axi_araddr(s_axi_araddr),
        .s_axi_arprot(s_axi_arprot), .s_axi_arvalid(s_axi_arvalid),
        .s_axi_arready(s_axi_arready), .s_axi_rdata(s_axi_rdata),
        .s_axi_rresp(s_axi_rresp), .s_axi_rvalid(s_axi_rvalid),
        .s_axi_rready(s_axi_rready),
        .irq(irq), .mute(mute), .timed_out(timed_out)
    );

    board_bus #(.RESPONSE(2'b00)) quiet (
        .s_axi_aclk(aclk), .s_axi_aresetn(aresetn),
        .s_axi_awaddr(q_axi_awaddr), .s_axi_awprot(q_axi_awprot),
        .s_axi_awvalid(q_axi_awvalid), .s_axi_awready(q_axi_awready),
        .s_axi_wdata(q_axi_wdata), .s_axi_wstrb(q_axi_wstrb),
        .s_axi_wvalid(q_axi_wvalid), .s_axi_wready(q_axi_wready),
        .s_axi_bresp(q_axi_bresp), .s_axi_bvalid(q_axi_bvalid),
        .s_axi_bready(q_axi_bready), .s_axi_araddr(q_axi_araddr),
        .s_axi_arprot(q_axi_arprot), .s_axi_arvalid(q_axi_arvalid),
        .s_axi_arready(q_axi_arready), .s_axi_rdata(q_axi_rdata),
        .s_axi_rresp(q_axi_rresp), .s_axi_rvalid(q_axi_rvalid),
        .s_axi_rready(q_axi_rready),
        .irq(), .mute(mute), .timed_out(q_timed_out)
    );

    qpolicy_axi_stream #(
        .N(`N), .B_IN(`B_IN), .CODES_PER_BEAT(`CODES_PER_BEAT), .BEATS(`BEATS), .M(`M),
        .B_OUT(`B_OUT), .FUNCTION_HASH(128'd0)
    ) stream (
        .aclk(aclk), .aresetn(aresetn),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid),
        .s_axis_tready(s_axis_tready), .s_axis_tlast(s_axis_tlast),
        .m_axis_tdata(m_axis_tdata), .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tready(m_axis_tready), .m_axis_tlast(m_axis_tlast),
        .malformed(malformed), .function_hash()
    );
endmodule
`default_nettype wire
