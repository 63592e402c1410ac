"""From a planned layer to Verilog."""
