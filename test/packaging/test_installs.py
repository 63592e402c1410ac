"""Four ways to install; in each, from any folder: the policy is found, the C kernel imports.

Every way gets its own copy of the tree, as an editable install builds into it. Nothing is
downloaded: dependencies come from the environment that runs the tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COLCON = Path(sys.executable).with_name("colcon")
PARTS = ["qpolicy_ros", "training", "fpga", "launch", "config", "resource", "scripts"]
FILES = ["package.xml", "setup.py", "setup.cfg", "pyproject.toml", "LICENSE"]

# What a user's script sees, in JSON.
PROBE = """
import importlib.util, json, sys
import qpolicy_ros, qpolicy_training, qpolicy_fpga
from qpolicy_ros.policy import engine_kinds, find_policy
print(json.dumps({
    "package": qpolicy_ros.__file__,
    "policy": str(find_policy("hopper")),
    "engines": list(engine_kinds()),
    "strays": [n for n in ("training", "fpga") if importlib.util.find_spec(n)],
}))
"""
WAYS = ["wheel", "editable", "colcon", "colcon-symlink"]


def call(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a command and return its standard output; a failure shows all it printed."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def bare_environment() -> dict[str, str]:
    """Return the environment without what could help a broken install to work."""
    helping = {"PYTHONPATH", "AMENT_PREFIX_PATH", "QPOLICY_POLICIES", "COLCON_PREFIX_PATH"}
    return {name: value for name, value in os.environ.items() if name not in helping}


def quick_compiler(folder: Path) -> dict[str, str]:
    """Return the environment for the compiler without its optimisation, which takes most time."""
    if shutil.which("cc") is None:
        return {}
    compiler = folder / "cc"
    compiler.write_text('#!/bin/sh\nexec cc "$@" -O0\n')
    compiler.chmod(0o755)
    return {"CC": str(compiler)}


class Install:
    """One way of installing a copy of the tree, with what it takes to use it."""

    def __init__(self, way: str, folder: Path) -> None:
        self.way = way
        self.folder = folder
        self.tree = folder / "tree"
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir(parents=True)
        for part in PARTS:
            ignored = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(ROOT / part, self.tree / part, ignore=ignored)
        for file in FILES:
            shutil.copy(ROOT / file, self.tree / file)
        self.environment = bare_environment()
        self.building = self.environment | quick_compiler(folder)
        if way.startswith("colcon"):
            self._colcon()
        else:
            self._pip()

    def _pip(self) -> None:
        venv = self.folder / "venv"
        call(sys.executable, "-m", "venv", "--without-pip", venv, cwd=self.folder)
        self.python = venv / "bin" / "python"
        self.scripts = venv / "bin"
        # Dependencies by path: a .pth inside that folder, such as that of the editable install
        # under test, is not run.
        site = call(
            self.python, "-c", "import sysconfig as s; print(s.get_path('purelib'))", cwd=venv
        )
        Path(site.strip(), "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        offline = ["--no-deps", "--no-index", "--no-build-isolation"]
        target = ["-e", str(self.tree)]
        if self.way == "wheel":
            wheels = self.folder / "wheels"
            wheel = [*pip, "wheel", *offline, "-w", wheels, self.tree]
            call(*wheel, cwd=self.folder, env=self.building)
            (self.wheel,) = wheels.glob("*.whl")
            # The wheel has to do without the tree that it came from.
            shutil.rmtree(self.tree)
            target = [str(self.wheel)]
        install = [*pip, "--python", self.python, "install", *offline, *target]
        call(*install, cwd=self.folder, env=self.building)

    def _colcon(self) -> None:
        built = self.folder / "install"
        command = [COLCON, "--log-base", self.folder / "log", "build"]
        command += ["--base-paths", self.tree, "--build-base", self.folder / "build"]
        command += ["--install-base", built]
        if self.way == "colcon-symlink":
            command.append("--symlink-install")
        call(*command, cwd=self.folder, env=self.building)
        if self.way == "colcon":
            shutil.rmtree(self.tree)
        self.python = Path(sys.executable)
        self.scripts = built / "qpolicy_ros" / "lib" / "qpolicy_ros"
        sourced = call(
            "bash",
            "-c",
            f"source '{built}/setup.bash' && '{self.python}' -c "
            "'import json, os; print(json.dumps(dict(os.environ)))'",
            cwd=self.elsewhere,
            env=self.environment,
        )
        self.environment = json.loads(sourced.splitlines()[-1])

    def probe(self) -> dict[str, object]:
        """Return what a script in another working directory finds."""
        output = call(self.python, "-c", PROBE, cwd=self.elsewhere, env=self.environment)
        return json.loads(output)


@pytest.fixture(scope="module", params=WAYS)
def install(request, tmp_path_factory):
    """Return the tree, installed one of the four ways."""
    if request.param.startswith("colcon") and not COLCON.exists():
        pytest.skip("colcon is not installed")
    return Install(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def found(install):
    """Return what a script in another working directory finds."""
    return install.probe()


def test_the_install_under_test_is_the_one_imported(install, found):
    assert str(found["package"]).startswith(str(install.folder))


def test_shipped_policy_is_found_from_another_folder(install, found):
    assert str(found["policy"]).startswith(str(install.folder))
    assert Path(found["policy"]).parts[-4:] == ("config", "policies", "hopper", "paper.safetensors")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_c_kernel_is_built(found):
    assert "c" in found["engines"]


def test_nothing_is_installed_under_a_common_name(found):
    assert found["strays"] == []


def test_command_runs(install):
    output = call(
        install.scripts / "qpolicy", "--version", cwd=install.elsewhere, env=install.environment
    )
    assert output.startswith("qpolicy ")


def test_nodes_are_executables(install):
    for name in ("policy_node", "safety_watchdog", "mujoco_sim_node", "bag_recorder"):
        assert os.access(install.scripts / name, os.X_OK)


def test_what_gets_robot_models_is_there_without_a_checkout(install):
    """It does nothing where the model is there, in the place of the Python that is named."""
    model = install.elsewhere / "share" / "mujoco_menagerie" / "unitree_go2" / "go2.xml"
    model.parent.mkdir(parents=True, exist_ok=True)
    model.touch()
    script = install.scripts / "robot_models.sh"
    assert os.access(script, os.X_OK)
    call(script, install.elsewhere, cwd=install.elsewhere, env=install.environment)


@pytest.mark.parametrize("install", ["wheel"], indirect=True)
def test_wheel_has_only_our_top_level_names(install):
    names = {name.split("/")[0] for name in zipfile.ZipFile(install.wheel).namelist()}
    packages = {name for name in names if not name.endswith((".dist-info", ".data"))}
    assert packages == {"qpolicy_ros", "qpolicy_training", "qpolicy_fpga"}


def test_without_a_compiler_the_build_goes_on_with_a_notice(tmp_path):
    for part in ("qpolicy_ros", "resource", "training"):
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(ROOT / part, tmp_path / part, ignore=ignored)
    for file in FILES:
        shutil.copy(ROOT / file, tmp_path / file)
    result = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext"],
        cwd=tmp_path,
        env=os.environ | {"CC": "/nonexistent/cc"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    notices = [line for line in result.stderr.splitlines() if line.startswith("qpolicy_ros:")]
    # One line for each of the C parts.
    passes = [
        f"{name}_{kind}" for name in ("_actor", "_critic") for kind in ("bfloat16", "float32")
    ]
    assert [re.search(r"(\w+) was not built", line)[1] for line in notices] == ["_kernel", *passes]
    assert all("NumPy computes the same bits, and torch trains, slower" in line for line in notices)
    assert not list(tmp_path.rglob("*.so"))
