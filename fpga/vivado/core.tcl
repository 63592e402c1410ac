# Place and route the core alone, simulate it with its golden vectors, report its power with that
# activity. The reports join those of `qpolicy fpga report`.
#
#   cd <generated folder>/vivado
#   vivado -mode batch -source core.tcl -tclargs <part>
#
# part: full name of the device, as manifest.json has it under "device".
set here [file dirname [file normalize [info script]]]
source [file join $here common.tcl]
arguments {part}

create_project -force qpolicy_core [file join $here project] -part $part
set bench [file normalize [file join $here .. qpolicy_core_tb.v]]
set sources {}
foreach path [lsort [glob -directory [file join $here ..] *.v]] {
    if {[file tail $path] ne [file tail $bench]} { lappend sources $path }
}
add_files -norecurse -fileset sources_1 $sources
add_files -norecurse -fileset constrs_1 [file join $here core.xdc]
add_files -norecurse -fileset sim_1 [list $bench {*}[glob -directory [file join $here ..] *.hex]]
set_property top qpolicy_core [get_filesets sources_1]
set_property top qpolicy_core_tb [get_filesets sim_1]
update_compile_order -fileset sources_1
# No pins: a core has more ports than a package.
set_property -dict {{STEPS.SYNTH_DESIGN.ARGS.MORE OPTIONS} {-mode out_of_context}} \
    [get_runs synth_1]
implement

set_property -dict {
    xsim.simulate.runtime all
    xsim.simulate.saif activity.saif
    xsim.simulate.saif_all_signals true
} [get_filesets sim_1]
launch_simulation -mode post-implementation -type functional
close_sim
set simulated [file join $here project qpolicy_core.sim sim_1 impl func xsim activity.saif]
report [file join $here reports] $simulated qpolicy_core_tb/core
