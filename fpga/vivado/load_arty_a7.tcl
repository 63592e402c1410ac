# Load a bitstream into the Arty A7 that is connected by USB.
#
#   vivado -mode batch -source load_arty_a7.tcl -tclargs <bitstream>
source [file join [file dirname [file normalize [info script]]] common.tcl]
arguments {bitstream}

open_hw_manager
connect_hw_server
open_hw_target
set device [lindex [get_hw_devices xc7a*] 0]
if {$device eq ""} {
    error "no Artix-7 found; connect the board and switch it on"
}
current_hw_device $device
set_property PROGRAM.FILE $bitstream $device
program_hw_devices $device
close_hw_manager
