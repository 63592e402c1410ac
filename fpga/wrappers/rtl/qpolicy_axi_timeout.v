// Stands between an AXI4-Lite master and a slave that may fall silent, and answers in its place.
//
// An access that the slave has not answered after LIMIT cycles is answered with RESPONSE (a read
// with POISON as its data). From then on further accesses of that direction are answered so at
// once, until the slave's late answer has come and been thrown away: AXI allows no one to take
// back a request. One access of each direction is under way at a time.
//
// With RESPONSE OKAY no error response passes at all, not the slave's own either: its registers
// tell of a refusal. A write that was answered in its place is told by the next read, which gets
// POISON.
`default_nettype none
module qpolicy_axi_timeout #(
    parameter        LIMIT    = 1024,          // cycles, below 65536
    parameter [1:0]  RESPONSE = 2'b10,         // SLVERR; 2'b00 where an error kills the processor
    parameter [31:0] POISON   = 32'hDEADBEEF
) (
    input  wire        aclk,
    input  wire        aresetn,
    // master's side
    input  wire [11:0] s_axi_awaddr,
    input  wire [2:0]  s_axi_awprot,
    input  wire        s_axi_awvalid,
    output wire        s_axi_awready,
    input  wire [31:0] s_axi_wdata,
    input  wire [3:0]  s_axi_wstrb,
    input  wire        s_axi_wvalid,
    output wire        s_axi_wready,
    output reg  [1:0]  s_axi_bresp,
    output reg         s_axi_bvalid,
    input  wire        s_axi_bready,
    input  wire [11:0] s_axi_araddr,
    input  wire [2:0]  s_axi_arprot,
    input  wire        s_axi_arvalid,
    output wire        s_axi_arready,
    output reg  [31:0] s_axi_rdata,
    output reg  [1:0]  s_axi_rresp,
    output reg         s_axi_rvalid,
    input  wire        s_axi_rready,
    // slave's side
    output reg  [11:0] m_axi_awaddr,
    output reg  [2:0]  m_axi_awprot,
    output reg         m_axi_awvalid,
    input  wire        m_axi_awready,
    output reg  [31:0] m_axi_wdata,
    output reg  [3:0]  m_axi_wstrb,
    output reg         m_axi_wvalid,
    input  wire        m_axi_wready,
    input  wire [1:0]  m_axi_bresp,
    input  wire        m_axi_bvalid,
    output wire        m_axi_bready,
    output reg  [11:0] m_axi_araddr,
    output reg  [2:0]  m_axi_arprot,
    output reg         m_axi_arvalid,
    input  wire        m_axi_arready,
    input  wire [31:0] m_axi_rdata,
    input  wire [1:0]  m_axi_rresp,
    input  wire        m_axi_rvalid,
    output wire        m_axi_rready,
    // high while the slave owes an answer beyond its time
    output wire        timed_out
);
    localparam [15:0] START = LIMIT - 1;
    localparam        QUIET = RESPONSE == 2'b00;

    wire rst = ~aresetn;

    // Read.
    reg         r_owed;   // the slave owes an answer
    reg         r_given;  // which the master has been given already
    reg  [15:0] r_left;
    wire        r_take = s_axi_arvalid && s_axi_arready;
    wire        r_late = r_owed && !r_given && r_left == 16'd0 && !m_axi_rvalid;
    reg         lost;     // a write of which the master does not know that it was
    assign s_axi_arready = !s_axi_rvalid && (!r_owed || r_given);
    assign m_axi_rready  = r_owed;

    always @(posedge aclk) begin
        if (s_axi_rready)
            s_axi_rvalid <= 1'b0;
        if (m_axi_arready)
            m_axi_arvalid <= 1'b0;
        r_left <= r_left - 16'd1;
        if (r_take && !r_owed && !lost) begin
            m_axi_araddr  <= s_axi_araddr;
            m_axi_arprot  <= s_axi_arprot;
            m_axi_arvalid <= 1'b1;
            r_owed        <= 1'b1;
            r_given       <= 1'b0;
            r_left        <= START;
        end
        if (r_owed && m_axi_rvalid) begin
            r_owed <= 1'b0;
            if (!r_given) begin
                s_axi_rvalid <= 1'b1;
                s_axi_rdata  <= m_axi_rdata;
                s_axi_rresp  <= QUIET ? 2'b00 : m_axi_rresp;
            end
        end
        if (r_late || (r_take && (r_owed || lost))) begin
            r_given      <= 1'b1;
            s_axi_rvalid <= 1'b1;
            s_axi_rdata  <= POISON;
            s_axi_rresp  <= RESPONSE;
        end
        if (rst) begin
            s_axi_rvalid  <= 1'b0;
            m_axi_arvalid <= 1'b0;
            r_owed        <= 1'b0;
            r_given       <= 1'b0;
        end
    end

    // Write: the two request channels are taken together.
    reg         b_owed;
    reg         b_given;
    reg  [15:0] b_left;
    wire        b_free = !s_axi_bvalid && (!b_owed || b_given);
    wire        b_take = s_axi_awvalid && s_axi_wvalid && b_free;
    wire        b_late = b_owed && !b_given && b_left == 16'd0 && !m_axi_bvalid;
    assign s_axi_awready = b_take;
    assign s_axi_wready  = b_take;
    assign m_axi_bready  = b_owed;

    always @(posedge aclk) begin
        if (s_axi_bready)
            s_axi_bvalid <= 1'b0;
        if (m_axi_awready)
            m_axi_awvalid <= 1'b0;
        if (m_axi_wready)
            m_axi_wvalid <= 1'b0;
        b_left <= b_left - 16'd1;
        if (b_take && !b_owed) begin
            m_axi_awaddr  <= s_axi_awaddr;
            m_axi_awprot  <= s_axi_awprot;
            m_axi_awvalid <= 1'b1;
            m_axi_wdata   <= s_axi_wdata;
            m_axi_wstrb   <= s_axi_wstrb;
            m_axi_wvalid  <= 1'b1;
            b_owed        <= 1'b1;
            b_given       <= 1'b0;
            b_left        <= START;
        end
        if (b_owed && m_axi_bvalid) begin
            b_owed <= 1'b0;
            if (!b_given) begin
                s_axi_bvalid <= 1'b1;
                s_axi_bresp  <= QUIET ? 2'b00 : m_axi_bresp;
            end
        end
        if (r_take)
            lost <= 1'b0;
        if (b_late || (b_take && b_owed)) begin
            b_given      <= 1'b1;
            s_axi_bvalid <= 1'b1;
            s_axi_bresp  <= RESPONSE;
            lost         <= QUIET;
        end
        if (rst) begin
            s_axi_bvalid  <= 1'b0;
            m_axi_awvalid <= 1'b0;
            m_axi_wvalid  <= 1'b0;
            b_owed        <= 1'b0;
            b_given       <= 1'b0;
            lost          <= 1'b0;
        end
    end

    assign timed_out = (r_owed && r_given) || (b_owed && b_given);
endmodule
`default_nettype wire
