"""The bitstream of an iCE40, read back into Verilog by Project IceStorm's ``icebox_vlog``.

Nothing of the build is used but the bits that are loaded and the names of the pins.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from qpolicy_fpga.build import toolbox
from qpolicy_fpga.build.cut import serial_ports
from qpolicy_fpga.build.top import TOP
from qpolicy_fpga.simulate.netlist import Netlist, read_netlist
from qpolicy_fpga.tools import run_limited
from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import scratch_folder

READER = "icebox_vlog"
_LIMIT = 3600.0


def is_there() -> bool:
    """Whether the reader is installed."""
    return shutil.which(READER) is not None and toolbox.is_there("iceunpack")


def read_bitstream(bitstream: Path, pins: Path, idle: Mapping[str, str]) -> Netlist:
    """Return the design that a bitstream configures, with the ports of ``cut.serial_ports``.

    Args:
        bitstream: what is loaded.
        pins: the board's ``.pcf``.
        idle: level of each input but ``clock`` and ``rx``.

    Raises:
        InputError: a tool is missing or fails.
        BackendError: it takes too long.
    """
    if shutil.which(READER) is None:
        remedy = "install it with `apt-get install fpga-icestorm`"
        raise InputError.at("", READER, "is not installed", remedy)
    with scratch_folder() as scratch:
        folder = Path(scratch)
        shutil.copy(bitstream, folder / "design.bin")
        # The reader knows plain `set_io name pin` only.
        lines = [line.split() for line in pins.read_text("utf-8").splitlines()]
        plain = [f"set_io {line[-2]} {line[-1]}\n" for line in lines if line[:1] == ["set_io"]]
        (folder / "pins.pcf").write_text("".join(plain), encoding="utf-8")
        toolbox.run("iceunpack", ["design.bin", "design.asc"], folder)
        command = [READER, "-s", "-n", TOP, "-p", "pins.pcf", "design.asc"]
        done = run_limited(READER, command, folder=folder, limit=_LIMIT)
        if done.returncode or "module" not in done.stdout:
            said = toolbox.first_error(done.stderr, done.returncode)
            raise InputError.at(bitstream, READER, said, "build again")
        source = folder / "design.v"
        source.write_text(_tied(done.stdout, idle), encoding="utf-8")
        netlist = read_netlist([source], TOP, clock="clock")
    return serial_ports(netlist)


def _tied(source: str, idle: Mapping[str, str]) -> str:
    """Return Verilog whose further inputs have their idle level."""
    for name, level in idle.items():
        source = source.replace(f"input {name}", f"input {name}_pin", 1)
        head, _, rest = source.partition(";\n")
        source = f"{head};\nwire {name} = 1'b{level};\n{rest}"
    return source
