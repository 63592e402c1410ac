# Package a core behind AXI4-Lite, or between two AXI4-Streams, as an IP for Vivado's catalogue.
#
#   vivado -mode batch -source package_ip.tcl -tclargs <sources> <ip> <part>
#
# sources: folder of the generated core and wrapper; ip: folder to write; part: any 7 series part.
source [file join [file dirname [file normalize [info script]]] common.tcl]
arguments {sources ip part}

set top [file rootname [file tail [lindex [glob -directory $sources qpolicy_axi_*_top.v] 0]]]
if {$top eq "qpolicy_axi_lite_top"} {
    set name qpolicy
    set buses {s_axi}
    set clock s_axi_aclk
    set about "A low-bit control policy behind AXI4-Lite registers"
} else {
    set name qpolicy_stream
    set buses {s_axis m_axis}
    set clock aclk
    set about "A low-bit control policy between two AXI4-Streams"
}

create_project -force -in_memory -part $part
add_generated $sources
set_property top $top [get_filesets sources_1]
update_compile_order -fileset sources_1

ipx::package_project -root_dir $ip -vendor qpolicy-ros.example -library robotics \
    -taxonomy /UserIP -import_files -force
set core [ipx::current_core]
set_property name $name $core
set_property version 1.0 $core
set_property display_name "QPolicy controller" $core
set_property description $about $core
if {$name eq "qpolicy"} {
    ipx::infer_bus_interface irq xilinx.com:signal:interrupt_rtl:1.0 $core
}
foreach bus $buses {
    ipx::associate_bus_interfaces -busif $bus -clock $clock $core
}
ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
close_project
