# Package the AXI4-Lite wrapper and its core as an IP for Vivado's catalogue.
#
#   vivado -mode batch -source package_ip.tcl -tclargs <sources> <ip> <part>
#
# sources: folder of the generated core and wrapper; ip: folder to write; part: any 7 series part.
source [file join [file dirname [file normalize [info script]]] common.tcl]
arguments {sources ip part}

create_project -force -in_memory -part $part
add_generated $sources
set_property top qpolicy_axi_lite_top [get_filesets sources_1]
update_compile_order -fileset sources_1

ipx::package_project -root_dir $ip -vendor qpolicy-ros.example -library robotics \
    -taxonomy /UserIP -import_files -force
set core [ipx::current_core]
set_property name qpolicy $core
set_property version 1.0 $core
set_property display_name "QPolicy controller" $core
set_property description "A low-bit control policy behind AXI4-Lite registers" $core
ipx::infer_bus_interface irq xilinx.com:signal:interrupt_rtl:1.0 $core
ipx::associate_bus_interfaces -busif s_axi -clock s_axi_aclk $core
ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
close_project
