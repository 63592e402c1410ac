"""scripts/setup_system.sh: installs what is missing, or says what will not work without it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "setup_system.sh"


@pytest.fixture
def machine(tmp_path):
    """Return a function that runs the script on a machine without a compiler."""

    def run(
        user: int, apt_get: str | None = None, more: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        commands = {"id": f"echo {user}"}
        if apt_get is not None:
            commands["apt-get"] = apt_get
        for name, body in commands.items():
            (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
            (tmp_path / name).chmod(0o755)
        if not (tmp_path / "grep").exists():
            (tmp_path / "grep").symlink_to(shutil.which("grep"))
        return subprocess.run(
            [shutil.which("bash"), SCRIPT, *more],
            env={"PATH": str(tmp_path), "PYTHON": sys.executable},
            check=True,
            capture_output=True,
            text=True,
        )

    return run


def test_without_root_it_names_what_is_missing_and_what_is_lost(machine):
    notices = machine(user=1000).stderr.splitlines()
    (about_compiler,) = [line for line in notices if "g++" in line]
    assert about_compiler.startswith("notice: g++ is missing; will not work: the C kernel")
    assert "apt-get install g++" in about_compiler


def test_with_root_it_installs_what_is_missing(machine, tmp_path):
    result = machine(user=0, apt_get=f'echo "$@" >> {tmp_path}/calls')
    assert result.stderr == ""
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert " install " in f" {call} "
    assert "g++" in call.split()


def test_a_failed_install_is_a_notice(machine):
    result = machine(user=0, apt_get="exit 100")
    assert "notice: g++ is missing" in result.stderr


def test_the_toolchain_of_the_cortex_benchmark_is_installed_only_when_asked_for(machine):
    packages = ("gcc-arm-none-eabi", "libnewlib-arm-none-eabi", "qemu-system-arm")
    plain, asked = machine(user=1000), machine(user=1000, more=("cortex",))
    for package in packages:
        assert package not in plain.stderr
        assert f"notice: {package} is missing" in asked.stderr
