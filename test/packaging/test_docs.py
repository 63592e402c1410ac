"""The documents name what the code has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*.md"))]
# index.md is the same index as the site shows it.
NO_PAGES = {"README.md", "index.md"}
INDEXED = [path for path in DOCUMENTS if path.parent.name == "docs" and path.name not in NO_PAGES]
LAUNCH_FILES = sorted(path.name for path in (ROOT / "launch").glob("*.launch.py"))
ROS2 = (ROOT / "docs" / "ros2.md").read_text(encoding="utf-8")


def first_strings(path: Path, table: str) -> list[str]:
    """Return the first string of every row of the tuple `table` in the module `path`."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == table:
            rows = [row.args if isinstance(row, ast.Call) else row.elts for row in node.value.elts]
            return [row[0].value for row in rows]
    raise AssertionError(f"{path}: no table {table}")


def section(title: str) -> str:
    """Return the part of docs/ros2.md under the heading `title`."""
    parts = re.split(r"^## ", ROS2, flags=re.MULTILINE)
    (part,) = [part for part in parts if part.splitlines()[0].strip("`") == title]
    return part


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ("policy_specs", "policy_node"),
        ("sim_specs", "mujoco_sim_node"),
        ("safety_watchdog", "safety_watchdog"),
        ("bag_recorder", "bag_recorder"),
    ],
)
def test_every_parameter_is_documented(source, title):
    names = first_strings(ROOT / "qpolicy_ros" / "nodes" / f"{source}.py", "SPECS")
    assert [name for name in names if f"`{name}`" not in section(title)] == []


@pytest.mark.parametrize(
    "source",
    ["policy_node", "feature_loop", "outputs", "robot_loop", "mujoco_sim_node", "sim_publishers"],
)
def test_every_topic_and_service_is_documented(source):
    found = (ROOT / "qpolicy_ros" / "nodes").rglob(f"{source}.py")
    text = next(iter(found)).read_text(encoding="utf-8")
    names = re.findall(r'(?:create(?:_\w+)?|_hear)\(\s*[A-Z]\w+,\s*"([^"]+)"', text)
    assert names
    assert [name for name in names if f"`{name}`" not in ROS2] == []


@pytest.mark.parametrize("file", LAUNCH_FILES)
def test_every_launch_argument_is_documented(file):
    names = first_strings(ROOT / "launch" / file, "ARGUMENTS")
    assert [name for name in names if f"`{name}`" not in section("Launch arguments")] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    text = document.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", text)
    assert [target for target in targets if not (document.parent / target).exists()] == []


# The changelog may name what is gone.
@pytest.mark.parametrize(
    "document",
    [path for path in DOCUMENTS if path.name != "CHANGELOG.md"],
    ids=lambda path: path.name,
)
def test_named_source_files_exist(document):
    text = document.read_text(encoding="utf-8")
    named = re.findall(
        r"`((?:qpolicy_ros|training|fpga|launch|test|scripts)/[\w/.]+\.(?:py|c|h|sh))`", text
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_each_name_of_the_reading_order_is_in_the_file_that_it_leads_to():
    text = (ROOT / "docs" / "reading-order.md").read_text(encoding="utf-8")
    links = re.findall(r"\[`([\w.]+)`\]\(\.\./([\w/.]+)\)", text)
    assert len(links) > 30
    for name, file in links:
        source = (ROOT / file).read_text(encoding="utf-8")
        for part in name.split("."):
            made = rf"\b(class|def|module) +{part}\b|^{part}\b.*=|[ *]{part}\(.*\{{$"
            assert re.search(made, source, re.MULTILINE), f"{name}: {file}"


@pytest.mark.parametrize("document", INDEXED, ids=lambda path: path.name)
def test_every_document_is_in_the_index(document):
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert f"({document.name})" in index
