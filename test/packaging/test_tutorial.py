"""Every command of docs/tutorial.md works, in its order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def script():
    """The tutorial's commands; the first that fails ends it."""
    return "set -euxo pipefail\n" + "".join(BLOCKS)


def test_the_commands_are_written_for_a_shell():
    assert len(BLOCKS) >= 5
    subprocess.run(["bash", "-n"], input=script(), text=True, check=True)


def test_every_command_works(tmp_path, full, ros_domain_id):
    if not full:
        pytest.skip("trains, simulates and synthesises: make test-full")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "QPOLICY_RUNS": str(tmp_path / "runs"),
        "ROS_DOMAIN_ID": str(ros_domain_id),
    }
    done = subprocess.run(
        ["bash"],
        input=script(),
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)  # noqa: T201  shown where it failed
    assert done.returncode == 0
    assert "Traceback" not in done.stdout
    over_ros = re.search(r"seed 7\): return (-?[\d.]+)", done.stdout)
    assert over_ros is not None
    assert f"{float(over_ros.group(1)):.1f}" in done.stdout[over_ros.end() :]
