# Build the bitstream for an Arty A7: the UART wrapper behind the board's USB serial port.
#
#   vivado -mode batch -source arty_a7.tcl -tclargs <sources> <build> <part> <saif>
#
# sources: folder of the generated core and wrapper; build: folder to write; part:
# xc7a35ticsg324-1L or xc7a100tcsg324-1; saif: switching activity for the power report, or "".
set here [file dirname [file normalize [info script]]]
source [file join $here common.tcl]
arguments {sources build part saif}

create_project -force qpolicy_arty_a7 [file join $build project] -part $part
add_generated $sources
add_files -norecurse -fileset sources_1 [file join $here arty_a7.v]
add_files -norecurse -fileset constrs_1 [file join $here arty_a7.xdc]
set_property top arty_a7 [get_filesets sources_1]
update_compile_order -fileset sources_1
build
report [file join $build reports] $saif arty_a7/controller
set runs [file join $build project qpolicy_arty_a7.runs impl_1]
file copy -force [file join $runs arty_a7.bit] [file join $build qpolicy.bit]
