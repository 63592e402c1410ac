"""docs/api.md says what is public: it exists, has a description, and is all that is exported."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from qpolicy_ros.policy import layout

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = re.findall(r"`(qpolicy_ros\.\w+)`", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"))
REFERENCE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


def public_module(name):
    if name.endswith(".sim"):
        pytest.importorskip("mujoco")
    return importlib.import_module(name)


def test_the_policy_file_s_formats_are_named():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    (newest,) = re.findall(r"the policy file, formats 1 to (\d)", text)
    assert int(newest) == layout.FORMAT_VERSION


def test_the_public_modules_are_those_with_a_reference():
    assert re.findall(r"automodule:: (\S+)", REFERENCE) == PUBLIC
    assert len(PUBLIC) >= 3


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_exists_and_is_described(name):
    module = public_module(name)
    assert module.__all__ == sorted(module.__all__, key=lambda n: (not n.isupper(), n))
    for item in module.__all__:
        value = getattr(module, item)
        if inspect.isclass(value) or inspect.isfunction(value):
            text = value.__doc__ or ""
            assert len(text) > 20, item
            assert not text.startswith(f"{item}("), f"{item}: a dataclass's own signature"


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_method_is_described(name):
    module = public_module(name)
    classes = [getattr(module, item) for item in module.__all__]
    missing = [
        f"{value.__name__}.{method}"
        for value in classes
        if inspect.isclass(value)
        for method, function in vars(value).items()
        if not method.startswith("_") and inspect.isfunction(function) and not function.__doc__
    ]
    assert missing == []


@pytest.mark.parametrize("name", PUBLIC)
def test_nothing_public_is_left_out_of_all(name):
    module = public_module(name)
    exported = {
        item
        for item, value in vars(module).items()
        if not item.startswith("_")
        and getattr(value, "__module__", "").startswith("qpolicy_ros")
        and not inspect.ismodule(value)
    }
    assert exported <= set(module.__all__)


def test_the_example_of_the_reference_runs():
    pytest.importorskip("numpy")
    (example,) = re.findall(r"```python\n(.*?)```", REFERENCE, re.DOTALL)
    subprocess.run([sys.executable, "-c", example], check=True, cwd=ROOT)


def test_the_parameter_page_is_what_the_nodes_declare():
    pytest.importorskip("rclpy")
    script = ROOT / "scripts" / "parameter_tables.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
