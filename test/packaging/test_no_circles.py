"""No circle of imports, late ones and those for types included; imports for types are few."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"qpolicy_ros": "qpolicy_ros", "training": "qpolicy_training", "fpga": "qpolicy_fpga"}
FOR_TYPES = "TYPE_CHECKING"


@dataclass
class Imports:
    """Dotted names that a module imports: when it is imported, late, and for types alone."""

    first: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)
    types: set[str] = field(default_factory=set)

    def all(self) -> set[str]:
        return self.first | self.late | self.types


def imports_of(source: str) -> Imports:
    """Return what ``source`` imports; of ``from a import b`` both ``a`` and ``a.b``."""
    found = Imports()

    def visit(nodes: Iterable[ast.AST], into: set[str]) -> None:
        for node in nodes:
            if isinstance(node, ast.Import):
                into.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, "relative imports are not used here"
                into.add(str(node.module))
                into.update(f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.If) and ast.unparse(node.test) == FOR_TYPES:
                visit(node.body, found.types)
                visit(node.orelse, into)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                visit(node.body, found.late)
            else:
                visit(ast.iter_child_nodes(node), into)

    visit(ast.parse(source).body, found.first)
    return found


def modules() -> Iterator[tuple[str, Path]]:
    """Yield every module of the three packages, by its dotted name."""
    for folder, package in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = [package, *path.relative_to(ROOT / folder).with_suffix("").parts]
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())
IMPORTS = {name: imports_of(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return the names along a circle of ``graph``, or nothing."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph.get(name, set())):
            if found := walk(other, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in graph if (found := walk(name, []))), [])


def test_modules_import_each_other_in_no_circle():
    graph = {name: (each.all() & MODULES.keys()) - {name} for name, each in IMPORTS.items()}
    assert circle(graph) == []


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c", "b"]),
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, []),
    ],
)
def test_a_circle_is_found(graph, expected):
    assert circle(graph) == expected


def brought(first: Iterable[str]) -> set[str]:
    """Return the packages that come with importing ``first``, by their own imports."""
    packages, seen, left = set(), set(), list(first)
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        packages.add(name.partition(".")[0])
        parents = name.split(".")
        left += [".".join(parents[:end]) for end in range(1, len(parents))]
        left += IMPORTS[name].first if name in MODULES else []
    return packages - sys.stdlib_module_names


@pytest.mark.parametrize("name", [name for name in MODULES if IMPORTS[name].types])
def test_imports_for_types_are_for_what_a_module_runs_without(name):
    found = IMPORTS[name]
    assert all(brought([each]) - brought(found.first) for each in found.types)


@pytest.mark.parametrize("name", [name for name in MODULES if IMPORTS[name].types])
def test_imports_for_types_say_why(name):
    lines = MODULES[name].read_text(encoding="utf-8").splitlines()
    assert all("  # " in line for line in lines if line.startswith(f"if {FOR_TYPES}:"))
