# Build the PYNQ-Z2 overlay: processing system, timeout block, packaged IP.
#
#   vivado -mode batch -source pynq_z2.tcl -tclargs <ip> <timeout> <build> <saif>
#
# ip: folder that package_ip.tcl wrote; timeout: qpolicy_axi_timeout.v; build: folder to write;
# saif: switching activity for the power report, or "".
source [file join [file dirname [file normalize [info script]]] common.tcl]
arguments {ip timeout build saif}

create_project -force qpolicy_pynq_z2 [file join $build project] -part xc7z020clg400-1
set_property ip_repo_paths $ip [current_project]
update_ip_catalog -rebuild
add_files -norecurse -fileset sources_1 $timeout
update_compile_order -fileset sources_1

create_bd_design system
# Memory and pins were set up when the board booted; a running overlay does not touch them.
set ps [create_bd_cell -type ip -vlnv xilinx.com:ip:processing_system7:5.5 ps]
apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 \
    -config {make_external "FIXED_IO, DDR" apply_board_preset 0} $ps
set_property -dict [list \
    CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ 100 \
    CONFIG.PCW_USE_M_AXI_GP0 1 \
    CONFIG.PCW_USE_FABRIC_INTERRUPT 1 \
    CONFIG.PCW_IRQ_F2P_INTR 1] $ps

set reset [create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset:5.0 reset]
set bus [create_bd_cell -type ip -vlnv xilinx.com:ip:axi_interconnect:2.1 bus]
set_property -dict [list CONFIG.NUM_SI 1 CONFIG.NUM_MI 1] $bus
set core [create_bd_cell -type ip -vlnv qpolicy-ros.example:robotics:qpolicy:1.0 core]
# The processor sees the timeout block, so it has the name that the driver looks for. A bus error
# would kill the process that reads: it answers OKAY, with data that the driver knows as an error.
set guard [create_bd_cell -type module -reference qpolicy_axi_timeout qpolicy_0]
set_property -dict [list CONFIG.RESPONSE 0b00] $guard

connect_bd_intf_net [get_bd_intf_pins ps/M_AXI_GP0] [get_bd_intf_pins bus/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins bus/M00_AXI] [get_bd_intf_pins qpolicy_0/s_axi]
connect_bd_intf_net [get_bd_intf_pins qpolicy_0/m_axi] [get_bd_intf_pins core/s_axi]
connect_bd_net [get_bd_pins ps/FCLK_CLK0] [get_bd_pins ps/M_AXI_GP0_ACLK] \
    [get_bd_pins reset/slowest_sync_clk] [get_bd_pins bus/ACLK] [get_bd_pins bus/S00_ACLK] \
    [get_bd_pins bus/M00_ACLK] [get_bd_pins qpolicy_0/aclk] [get_bd_pins core/s_axi_aclk]
connect_bd_net [get_bd_pins ps/FCLK_RESET0_N] [get_bd_pins reset/ext_reset_in]
connect_bd_net [get_bd_pins reset/peripheral_aresetn] [get_bd_pins bus/ARESETN] \
    [get_bd_pins bus/S00_ARESETN] [get_bd_pins bus/M00_ARESETN] [get_bd_pins qpolicy_0/aresetn] \
    [get_bd_pins core/s_axi_aresetn]
connect_bd_net [get_bd_pins core/irq] [get_bd_pins ps/IRQ_F2P]

assign_bd_address -offset 0x43C00000 -range 4K \
    -target_address_space [get_bd_addr_spaces ps/Data] [get_bd_addr_segs qpolicy_0/s_axi/reg0]
assign_bd_address -offset 0x0 -range 4K \
    -target_address_space [get_bd_addr_spaces qpolicy_0/m_axi] [get_bd_addr_segs core/s_axi/reg0]
validate_bd_design
save_bd_design

set design [get_files system.bd]
make_wrapper -top -import $design
set_property top system_wrapper [get_filesets sources_1]
update_compile_order -fileset sources_1
build
report [file join $build reports] $saif system_wrapper/system_i/core

# pynq wants the two files side by side, under one name.
set runs [file join $build project qpolicy_pynq_z2.runs impl_1]
set handoff [file join $build project qpolicy_pynq_z2.gen sources_1 bd system hw_handoff]
file copy -force [file join $runs system_wrapper.bit] [file join $build qpolicy.bit]
file copy -force [file join $handoff system.hwh] [file join $build qpolicy.hwh]
