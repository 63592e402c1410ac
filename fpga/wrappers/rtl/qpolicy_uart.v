// The core behind a serial line, for boards without a processor: docs/fpga/uart.md.
//
// A frame is A5, type, sequence, length (2 bytes, low first), payload, CRC-16 (low first) over all
// between A5 and itself. A request is answered by one frame of the same sequence number; what is
// no frame is skipped in silence. A frame that stops for BYTE_LIMIT cycles is forgotten, a core
// that is not done after CORE_LIMIT cycles is reset and its request answered so.
`default_nettype none
module qpolicy_uart #(
    parameter         N              = 1,
    parameter         B_IN           = 8,
    parameter         CODES_PER_BEAT = 1,
    parameter         BEATS          = 1,
    parameter         M              = 1,
    parameter         B_OUT          = 8,
    parameter [127:0] FUNCTION_HASH  = 128'd0,
    parameter [31:0]  SUPERVISED     = 32'd0,    // RANGES of qpolicy_supervisor, 0 where none
    parameter         CLKS_PER_BIT   = 100,      // 1 Mbaud at 100 MHz
    parameter         BYTE_LIMIT     = 2000000,  // 20 ms at 100 MHz
    parameter         CORE_LIMIT     = 1000000   // 10 ms at 100 MHz
) (
    input  wire clk,
    input  wire rst,
    input  wire rx,
    output wire tx,
    output wire active  // high while a request is being worked on; for an LED
);
    `include "qpolicy_registers.vh"

    localparam BEAT_BITS  = CODES_PER_BEAT * B_IN;
    localparam LAST_BITS  = (N - (BEATS - 1) * CODES_PER_BEAT) * B_IN;
    localparam LANES      = (BEAT_BITS + 7) / 8;
    localparam LANE_W     = LANES > 1 ? $clog2(LANES) : 1;
    localparam BEAT_W     = BEATS > 1 ? $clog2(BEATS) : 1;
    localparam OUT_BITS   = M * B_OUT;
    localparam OUT_BYTES  = (OUT_BITS + 7) / 8;
    localparam IN_BYTES   = BEATS * LANES;
    localparam ID_BYTES   = 37;                    // status and nine words
    localparam INF_BYTES  = 5 + OUT_BYTES;         // status, cycles, codes
    localparam SEEN_BYTES = 17;                    // status, ranges, observations, flags, count
    localparam MOST_BYTES = SUPERVISED != 32'd0 && IN_BYTES < 2 ? 2 : IN_BYTES;
    localparam HEAD_BYTES = 5;
    localparam REPLY_BITS = 8 * (ID_BYTES > INF_BYTES ? ID_BYTES : INF_BYTES);
    localparam [255:0] FULL_MASK = {256{1'b1}} >> (256 - BEAT_BITS);
    localparam [255:0] LAST_MASK = {256{1'b1}} >> (256 - LAST_BITS);

    localparam [7:0] SYNC = 8'hA5, IDENTIFY = 8'h01, INFER = 8'h02, UNSEEN_KIND = 8'h03,
                     FORGET = 8'h04, REPLY = 8'h80;
    localparam [7:0] OK = 8'd0, BAD_CRC = 8'd1, BAD_TYPE = 8'd2, BAD_LENGTH = 8'd3,
                     OUT_OF_RANGE = 8'd4, NOT_DONE = 8'd5, OVERRUN = 8'd6;
    localparam [2:0] HUNT = 3'd0, HEAD = 3'd1, PAYLOAD = 3'd2, CHECK = 3'd3, ACT = 3'd4,
                     CORE = 3'd5, SEND = 3'd6;

    // Serial line.
    wire [7:0] rx_data;
    wire       rx_valid, rx_broken;
    wire [7:0] tx_data;
    wire       tx_valid, tx_ready;
    qpolicy_uart_rx #(.CLKS_PER_BIT(CLKS_PER_BIT)) receiver (
        .clk(clk), .rst(rst), .rx(rx), .data(rx_data), .valid(rx_valid), .broken(rx_broken)
    );
    qpolicy_uart_tx #(.CLKS_PER_BIT(CLKS_PER_BIT)) sender (
        .clk(clk), .rst(rst), .data(tx_data), .valid(tx_valid), .ready(tx_ready), .tx(tx)
    );

    // Request being received, then acted on, then answered.
    reg  [2:0]            state;
    reg  [7:0]            kind;
    reg  [7:0]            sequence_number;
    reg  [15:0]           length;
    reg  [15:0]           index;      // of the byte within its part of the frame
    reg  [BEAT_W-1:0]     in_beat;
    reg  [LANE_W-1:0]     in_lane;
    reg                   in_range;
    reg                   crc_good;   // first byte of the CRC matched
    reg                   overrun;    // bytes came while a request was worked on
    reg  [31:0]           timer;
    reg  [15:0]           crc;
    reg  [7:0]            crc_byte;
    wire [15:0]           crc_next;
    qpolicy_crc16 check (.crc(crc), .data(crc_byte), .next(crc_next));
    assign active = state == ACT || state == CORE || state == SEND;

    // Reply.
    reg  [REPLY_BITS-1:0] reply;
    reg  [15:0]           reply_length;
    reg  [7:0]            out;
    wire                  sending = state == SEND;
    assign tx_valid = sending;
    assign tx_data  = out;
    wire [287:0] identity = {
        BEATS[15:0], CODES_PER_BEAT[15:0], 16'd0, B_OUT[7:0], B_IN[7:0], M[15:0], N[15:0],
        FUNCTION_HASH[31:0], FUNCTION_HASH[63:32], FUNCTION_HASH[95:64], FUNCTION_HASH[127:96],
        VERSION_VALUE, MAGIC_VALUE
    };

    // Core.
    wire                busy, done;
    wire [OUT_BITS-1:0] result;
    wire [31:0]         cycles;
    wire [BEAT_W-1:0]   beat;
    wire [LANES*8-1:0]  beat_bytes;
    wire                s_valid, s_ready, m_valid, m_ready;
    wire [OUT_BITS-1:0] m_data;
    reg                 halt;
    reg                 start;
    // Supervisor.
    reg                 forget;
    reg  [15:0]         unseen_value;
    wire                settled;
    wire [31:0]         unseen, unseen_count, unseen_flags;
    wire                sent_valid, sent_ready;
    wire                stop = rst | halt;

    wire [255:0] beat_mask = in_beat == LAST_BEAT[BEAT_W-1:0] ? LAST_MASK : FULL_MASK;
    localparam   LAST_BEAT = BEATS - 1;
    localparam   LAST_LANE = LANES - 1;
    wire [7:0]   lane_index = {{(8-LANE_W){1'b0}}, in_lane};
    wire [7:0]   byte_mask = beat_mask[{lane_index[4:0], 3'd0} +: 8];

    always @* begin
        crc_byte = rx_data;
        out      = reply[7:0];
        if (sending) begin
            case (index)
                16'd0:   out = SYNC;
                16'd1:   out = kind | REPLY;
                16'd2:   out = sequence_number;
                16'd3:   out = reply_length[7:0];
                16'd4:   out = reply_length[15:8];
                default: ;
            endcase
            if (index == HEAD_BYTES[15:0] + reply_length)
                out = crc[7:0];
            else if (index == HEAD_BYTES[15:0] + reply_length + 16'd1)
                out = crc[15:8];
            crc_byte = out;
        end
    end

    wire finish = state == CORE && (done || timer == 32'd0);

    always @(posedge clk) begin
        halt  <= 1'b0;
        start <= 1'b0;
        forget <= 1'b0;
        timer <= timer - 32'd1;
        if (rx_valid)
            timer <= BYTE_LIMIT;
        case (state)
            HUNT:
                if (rx_valid && rx_data == SYNC) begin
                    state <= HEAD;
                    index <= 16'd0;
                    crc   <= 16'hFFFF;
                end
            HEAD:
                if (rx_valid) begin
                    crc   <= crc_next;
                    index <= index + 16'd1;
                    case (index[1:0])
                        2'd0: kind            <= rx_data;
                        2'd1: sequence_number <= rx_data;
                        2'd2: length[7:0]     <= rx_data;
                        2'd3: begin
                            length[15:8] <= rx_data;
                            index        <= 16'd0;
                            in_beat      <= {BEAT_W{1'b0}};
                            in_lane      <= {LANE_W{1'b0}};
                            in_range     <= 1'b1;
                            state        <= {rx_data, length[7:0]} == 16'd0 ? CHECK : PAYLOAD;
                            // A length that no frame has is a false start.
                            if ({rx_data, length[7:0]} > MOST_BYTES[15:0])
                                state <= HUNT;
                        end
                    endcase
                end
            PAYLOAD:
                if (rx_valid) begin
                    crc      <= crc_next;
                    index    <= index + 16'd1;
                    unseen_value <= {rx_data, unseen_value[15:8]};
                    in_range <= in_range && (rx_data & ~byte_mask) == 8'd0;
                    in_lane  <= in_lane + 1'b1;
                    if (in_lane == LAST_LANE[LANE_W-1:0]) begin
                        in_lane <= {LANE_W{1'b0}};
                        in_beat <= in_beat + 1'b1;
                    end
                    if (index == length - 16'd1) begin
                        index <= 16'd0;
                        state <= CHECK;
                    end
                end
            CHECK:
                if (rx_valid) begin
                    index    <= index + 16'd1;
                    crc_good <= rx_data == crc[7:0];
                    if (index == 16'd1) begin
                        crc_good <= crc_good && rx_data == crc[15:8];
                        state    <= ACT;
                    end
                end
            ACT: begin
                reply        <= {REPLY_BITS{1'b0}};
                reply_length <= 16'd1;
                index        <= 16'd0;
                crc          <= 16'hFFFF;
                state        <= SEND;
                if (!crc_good)
                    reply[7:0] <= BAD_CRC;
                else if (overrun)
                    reply[7:0] <= OVERRUN;
                else if (kind == IDENTIFY) begin
                    if (length != 16'd0)
                        reply[7:0] <= BAD_LENGTH;
                    else begin
                        reply[295:0] <= {identity, OK};
                        reply_length <= ID_BYTES[15:0];
                    end
                end else if (kind == UNSEEN_KIND && SUPERVISED != 32'd0) begin
                    if (length != 16'd2)
                        reply[7:0] <= BAD_LENGTH;
                    else if (!settled)
                        state <= ACT;  // counts that are about to change are waited for
                    else begin
                        reply[135:0] <= {unseen_count, unseen_flags, unseen, SUPERVISED, OK};
                        reply_length <= SEEN_BYTES[15:0];
                    end
                end else if (kind == FORGET && SUPERVISED != 32'd0) begin
                    if (length != 16'd0)
                        reply[7:0] <= BAD_LENGTH;
                    else
                        forget <= 1'b1;
                end else if (kind != INFER)
                    reply[7:0] <= BAD_TYPE;
                else if (length != IN_BYTES[15:0])
                    reply[7:0] <= BAD_LENGTH;
                else if (!in_range)
                    reply[7:0] <= OUT_OF_RANGE;
                else begin
                    start <= 1'b1;
                    timer <= CORE_LIMIT;
                    state <= CORE;
                end
                overrun <= 1'b0;
            end
            CORE:
                if (finish) begin
                    state <= SEND;
                    if (done) begin
                        reply[40+OUT_BITS-1:0] <= {result, cycles, OK};
                        reply_length           <= INF_BYTES[15:0];
                    end else begin
                        reply[7:0] <= NOT_DONE;
                        halt       <= 1'b1;
                    end
                end
            default:
                if (tx_ready) begin
                    index <= index + 16'd1;
                    if (index != 16'd0)
                        crc <= crc_next;
                    if (index >= HEAD_BYTES[15:0])
                        reply <= reply >> 8;
                    if (index >= HEAD_BYTES[15:0] + reply_length)
                        crc <= crc;
                    if (index == HEAD_BYTES[15:0] + reply_length + 16'd1)
                        state <= HUNT;
                end
        endcase
        if (active && rx_valid)
            overrun <= 1'b1;
        if (!active && state != HUNT && (rx_broken || timer == 32'd0))
            state <= HUNT;
        if (rst) begin
            state   <= HUNT;
            overrun <= 1'b0;
            halt    <= 1'b1;
            forget  <= 1'b0;
        end
    end

    qpolicy_input_memory #(
        .LANE_BITS(8), .LANES(LANES), .BEATS(BEATS), .LANE_W(LANE_W), .BEAT_W(BEAT_W)
    ) inputs (
        .clk(clk),
        .write(state == PAYLOAD && rx_valid),
        .write_lane(in_lane),
        .write_beat(in_beat),
        .write_data(rx_data),
        .read_beat(beat),
        .read_data(beat_bytes)
    );

    qpolicy_sequencer #(.BEATS(BEATS), .BEAT_W(BEAT_W), .OUT_BITS(OUT_BITS)) sequencer (
        .clk(clk), .rst(stop),
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
                .clk(clk), .rst(rst), .stop(stop), .forget(forget),
                .data(beat_bytes[BEAT_BITS-1:0]), .beat(beat), .taken(s_valid && s_ready),
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
        .clk(clk), .rst(stop),
        .s_data(beat_bytes[BEAT_BITS-1:0]), .s_valid(s_valid), .s_ready(s_ready),
        .m_data(m_data), .m_valid(m_valid), .m_ready(m_ready)
    );

    // verilator lint_off UNUSEDSIGNAL
    wire unused = &{1'b0, busy, beat_bytes, lane_index, forget, unseen_value};
    // verilator lint_on UNUSEDSIGNAL
endmodule
`default_nettype wire
