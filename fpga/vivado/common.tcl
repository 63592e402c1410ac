# Shared by the scripts of this folder.

# The arguments of `-tclargs`, by name; a missing one ends the script with how to call it.
proc arguments {names} {
    global argv
    if {[llength $argv] != [llength $names]} {
        error "usage: vivado -mode batch -source <script> -tclargs <[join $names {> <}]>"
    }
    foreach name $names value $argv {
        upvar 1 $name variable
        set variable $value
    }
}

# Add the generated Verilog of a folder; include files are found beside it.
proc add_generated {folder} {
    set files [lsort [glob -directory $folder *.v]]
    add_files -norecurse -fileset sources_1 $files
    set_property include_dirs $folder [get_filesets sources_1]
}

# Synthesise, implement, write the bitstream; stop where a run fails.
proc build {} {
    implement -to_step write_bitstream
}

# Synthesise and implement, up to a step if `args` name one; stop where a run fails.
proc implement {args} {
    launch_runs synth_1 -jobs 2
    wait_on_run synth_1
    require_finished synth_1
    launch_runs impl_1 {*}$args -jobs 2
    wait_on_run impl_1
    require_finished impl_1
}

proc require_finished {run} {
    if {[get_property PROGRESS [get_runs $run]] ne "100%"} {
        error "run $run failed: [get_property STATUS [get_runs $run]]"
    }
}

# Reports that `python -m qpolicy_fpga.vivado.reports <folder>` reads. `saif` is the switching
# activity of a simulation, empty for Vivado's own guess; `strip` leads to the design within it.
proc report {folder saif strip} {
    file mkdir $folder
    open_run impl_1
    if {$saif ne ""} {
        read_saif -strip_path $strip $saif
    }
    report_utilization -file [file join $folder utilization.rpt]
    report_utilization -hierarchical -file [file join $folder utilization_hierarchical.rpt]
    report_timing_summary -max_paths 10 -file [file join $folder timing.rpt]
    report_power -file [file join $folder power.rpt]
    if {[get_property SLACK [get_timing_paths -max_paths 1 -setup]] < 0} {
        error "timing is not met: see [file join $folder timing.rpt]"
    }
}
