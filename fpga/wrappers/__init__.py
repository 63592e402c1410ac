"""Bus wrappers around the core: AXI4-Lite, AXI4-Stream, UART, and an AXI timeout block.

The Verilog lies in ``rtl/``; ``tops`` writes the module that gives a wrapper its sizes.
"""
