"""package.xml, setup.py and the sources say the same."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import qpolicy_ros

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = ET.parse(ROOT / "package.xml").getroot()


def setup_py(*arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "setup.py", "-q", *arguments],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return result.stdout.strip().splitlines()[-1]


def entry_points() -> list[str]:
    """Return the console scripts as setup.py lists them, `name = module:function`."""
    return re.findall(r'"(\w+ = [\w.]+:\w+)"', (ROOT / "setup.py").read_text(encoding="utf-8"))


def test_package_xml_has_the_version_of_the_source():
    assert MANIFEST.findtext("version") == qpolicy_ros.__version__


def test_setup_py_has_the_version_of_the_source():
    assert setup_py("--version") == qpolicy_ros.__version__


def test_package_xml_is_format_3_and_ament_python():
    assert MANIFEST.get("format") == "3"
    assert MANIFEST.findtext("export/build_type") == "ament_python"


@pytest.mark.parametrize("script", entry_points())
def test_console_script_names_a_function_that_exists(script):
    module, _, function = script.partition(" = ")[2].partition(":")
    source = ROOT / (module.replace(".", "/") + ".py")
    defined = {
        node.name
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    assert function in defined


def test_every_ros_package_that_a_node_imports_is_in_package_xml():
    declared = {element.text for element in MANIFEST.iter("exec_depend")}
    used = set()
    for path in [*(ROOT / "qpolicy_ros").rglob("*.py"), *(ROOT / "launch").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            used |= {name.partition(".")[0] for name in names}
    ros = {name for name in used if name.endswith(("_msgs", "_srvs", "_interfaces"))}
    ros |= used & {"rclpy", "launch", "launch_ros", "ament_index_python"}
    assert ros <= declared
