# Pins of the Arty A7 (35T and 100T are alike), after Digilent's reference manual.
set_property -dict {PACKAGE_PIN E3 IOSTANDARD LVCMOS33} [get_ports CLK100MHZ]
set_property -dict {PACKAGE_PIN C2 IOSTANDARD LVCMOS33} [get_ports ck_rst]
set_property -dict {PACKAGE_PIN A9 IOSTANDARD LVCMOS33} [get_ports uart_txd_in]
set_property -dict {PACKAGE_PIN D10 IOSTANDARD LVCMOS33} [get_ports uart_rxd_out]
set_property -dict {PACKAGE_PIN H5 IOSTANDARD LVCMOS33} [get_ports led]
create_clock -name clock -period 10.000 [get_ports CLK100MHZ]
# Button, light and serial line are asynchronous to the clock.
set_false_path -from [get_ports {ck_rst uart_txd_in}]
set_false_path -to [get_ports {uart_rxd_out led}]
set_property CFGBVS VCCO [current_design]
set_property CONFIG_VOLTAGE 3.3 [current_design]
