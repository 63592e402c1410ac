"""What Vivado needs: IP description, Tcl scripts, constraints, board tops, and its reports read."""
