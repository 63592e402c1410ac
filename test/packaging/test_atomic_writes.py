"""What writes a user's file goes through qpolicy_ros/common/files.py, read from the sources."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WRITES = {"write_text", "write_bytes", "savefig", "copyfile", "copy", "imwrite", "tofile"}
# Modules that write something else, and what.
OTHER = {
    "fpga/folder.py": "a folder, whole once its manifest is there, which goes first and comes last",
    "fpga/simulate/verilator.py": "a scratch folder",
    "qpolicy_ros/bench/fpga_ideas.py": "a scratch folder",
    "fpga/simulate/lanes.py": "a scratch folder",
    "fpga/report/lint.py": "a scratch folder",
    "fpga/simulate/netlist.py": "a scratch folder",
    "qpolicy_ros/bench/fpga_cores.py": "a scratch folder",
    "fpga/vivado/board.py": "copies of sources, before component.xml",
    "qpolicy_ros/bench/cortex_m/instructions.py": "a scratch folder",
    "qpolicy_ros/bench/peers.py": "a scratch folder",
    "qpolicy_ros/demo/film.py": "its own job",
    "qpolicy_ros/interchange/outgoing/c_library.py": "a scratch folder",
    "qpolicy_ros/nodes/recording/bag_folder.py": "metadata, by renaming, unsynced",
    "qpolicy_ros/common/files.py": "this is the one",
    "qpolicy_ros/verify/formal.py": "a scratch folder",
    "qpolicy_ros/verify/yosys_worker.py": "a scratch folder",
    "scripts/test_full.py": "a log that grows line by line",
    "fpga/build/artix.py": "a scratch folder",
    "fpga/build/bitstream.py": "a stage's folder, moved into place whole",
    "fpga/build/core.py": "a cache, by renaming",
    "fpga/build/prove.py": "a scratch folder",
    "fpga/build/readback.py": "a scratch folder",
    "fpga/tables.py": "a scratch folder",
    "qpolicy_ros/bench/fpga_wires.py": "a scratch folder",
    "qpolicy_ros/latency/db3.py": "a scratch folder",
    "qpolicy_ros/replay/aarch64.py": "a scratch folder",
    "training/runs/checkpoint.py": "a run's folder, before the checkpoint that makes it one",
}


# Folders beside a cache or an output, which whoever makes them names in an error.
BESIDE = {"fpga/simulate/verilator.py", "fpga/build/stages.py", "qpolicy_ros/nodes/rcl/compile.py"}


def temporary_places(source: str) -> list[str]:
    """Return the calls of `tempfile` in `source`."""
    calls = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [text for text in map(ast.unparse, calls) if text.startswith("tempfile.")]


@pytest.mark.parametrize("room", ["qpolicy_ros", "training", "fpga"])
def test_a_full_folder_for_temporary_files_is_named_everywhere(room):
    """`scratch_folder` names it; who calls `tempfile` does not."""
    found = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / room).rglob("*.py")}
    for name in found.keys() - BESIDE - {"qpolicy_ros/common/files.py"}:
        assert temporary_places(found[name].read_text(encoding="utf-8")) == [], name


def direct_writes(source: str) -> list[str]:
    """Return the calls in `source` that write a file in place; into a stream is not."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        name, owner = node.func.attr, ast.unparse(node.func.value)
        target = ast.unparse(node.args[0]) if node.args else ""
        if name not in WRITES or target in {"stream", "'<bytes>'"}:
            continue
        if name == "copy" and owner != "shutil":
            continue
        found.append(f"{owner}.{name}")
    return found


def modules() -> list[Path]:
    """Return every module that runs for a user or a developer, those of OTHER aside."""
    folders = ("qpolicy_ros", "training", "fpga", "scripts")
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if path.relative_to(ROOT).as_posix() not in OTHER)


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=str(path.relative_to(ROOT))) for path in modules()]
)
def test_files_are_written_whole(path):
    assert direct_writes(path.read_text(encoding="utf-8")) == []


def test_every_exception_is_one():
    for name in OTHER:
        source = (ROOT / name).read_text(encoding="utf-8")
        assert direct_writes(source) or "os.fdopen" in source, name


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("path.write_text(text)", ["path.write_text"]),
        ("figure.savefig(path, dpi=150)", ["figure.savefig"]),
        ("shutil.copyfile(a, b)", ["shutil.copyfile"]),
        ("figure.savefig(stream, format='png')", []),
        ("array.copy()", []),
        ("write_atomically(path, content)", []),
    ],
)
def test_a_direct_write_is_found(source, expected):
    assert direct_writes(source) == expected
