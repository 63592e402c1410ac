"""The launch files, run by ROS 2's own launch: `launch_ros` is needed, which pip does not have.

A colcon build of this package is made first, as `ros2 launch` finds files and nodes through it.
"""

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

pytest.importorskip("launch_ros", reason="launch_ros is not installed (comes with ROS 2)")
pytest.importorskip("rclpy")

from policy_builders import random_artifact
from ros_processes import FAST_DISCOVERY, ROOT, reserved_domain

from qpolicy_ros.backends import create_backend
from qpolicy_ros.policy import save_policy
from qpolicy_ros.sim import Simulation, evaluate

LIMIT = 240  # s
RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import AnyLaunchDescriptionSource

path, *arguments = sys.argv[1:]
source = AnyLaunchDescriptionSource(path)
pairs = [tuple(argument.split(":=", 1)) for argument in arguments]
service = LaunchService()
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=pairs)])
)
sys.exit(service.run())
"""


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def artifact():
    return random_artifact(4, hidden=(16, 16), contract=Simulation("halfcheetah").contract)


@pytest.fixture
def policy(tmp_path, artifact):
    save_policy(artifact, tmp_path / "halfcheetah.safetensors")
    return f"policy:={tmp_path / 'halfcheetah.safetensors'}"


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

    run.environment = environment
    return run


def said(folder):
    return (folder / "out").read_text() + (folder / "err").read_text()


def returns(done):
    text = done.stdout + done.stderr
    return [float(value) for value in re.findall(r"seed \d+\): return (-?[\d.]+)", text)]


@pytest.mark.parametrize("backend", ["integer", "fp32"])
def test_sim_plays_episodes_and_ends(launch, policy, artifact, backend):
    arguments = ["task:=halfcheetah", policy, f"backend:={backend}", "episodes:=1", "seed:=3"]
    done = launch("sim.launch.py", *arguments)
    assert done.returncode == 0, done.stderr
    offline = evaluate(create_backend(backend, artifact).act, "halfcheetah", 1, 3)
    assert returns(done) == pytest.approx(offline, abs=0.0005)  # printed with three digits


def test_sim_records_a_bag(launch, policy, tmp_path):
    done = launch("sim.launch.py", "task:=halfcheetah", policy, "episodes:=1", "record:=true")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("rosbag2_*/metadata.yaml"))


def test_sim_records_with_rosbag2_where_it_is_installed(launch, policy, tmp_path):
    """A stand-in for `ros2 bag` notes how it was called."""
    (tmp_path / "ros2bag.py").touch()
    command = tmp_path / "ros2"
    command.write_text(f'#!/bin/sh\necho "$@" > {tmp_path / "called"}\n')
    command.chmod(0o755)
    extra = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{launch.environment['PYTHONPATH']}",
    }
    arguments = ["task:=halfcheetah", policy, "episodes:=1", "record:=true"]
    assert launch("sim.launch.py", *arguments, extra=extra).returncode == 0
    called = (tmp_path / "called").read_text().split()
    assert called[:3] == ["bag", "record", "--regex"]
    topics = ["/observation", "/action_stamped", "/timing", "/episode", "/diagnostics", "/clock"]
    assert all(re.search(called[3], topic) for topic in topics)
    assert not re.search(called[3], "/rosout")


def test_sim_in_real_time_until_interrupted(launch, policy):
    arguments = ["task:=halfcheetah", policy, "realtime:=true"]
    done = launch(
        "sim.launch.py", *arguments, interrupt_when=r"(?s)(?=.*real-time)(?=.*17 values in)"
    )
    text = done.stdout + done.stderr
    assert "real-time" in text
    assert text.count("process has finished cleanly") == 2
    assert "Traceback" not in text


def test_a_policy_of_another_task_ends_the_launch(launch, policy):
    done = launch("sim.launch.py", "task:=hopper", policy)
    text = done.stdout + done.stderr
    assert "task: the policy is for 'halfcheetah', asked for 'hopper'" in text
    assert "exit code 2" in text
    assert "Traceback" not in text


def test_policy_alone_in_a_namespace(launch, policy):
    done = launch("policy.launch.py", policy, "namespace:=robot", interrupt_when="17 values in, 6")
    text = done.stdout + done.stderr
    assert "[robot.policy_node]: halfcheetah: 17 values in, 6 actions out" in text
    assert "process has finished cleanly" in text


@pytest.mark.parametrize("file", ["sim.launch.py", "policy.launch.py"])
def test_every_argument_is_described(share, file):
    from launch.launch_description_sources import (  # noqa: PLC0415 only with launch
        get_launch_description_from_python_launch_file,
    )

    description = get_launch_description_from_python_launch_file(str(share / "launch" / file))
    arguments = {argument.name: argument for argument in description.get_launch_arguments()}
    assert {"task", "policy", "backend"} <= arguments.keys()
    assert all(argument.description for argument in arguments.values())
