"""Wires of a routed design, as nextpnr's SDF has them."""

from __future__ import annotations

from qpolicy_ros.bench.fpga_wires import main, read_sdf

SDF = """\
        (INTERCONNECT r/Q a/A (363:433:504) (363:433:504))
        (INTERCONNECT r/Q b/CE (363:433:1504) (363:433:504))
        (INTERCONNECT r/Q c/DI (110:120:130) (110:120:130))
        (INTERCONNECT pll/Q c/CLK (0:0:0) (0:0:0))
        (INTERCONNECT x/F y/FCI (0:0:0) (0:0:0))
        (IOPATH A F (200:218:236) (200:218:236))
"""


def test_a_wire_is_its_loads_and_its_slowest_delay():
    assert read_sdf(SDF.splitlines()).tolist() == [[3, 0.504], [3, 1.504]]


def test_a_folder_without_a_build_is_refused(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert main([]) == 2
    assert capsys.readouterr().err.count("error: ") == 2
