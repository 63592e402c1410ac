"""From a policy artifact to Verilog; imports as `qpolicy_fpga`."""
