"""A self-checking test bench with the policy's golden vectors, for any Verilog simulator."""

from __future__ import annotations

from typing import Any

import numpy as np

from qpolicy_fpga.emit.timing import Core
from qpolicy_ros.policy import PolicyArtifact, make_engine

INPUTS, OUTPUTS, BENCH = "golden_in.hex", "golden_out.hex", "qpolicy_core_tb.v"


def emit_bench(artifact: PolicyArtifact, core: Core) -> dict[str, str]:
    """Return the bench and its memory files by name.

    Every golden vector goes through three times: without gaps (the stated cycles and interval are
    checked), with gaps on both sides, and after a reset in mid-flight.
    """
    network = artifact.network
    assert network is not None
    trace = make_engine(network, "numpy").codes_batch(artifact.golden.observations)
    bus = core.codes_per_beat * network.input_bits
    result = trace[-1].shape[1] * network.output_bits
    beats = []
    for row in trace[0]:
        padded = np.zeros(core.beats * core.codes_per_beat, np.int64)
        padded[: row.size] = row
        beats += [
            _word(beat, network.input_bits, bus)
            for beat in padded.reshape(core.beats, core.codes_per_beat)
        ]
    outputs = [_word(row, network.output_bits, result) for row in trace[-1]]
    values = {
        "FRAMES": len(outputs),
        "BEATS": core.beats,
        "BUS": bus,
        "RESULT": result,
        "CYCLES": core.cycles,
        "INTERVAL": core.interval,
    }
    text = _BENCH
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return {
        BENCH: text,
        INPUTS: "\n".join(beats) + "\n",
        OUTPUTS: "\n".join(outputs) + "\n",
    }


def _word(codes: Any, bits: int, width: int) -> str:
    """Codes packed into one word of ``width`` bits, the first one lowest, in hexadecimal."""
    value = sum((int(code) & ((1 << bits) - 1)) << (bits * at) for at, code in enumerate(codes))
    return f"{value:0{-(-width // 4)}x}"


_BENCH = """\
// Golden vectors of the policy: run in this folder, for example
//   iverilog -g2005 -o tb *.v && vvp tb
// Prints PASS and stops, or FAIL with the vector and both codes.
// It is a program, not hardware: variables are set at once, where they start and later.
// verilator lint_off BLKSEQ
// verilator lint_off INITIALDLY
// verilator lint_off PROCASSINIT
`timescale 1ns/1ps
module qpolicy_core_tb;
    reg clk = 1'b0;
    reg rst = 1'b1;
    reg [@BUS@-1:0] s_data = 0;
    reg s_valid = 1'b0;
    wire s_ready;
    wire [@RESULT@-1:0] m_data;
    wire m_valid;
    reg m_ready = 1'b0;
    qpolicy_core core (
        .clk(clk), .rst(rst), .s_data(s_data), .s_valid(s_valid), .s_ready(s_ready),
        .m_data(m_data), .m_valid(m_valid), .m_ready(m_ready)
    );

    reg [@BUS@-1:0] golden_in [0:@FRAMES@*@BEATS@-1];
    reg [@RESULT@-1:0] golden_out [0:@FRAMES@-1];
    integer started [0:@FRAMES@-1];
    integer cycle, sent, got, mode, wrong, idle;
    // verilator lint_off UNUSEDSIGNAL
    integer seed;
    // verilator lint_on UNUSEDSIGNAL
    reg running;

    always #5 clk = ~clk;

    initial begin
        $readmemh("golden_in.hex", golden_in);
        $readmemh("golden_out.hex", golden_out);
        seed = 1;
        wrong = 0;
        running = 1'b0;
        for (mode = 0; mode < 3; mode = mode + 1) begin
            if (mode == 2) begin
                // some frames in flight, then a reset
                sent = 0;
                got = 0;
                running = 1'b1;
                repeat (@CYCLES@ / 2 + 3) @(posedge clk);
                running = 1'b0;
            end
            rst <= 1'b1;
            s_valid = 1'b0;
            m_ready = 1'b0;
            repeat (3) @(posedge clk);
            rst <= 1'b0;
            sent = 0;
            got = 0;
            running = 1'b1;
            @(posedge clk);
            while (got < @FRAMES@ && idle < 100000) @(posedge clk);
            running = 1'b0;
            if (got < @FRAMES@) begin
                $display("FAIL the core stopped answering after %0d vectors", got);
                wrong = wrong + 1;
            end
        end
        if (wrong == 0) $display("PASS @FRAMES@ vectors three times, @CYCLES@ cycles");
        else $display("FAIL %0d checks", wrong);
        $finish;
    end

    // Sender and receiver act between edges, on what the last edge has settled.
    always @(negedge clk) if (running) begin
        if (!s_valid || s_taken)
            s_valid = (sent < @FRAMES@ * @BEATS@) && (mode == 0 || ($random(seed) & 1) != 0);
        if (s_valid) s_data = golden_in[sent];
        m_ready = mode == 0 || ($random(seed) & 1) != 0;
    end

    reg s_taken = 1'b0;
    always @(posedge clk) begin
        cycle <= running ? cycle + 1 : 0;
        idle <= running ? idle + 1 : 0;
        s_taken <= running & s_valid & s_ready;
        if (running && !rst) begin
            if (s_valid && s_ready) begin
                if (sent % @BEATS@ == 0) begin
                    started[sent / @BEATS@] = cycle;
                    if (mode == 0 && sent >= @BEATS@
                        && cycle - started[sent / @BEATS@ - 1] != @INTERVAL@) begin
                        $display("FAIL interval %0d, not @INTERVAL@",
                                 cycle - started[sent / @BEATS@ - 1]);
                        wrong = wrong + 1;
                    end
                end
                sent = sent + 1;
                idle <= 0;
            end
            if (m_valid && m_ready) begin
                if (m_data !== golden_out[got]) begin
                    $display("FAIL vector %0d: %h, not %h", got, m_data, golden_out[got]);
                    wrong = wrong + 1;
                end
                if (mode == 0 && cycle - started[got] != @CYCLES@) begin
                    $display("FAIL vector %0d took %0d cycles, not @CYCLES@",
                             got, cycle - started[got]);
                    wrong = wrong + 1;
                end
                got = got + 1;
                idle <= 0;
            end
        end
    end
endmodule
"""
