"""Launch files run by ROS 2's own launch, on a colcon build of this package."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from ros_processes import FAST_DISCOVERY, ROOT

from qpolicy_ros.harness.domains import reserved_domain

LIMIT = 240  # s

# A shell that runs tests in the background ignores SIGINT, and so would its children.
RUN = """
import signal
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource

signal.signal(signal.SIGINT, signal.default_int_handler)
path, *arguments = sys.argv[1:]
source = AnyLaunchDescriptionSource(path)
pairs = [tuple(argument.split(":=", 1)) for argument in arguments]
service = LaunchService()
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=pairs)])
)
sys.exit(service.run())
"""


@pytest.fixture(scope="session")
def share(tmp_path_factory):
    """The package's share folder in a fresh colcon install."""
    colcon = shutil.which("colcon") or str(Path(sys.executable).with_name("colcon"))
    if not Path(colcon).is_file():
        pytest.skip("colcon is not installed")
    workspace = tmp_path_factory.mktemp("workspace")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    build = subprocess.run(
        [colcon, "--log-base", "log", "build", "--paths", str(ROOT)],
        cwd=workspace,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stderr
    return workspace / "install" / "qpolicy_ros" / "share" / "qpolicy_ros"


@pytest.fixture
def domain():
    with reserved_domain() as number:
        yield number


@pytest.fixture
def launch(share, tmp_path, domain):
    """Launch a file with arguments in its own ROS domain; return the finished process."""
    prefix = share.parents[1]
    python = next(prefix.glob("lib/python*/site-packages"))
    environment = {
        **os.environ,
        "AMENT_PREFIX_PATH": f"{prefix}{os.pathsep}{os.environ.get('AMENT_PREFIX_PATH', '')}",
        "PYTHONPATH": f"{python}{os.pathsep}{os.pathsep.join(filter(None, sys.path))}",
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(tmp_path / "log"),
        "FASTDDS_DEFAULT_PROFILES_FILE": str(FAST_DISCOVERY),
        "OMP_NUM_THREADS": "1",
    }

    def run(file, *arguments, interrupt_when="", extra=None):
        """Wait for its end; with a pattern, interrupt it once its output has that."""
        command = [sys.executable, "-c", RUN, str(share / "launch" / file), *arguments]
        with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
            process = subprocess.Popen(
                command, cwd=tmp_path, env={**environment, **(extra or {})}, stdout=out, stderr=err
            )
        end = time.monotonic() + LIMIT
        while interrupt_when and not re.search(interrupt_when, said(tmp_path)):
            assert process.poll() is None, said(tmp_path)
            assert time.monotonic() < end, said(tmp_path)
            time.sleep(0.1)
        if interrupt_when:
            process.send_signal(signal.SIGINT)
        code = process.wait(LIMIT)
        texts = [(tmp_path / name).read_text() for name in ("out", "err")]
        return subprocess.CompletedProcess(command, code, *texts)

    def begin(file, *arguments):
        """Start it and go on; the log is in ``launch.log``."""
        command = [sys.executable, "-c", RUN, str(share / "launch" / file), *arguments]
        with (tmp_path / "launch.log").open("w") as log:
            return subprocess.Popen(
                command, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    run.environment, run.begin, run.log = environment, begin, tmp_path / "launch.log"
    return run


def said(folder):
    """What a launch has printed so far."""
    return (folder / "out").read_text() + (folder / "err").read_text()
