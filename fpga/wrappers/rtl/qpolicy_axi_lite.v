// AXI4-Lite slave around the core: the registers of docs/fpga/register-map.md.
//
// Write the input words, set CONTROL.START, wait for STATUS.DONE (or the irq), read the
// output words. What is refused is answered with SLVERR, changes nothing and sets a bit of ERROR:
// an address outside the map, a partial or misplaced write, a bit set where no input code lies,
// a write to INPUT or a START while busy. CONTROL.RESET stops the core in whatever state.
`default_nettype none
module qpolicy_axi_lite #(
    parameter         N              = 1,
    parameter         B_IN           = 8,
    parameter         CODES_PER_BEAT = 1,
    parameter         BEATS          = 1,
    parameter         M              = 1,
    parameter         B_OUT          = 8,
    parameter [127:0] FUNCTION_HASH  = 128'd0,
    parameter [31:0]  SUPERVISED     = 32'd0   // RANGES of qpolicy_supervisor, 0 where there is none
) (
    input  wire        s_axi_aclk,
    input  wire        s_axi_aresetn,
    // write address, write data, write response
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
    // read address, read data
    input  wire [11:0] s_axi_araddr,
    input  wire [2:0]  s_axi_arprot,
    input  wire        s_axi_arvalid,
    output wire        s_axi_arready,
    output reg  [31:0] s_axi_rdata,
    output reg  [1:0]  s_axi_rresp,
    output reg         s_axi_rvalid,
    input  wire        s_axi_rready,
    // high while an enabled irq is pending
    output wire        irq
);
    `include "qpolicy_registers.vh"

    localparam BEAT_BITS  = CODES_PER_BEAT * B_IN;
    localparam LAST_BITS  = (N - (BEATS - 1) * CODES_PER_BEAT) * B_IN;
    localparam LANES      = (BEAT_BITS + 31) / 32;
    localparam LANE_SHIFT = $clog2(LANES);          // with several beats LANES is 8
    localparam LANE_W     = LANES > 1 ? LANE_SHIFT : 1;
    localparam BEAT_W     = BEATS > 1 ? $clog2(BEATS) : 1;
    localparam OUT_BITS   = M * B_OUT;
    localparam OUT_WORDS  = (OUT_BITS + 31) / 32;
    localparam [1:0] OKAY = 2'b00, SLVERR = 2'b10;
    // The bits of a beat that hold codes, in a full beat and in the last one.
    localparam [255:0] FULL_MASK = {256{1'b1}} >> (256 - BEAT_BITS);
    localparam [255:0] LAST_MASK = {256{1'b1}} >> (256 - LAST_BITS);

    wire clk = s_axi_aclk;
    wire rst = ~s_axi_aresetn;

    // Write: address and data are taken independently, then acted on together.
    reg        aw_held;
    reg        w_held;
    reg [11:0] aw_addr;
    reg [31:0] w_data;
    reg [3:0]  w_strb;
    wire       write = aw_held && w_held && !s_axi_bvalid;
    assign s_axi_awready = ~aw_held;
    assign s_axi_wready  = ~w_held;

    // Where a write goes.
    wire [9:0] in_word    = aw_addr[11:2] - INPUT[11:2];
    wire [9:0] in_beat    = in_word >> LANE_SHIFT;
    wire [9:0] in_lane    = in_word & ((10'd1 << LANE_SHIFT) - 10'd1);
    wire       at_input   = aw_addr >= INPUT && in_beat < BEATS[9:0] && in_lane < LANES[9:0];
    wire       at_control = aw_addr == CONTROL;
    wire       at_error   = aw_addr == ERROR;
    wire       at_enable  = aw_addr == IRQ_ENABLE;
    wire       at_status  = aw_addr == IRQ_STATUS;
    wire       at_value   = aw_addr == UNSEEN_VALUE && SUPERVISED != 32'd0;
    wire       mapped     = at_input | at_control | at_error | at_enable | at_status | at_value;
    wire [255:0] beat_mask = in_beat == BEATS[9:0] - 10'd1 ? LAST_MASK : FULL_MASK;
    wire [31:0]  word_mask = beat_mask[{in_lane[2:0], 5'd0} +: 32];

    // Why a write is refused.
    wire busy;
    wire bad_address = aw_addr[1:0] != 2'b00 || !mapped;
    wire bad_strobe  = !bad_address && w_strb != 4'b1111;
    wire bad_busy    = !bad_address && !bad_strobe && busy &&
                       (at_input || (at_control && w_data[CONTROL_START] &&
                                     !w_data[CONTROL_RESET]));
    wire bad_range   = !bad_address && !bad_strobe && !bad_busy && at_input &&
                       (w_data & ~word_mask) != 32'd0;
    wire refused     = bad_address | bad_strobe | bad_busy | bad_range;
    wire accepted    = write && !refused;

    // Read: one word a cycle at most.
    wire        read      = s_axi_arvalid && s_axi_arready;
    wire [9:0]  out_word  = s_axi_araddr[11:2] - OUTPUT[11:2];
    wire        at_output = s_axi_araddr >= OUTPUT && s_axi_araddr < INPUT &&
                            out_word < OUT_WORDS[9:0];
    reg  [31:0] value;
    reg         readable;
    // Counts that are about to change are waited for.
    wire        at_unseen = s_axi_araddr == UNSEEN || s_axi_araddr == UNSEEN_COUNT ||
                            s_axi_araddr == UNSEEN_FLAGS;
    wire        settled;
    assign s_axi_arready = !s_axi_rvalid && (settled || !at_unseen);

    // Registers.
    reg  [4:0]          errors;
    reg  [1:0]          irq_enable;
    reg  [1:0]          irq_status;
    reg  [31:0]         inferences;
    reg                 finished;
    reg                 core_reset;
    reg  [15:0]         unseen_value;
    wire [31:0]         unseen, unseen_count, unseen_flags;
    wire                start = accepted && at_control && w_data[CONTROL_START] &&
                                !w_data[CONTROL_RESET];
    wire                done;
    wire [OUT_BITS-1:0] result;
    wire [31:0]         cycles;
    reg  [OUT_WORDS*32-1:0] words;
    integer             word;
    assign irq = (irq_enable & irq_status) != 2'b00;

    always @* begin
        words = {(OUT_WORDS*32){1'b0}};
        words[OUT_BITS-1:0] = result;
        readable = s_axi_araddr[1:0] == 2'b00;
        value    = 32'd0;
        case (s_axi_araddr)
            MAGIC:         value = MAGIC_VALUE;
            VERSION:       value = VERSION_VALUE;
            HASH0:         value = FUNCTION_HASH[127:96];
            HASH1:         value = FUNCTION_HASH[95:64];
            HASH2:         value = FUNCTION_HASH[63:32];
            HASH3:         value = FUNCTION_HASH[31:0];
            COUNTS:        value = {M[15:0], N[15:0]};
            BITS:          value = {16'd0, B_OUT[7:0], B_IN[7:0]};
            BEAT:          value = {BEATS[15:0], CODES_PER_BEAT[15:0]};
            STATUS:        value = {28'd0, errors != 5'd0, finished, busy, ~busy};
            ERROR:         value = {27'd0, errors};
            CYCLES:        value = cycles;
            INFERENCES:    value = inferences;
            IRQ_ENABLE:    value = {30'd0, irq_enable};
            IRQ_STATUS:    value = {30'd0, irq_status};
            RANGES:        value = SUPERVISED;
            UNSEEN:        value = unseen;
            UNSEEN_VALUE:  value = {16'd0, unseen_value};
            UNSEEN_COUNT:  value = unseen_count;
            UNSEEN_FLAGS:  value = unseen_flags;
            default:       if (!at_output) readable = 1'b0;
        endcase
        for (word = 0; word < OUT_WORDS; word = word + 1)
            if (at_output && out_word == word[9:0])
                value = words[word*32 +: 32];
    end

    always @(posedge clk) begin
        // bus
        if (s_axi_awvalid && s_axi_awready) begin
            aw_held <= 1'b1;
            aw_addr <= s_axi_awaddr;
        end
        if (s_axi_wvalid && s_axi_wready) begin
            w_held <= 1'b1;
            w_data <= s_axi_wdata;
            w_strb <= s_axi_wstrb;
        end
        if (s_axi_bready)
            s_axi_bvalid <= 1'b0;
        if (write) begin
            aw_held      <= 1'b0;
            w_held       <= 1'b0;
            s_axi_bvalid <= 1'b1;
            s_axi_bresp  <= refused ? SLVERR : OKAY;
        end
        if (s_axi_rready)
            s_axi_rvalid <= 1'b0;
        if (read) begin
            s_axi_rvalid <= 1'b1;
            s_axi_rdata  <= readable ? value : 32'd0;
            s_axi_rresp  <= readable ? OKAY : SLVERR;
        end
        // registers
        core_reset <= accepted && at_control && w_data[CONTROL_RESET];
        if (accepted && at_error)
            errors <= errors & ~w_data[4:0];
        if (accepted && at_enable)
            irq_enable <= w_data[1:0];
        if (accepted && at_value)
            unseen_value <= w_data[15:0];
        if (accepted && at_status)
            irq_status <= irq_status & ~w_data[1:0];
        if (write && refused) begin
            errors[ERROR_ADDRESS] <= errors[ERROR_ADDRESS] | bad_address;
            errors[ERROR_STROBE]  <= errors[ERROR_STROBE] | bad_strobe;
            errors[ERROR_BUSY]    <= errors[ERROR_BUSY] | bad_busy;
            errors[ERROR_RANGE]   <= errors[ERROR_RANGE] | bad_range;
            irq_status[IRQ_ERROR] <= 1'b1;
        end
        if (read && !readable) begin
            errors[ERROR_READ_ADDRESS] <= 1'b1;
            irq_status[IRQ_ERROR]      <= 1'b1;
        end
        if (start)
            finished <= 1'b0;
        if (done) begin
            finished             <= 1'b1;
            inferences           <= inferences + 32'd1;
            irq_status[IRQ_DONE] <= 1'b1;
        end
        if (rst || core_reset)
            finished <= 1'b0;
        if (rst) begin
            aw_held      <= 1'b0;
            w_held       <= 1'b0;
            s_axi_bvalid <= 1'b0;
            s_axi_rvalid <= 1'b0;
            core_reset   <= 1'b1;
            errors       <= 5'd0;
            irq_enable   <= 2'd0;
            irq_status   <= 2'd0;
            inferences   <= 32'd0;
            unseen_value <= 16'd0;
        end
    end

    wire [BEAT_W-1:0]    beat;
    wire [LANES*32-1:0]  beat_words;
    wire                 s_valid, s_ready, m_valid, m_ready;
    wire                 sent_valid, sent_ready;
    wire [OUT_BITS-1:0]  m_data;
    wire                 halt = rst | core_reset;

    qpolicy_input_memory #(
        .LANE_BITS(32), .LANES(LANES), .BEATS(BEATS), .LANE_W(LANE_W), .BEAT_W(BEAT_W)
    ) inputs (
        .clk(clk),
        .write(accepted && at_input),
        .write_lane(in_lane[LANE_W-1:0]),
        .write_beat(in_beat[BEAT_W-1:0]),
        .write_data(w_data),
        .read_beat(beat),
        .read_data(beat_words)
    );

    qpolicy_sequencer #(.BEATS(BEATS), .BEAT_W(BEAT_W), .OUT_BITS(OUT_BITS)) sequencer (
        .clk(clk), .rst(halt),
        .start(start), .busy(busy), .done(done), .result(result), .cycles(cycles), .beat(beat),
        .s_valid(sent_valid), .s_ready(sent_ready),
        .m_data(m_data), .m_valid(m_valid), .m_ready(m_ready)
    );

    // An observation begins when the one before has been counted.
    wire pass = settled || beat != {BEAT_W{1'b0}};
    assign s_valid    = sent_valid && pass;
    assign sent_ready = s_ready && pass;
    generate
        if (SUPERVISED != 32'd0) begin : supervised
            qpolicy_supervisor supervisor (
                .clk(clk), .rst(rst), .stop(halt),
                .forget(accepted && at_control && w_data[CONTROL_FORGET]),
                .data(beat_words[BEAT_BITS-1:0]), .beat(beat), .taken(s_valid && s_ready),
                .settled(settled), .value(unseen_value),
                .observations(unseen), .count(unseen_count), .flags(unseen_flags)
            );
        end else begin : alone
            assign settled = 1'b1;
            assign unseen = 32'd0;
            assign unseen_count = 32'd0;
            assign unseen_flags = 32'd0;
        end
    endgenerate

    qpolicy_core core (
        .clk(clk), .rst(halt),
        .s_data(beat_words[BEAT_BITS-1:0]), .s_valid(s_valid), .s_ready(s_ready),
        .m_data(m_data), .m_valid(m_valid), .m_ready(m_ready)
    );

    // verilator lint_off UNUSEDSIGNAL
    wire unused = &{1'b0, s_axi_awprot, s_axi_arprot, beat_words, in_lane, in_beat, out_word,
                     unseen_value};
    // verilator lint_on UNUSEDSIGNAL
endmodule
`default_nettype wire
