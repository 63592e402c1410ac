"""Write docs/parameters.md from the nodes' own tables; `--check` only says whether it is stale."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from qpolicy_ros.common.files import write_atomically

PAGE = Path(__file__).resolve().parents[1] / "docs" / "parameters.md"
NODES = {
    "policy_node": "policy_specs",
    "mujoco_sim_node": "sim_specs",
    "bag_recorder": "bag_recorder",
    "safety_watchdog": "safety_watchdog",
}
HEAD = """# Parameters of the nodes

Written by `scripts/parameter_tables.py` from what the nodes declare; [ROS 2](ros2.md) says how they
are used. "Start" marks those that can be set at start only.
"""


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for node, module in NODES.items():
        specs = importlib.import_module(f"qpolicy_ros.nodes.{module}").SPECS
        parts.append(f"\n## {node}\n\n| parameter | type | default | range | start | what |\n")
        parts.append("|---|---|---|---|---|---|\n")
        parts += [row(spec) for spec in specs]
    return "".join(parts)


def row(spec: Any) -> str:
    """Return one parameter's line."""
    kind = TYPES.get(type(spec.default), "string array" if spec.default else "integer array")
    bounds = "" if spec.bounds is None else " to ".join(map(number, spec.bounds))
    start = "yes" if spec.read_only else ""
    shown = str(spec.default).lower() if isinstance(spec.default, bool) else spec.default
    default = f"`{shown}`" if shown != "" else '`""`'
    text = spec.description.replace("|", r"\|").replace("<", r"\<")
    return f"| `{spec.name}` | {kind} | {default} | {bounds} | {start} | {text} |\n"


def number(value: float) -> str:
    """Return a bound, whole numbers in full."""
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


TYPES = {bool: "bool", int: "integer", float: "double", str: "string"}


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` compare it."""
    text = page()
    if arguments == ["--check"]:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
            return 0
        print(f"{PAGE}: is stale; run scripts/parameter_tables.py", file=sys.stderr)
        return 1
    write_atomically(PAGE, text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
