// Holds one observation's packed input codes until the core takes them, beat by beat.
//
// Written a lane at a time (a bus word or a UART byte), read a whole beat at a time without delay:
// one small memory a lane, which maps to distributed RAM.
`default_nettype none
module qpolicy_input_memory #(
    parameter LANE_BITS = 32,  // width of one write
    parameter LANES     = 1,   // writes a beat
    parameter BEATS     = 1,
    parameter LANE_W    = 1,   // width of a lane index
    parameter BEAT_W    = 1    // width of a beat index
) (
    input  wire                       clk,
    // write port
    input  wire                       write,
    input  wire [LANE_W-1:0]          write_lane,
    input  wire [BEAT_W-1:0]          write_beat,
    input  wire [LANE_BITS-1:0]       write_data,
    // read port, combinational
    input  wire [BEAT_W-1:0]          read_beat,
    output wire [LANES*LANE_BITS-1:0] read_data
);
    genvar lane;
    generate
        for (lane = 0; lane < LANES; lane = lane + 1) begin : lanes
            reg [LANE_BITS-1:0] memory [0:BEATS-1];
            always @(posedge clk)
                if (write && write_lane == lane[LANE_W-1:0])
                    memory[write_beat] <= write_data;
            assign read_data[lane*LANE_BITS +: LANE_BITS] = memory[read_beat];
        end
    endgenerate
endmodule
`default_nettype wire
