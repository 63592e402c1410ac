"""Generated Verilog, run: cycle by cycle, or 512 copies at once."""
