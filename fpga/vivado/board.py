"""Write what Vivado needs for a board, or for an IP of a design of your own, beside a core.

``python -m qpolicy_fpga.vivado.board <pynq-z2, arty-a7 or axi-stream> <generated folder>``
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from qpolicy_fpga.manifest import read_manifest
from qpolicy_fpga.vivado.component import IPS, component, settings
from qpolicy_fpga.wrappers.tops import RTL, Sizes, write_wrapper
from qpolicy_ros.common.errors import InputError, PolicyError
from qpolicy_ros.common.files import write_atomically

_HERE = Path(__file__).parent
BOARDS = {
    "pynq-z2": ("axi_lite", ("common.tcl", "package_ip.tcl", "pynq_z2.tcl")),
    "arty-a7": (
        "uart",
        ("common.tcl", "arty_a7.tcl", "load_arty_a7.tcl", "arty_a7.v", "arty_a7.xdc"),
    ),
    # No board: the IP with a stream in and a stream out.
    "axi-stream": ("axi_stream", ("common.tcl", "package_ip.tcl")),
}


def write_board(board: str, folder: Path) -> list[Path]:
    """Write ``folder/<board>``: sources with their wrapper, and the scripts; return its files.

    Args:
        board: one of :data:`BOARDS`.
        folder: what ``qpolicy fpga generate`` wrote.

    Raises:
        PolicyError: an unknown board, or sizes that do not fit into the wrapper.
        OSError: the folder cannot be read or written.
    """
    if board not in BOARDS:
        known = ", ".join(BOARDS)
        raise PolicyError.at("", "board", f"{board!r} is unknown", f"choose one of {known}")
    manifest = read_manifest(folder)
    wrapper, scripts = BOARDS[board]
    out = folder / board
    sources = out / "sources"
    sizes = Sizes.of(manifest)
    write_wrapper(wrapper, sizes, sources)
    for name in manifest.files:
        shutil.copy(folder / name, sources / name)
    for name in scripts:
        shutil.copy(_HERE / name, out / name)
    if wrapper == "axi_lite":
        shutil.copy(RTL / "qpolicy_axi_timeout.v", out)
    if wrapper in IPS:
        names = sorted(path.name for path in sources.iterdir())
        text = component(wrapper, sizes, [name for name in names if name.endswith((".v", ".vh"))])
        write_atomically(sources / "component.xml", text.encode())
        write_atomically(out / "ip.tcl", settings(wrapper).encode())
    return sorted(path for path in out.rglob("*") if path.is_file())


def main(arguments: list[str]) -> int:
    """Write a board's files and print their names."""
    if len(arguments) != 2:
        names = ", ".join(BOARDS)
        sys.stderr.write(f"usage: python -m qpolicy_fpga.vivado.board <{names}> <folder>\n")
        return 2
    try:
        files = write_board(arguments[0], Path(arguments[1]))
    except (InputError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write("".join(f"{path}\n" for path in files))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
