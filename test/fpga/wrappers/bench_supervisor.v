// Plays a list of words to the supervisor: {operation, data}; prints what it has counted.
// A supervisor that does not settle when it must have ends the bench.
`timescale 1ns/1ns
module bench_supervisor;
    parameter N = 1, WIDTH = 8, BEATS = 1, BEAT_W = 1, WORDS = 1;
    localparam BEAT = 3'd0, PAUSE = 3'd1, STOP = 3'd2, FORGET = 3'd3, REPORT = 3'd4;
    reg clk = 0, rst = 1, stop = 0, forget = 0, taken = 0;
    reg [WIDTH-1:0] data = 0;
    reg [BEAT_W-1:0] beat = 0;
    reg [15:0] value = 0;
    wire settled;
    wire [31:0] observations, count, flags;
    reg [WIDTH+2:0] words [0:WORDS-1];
    integer at, i, waited;
    qpolicy_supervisor dut (
        .clk(clk), .rst(rst), .stop(stop), .forget(forget), .data(data), .beat(beat),
        .taken(taken), .settled(settled), .value(value),
        .observations(observations), .count(count), .flags(flags)
    );
    always #5 clk = ~clk;
    // A clearing takes a cycle a value.
    task settle;
        begin
            waited = 0;
            while (!settled) begin
                waited = waited + 1;
                if (waited > 1000 + 10 * N) begin
                    $write("bench: it does not settle\n");
                    $finish;
                end
                @(negedge clk);
            end
        end
    endtask
    initial begin
        $readmemh("words.hex", words);
        repeat (3) @(negedge clk);
        rst = 0;
        for (at = 0; at < WORDS; at = at + 1) begin
            case (words[at][WIDTH+2:WIDTH])
                BEAT: begin
                    if (beat == 0) settle;
                    data = words[at][WIDTH-1:0];
                    taken = 1;
                    @(negedge clk);
                    taken = 0;
                    beat = beat == BEATS - 1 ? 0 : beat + 1;
                end
                PAUSE: @(negedge clk);
                STOP: begin
                    stop = 1;
                    @(negedge clk);
                    stop = 0;
                    beat = 0;
                end
                FORGET: begin
                    forget = 1;
                    @(negedge clk);
                    forget = 0;
                end
                default: begin
                    settle;
                    $write("%0d", observations);
                    for (i = 0; i < N; i = i + 1) begin
                        value = i;
                        #1 $write(" %0d %0d", count, flags[i % 32]);
                    end
                    $write("\n");
                    @(negedge clk);
                end
            endcase
        end
        $finish;
    end
endmodule
