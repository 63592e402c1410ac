"""Compile C against the headers of the ROS 2 that this process has loaded, once, into a cache.

The cache is ``$XDG_CACHE_HOME/qpolicy/rcl`` (``~/.cache/...``), a file named by the hash of source,
compiler, flags, and the place and time of ROS's library: another ROS 2 gets another file.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-shared", "-fPIC")
_LIBRCL = "librcl.so"


class CompileError(RuntimeError):
    """The C part cannot be had here; the text is one line with what to install."""


def cache_folder() -> Path:
    """Return where compiled files are kept."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "qpolicy" / "rcl"


def loaded_library(name: str) -> Path:
    """Return the file of a shared library that this process has loaded.

    Raises:
        CompileError: it has not, or the system does not say.
    """
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise CompileError(f"cannot tell which libraries are loaded: {error}") from error
    for line in maps.splitlines():
        path = line.partition("/")[2].removesuffix(" (deleted)")
        if path.rpartition("/")[2] == name:
            return Path("/", path)
    raise CompileError(f"{name} is not loaded")


def compiled(source: Path, beside: Sequence[Path] = ()) -> Path:
    """Return the shared library of ``source``, compiled now unless the cache has it.

    Args:
        source: a C file.
        beside: headers that it includes and that are our own.

    Raises:
        CompileError: no compiler, no headers, or the cache cannot be written.
    """
    librcl = loaded_library(_LIBRCL)
    compiler = shlex.split(os.environ.get("CC") or "cc")
    found = shutil.which(compiler[0])
    key = hashlib.sha256()
    facts = [platform.machine(), sysconfig.get_config_var("EXT_SUFFIX"), " ".join(_FLAGS)]
    facts += [" ".join(compiler), found, librcl, librcl.stat().st_mtime_ns]
    for fact in facts:
        key.update(f"{fact}\0".encode())
    for path in (source, *beside):
        key.update(path.read_bytes())
    try:
        library = cache_folder() / f"{source.stem}-{key.hexdigest()[:16]}.so"
        if library.is_file():
            return library
        if found is None:
            raise CompileError(f"no C compiler: install gcc, or name one in $CC ({compiler[0]!r})")
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent, prefix="building-") as scratch:
            made = Path(scratch, "made.so")
            _compile(
                [*compiler, *_FLAGS, f"-I{HERE}", *_includes(librcl), str(source), "-o", str(made)]
            )
            made.replace(library)
    except (OSError, RuntimeError) as error:
        if isinstance(error, CompileError):
            raise
        raise CompileError(f"cache: {error}; set XDG_CACHE_HOME to a writable folder") from error
    return library


def _includes(librcl: Path) -> list[str]:
    """Return the options that name Python's headers and those of every ROS package."""
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    roots = [Path(prefix) for prefix in prefixes if prefix] + [librcl.parents[1]]
    found = [Path(sysconfig.get_paths()["include"])]
    if not (found[0] / "Python.h").is_file():
        raise CompileError(f"no Python.h in {found[0]}: install python3-dev")
    for root in roots:
        # A package's headers lie in include/<package>/<package>.
        found += [path for path in sorted(root.glob("include/*")) if (path / path.name).is_dir()]
    if not any((path / "rcl" / "wait.h").is_file() for path in found):
        raise CompileError(f"no headers of rcl beside {librcl}: install ROS 2's development files")
    return [f"-I{path}" for path in found]


def _compile(command: Sequence[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr]
        raise CompileError(f"{command[0]} refuses it: {' '.join(lines[0].split())[:300]}")
