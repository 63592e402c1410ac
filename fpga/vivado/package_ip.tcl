# Package a core behind AXI4-Lite, or between two AXI4-Streams, as an IP for Vivado's catalogue.
#
#   vivado -mode batch -source package_ip.tcl -tclargs <sources> <ip> <part>
#
# sources: folder of the generated core and wrapper; ip: folder to write; part: any 7 series part.
# What the IP is called and which ports make its buses stands in ip.tcl beside this script.
set here [file dirname [file normalize [info script]]]
source [file join $here common.tcl]
source [file join $here ip.tcl]
arguments {sources ip part}

create_project -force -in_memory -part $part
add_generated $sources
set_property top $top [get_filesets sources_1]
update_compile_order -fileset sources_1

ipx::package_project -root_dir $ip -vendor $vendor -library $library \
    -taxonomy /UserIP -import_files -force
set core [ipx::current_core]
set_property name $name $core
set_property version $version $core
set_property display_name "QPolicy controller" $core
set_property description $about $core
foreach port $interrupts {
    ipx::infer_bus_interface $port xilinx.com:signal:interrupt_rtl:1.0 $core
}
foreach bus $buses {
    ipx::associate_bus_interfaces -busif $bus -clock $clock $core
}
ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
close_project
