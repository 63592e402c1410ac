"""The launch files, run by ROS 2's own launch: `launch_ros` is needed, which pip does not have.

A colcon build of this package is made first, as `ros2 launch` finds files and nodes through it.
"""

from __future__ import annotations

import os
import re

import pytest

pytest.importorskip("launch_ros", reason="launch_ros is not installed (comes with ROS 2)")
pytest.importorskip("rclpy")

from balancer import balancer, write_balancer
from policy_builders import random_artifact

from qpolicy_ros.backends import create_backend
from qpolicy_ros.policy import save_policy
from qpolicy_ros.sim import Simulation, evaluate


@pytest.fixture(scope="module")
def artifact():
    return random_artifact(4, hidden=(16, 16), contract=Simulation("halfcheetah").contract)


@pytest.fixture
def policy(tmp_path, artifact):
    save_policy(artifact, tmp_path / "halfcheetah.safetensors")
    return f"policy:={tmp_path / 'halfcheetah.safetensors'}"


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


def test_sim_plays_a_robot_of_an_mjcf_file_by_the_policys_contract(launch, tmp_path):
    save_policy(balancer(), tmp_path / "balancer.safetensors")
    (tmp_path / "short.yaml").write_text(
        "/**/mujoco_sim_node:\n  ros__parameters: {max_episode_steps: 40}\n"
    )
    arguments = [f"task:={write_balancer(tmp_path)}", f"policy:={tmp_path}/balancer.safetensors"]
    more = ["backend:=fp32", "episodes:=1", f"params_file:={tmp_path}/short.yaml"]
    done = launch("sim.launch.py", *arguments, *more)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "episode 1 (seed 0)" in done.stdout + done.stderr


def test_sim_records_a_bag(launch, policy, tmp_path):
    done = launch("sim.launch.py", "task:=halfcheetah", policy, "episodes:=1", "record:=true")
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("rosbag2_*/metadata.yaml"))


@pytest.mark.parametrize("mcap", [True, False])
def test_sim_records_with_rosbag2_where_it_is_installed(launch, policy, tmp_path, mcap):
    """A stand-in for `ros2 bag` notes how it was called, with and without its MCAP plugin."""
    marker = tmp_path / "share/ament_index/resource_index/packages/rosbag2_storage_mcap"
    if mcap:
        marker.parent.mkdir(parents=True)
        marker.touch()
    (tmp_path / "ros2bag.py").touch()
    command = tmp_path / "ros2"
    command.write_text(f'#!/bin/sh\necho "$@" > {tmp_path / "called"}\n')
    command.chmod(0o755)
    extra = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{launch.environment['PYTHONPATH']}",
        "AMENT_PREFIX_PATH": f"{launch.environment['AMENT_PREFIX_PATH']}{os.pathsep}{tmp_path}",
    }
    arguments = ["task:=halfcheetah", policy, "episodes:=1", "record:=true"]
    assert launch("sim.launch.py", *arguments, extra=extra).returncode == 0
    called = (tmp_path / "called").read_text().split()
    assert called[:3] == ["bag", "record", "--regex"]
    assert called[4:] == (["-s", "mcap"] if mcap else [])
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


@pytest.mark.parametrize("file", ["sim.launch.py", "policy.launch.py", "robot.launch.py"])
def test_every_argument_is_described(share, file):
    from launch.launch_description_sources import (  # noqa: PLC0415 only with launch
        get_launch_description_from_python_launch_file,
    )

    description = get_launch_description_from_python_launch_file(str(share / "launch" / file))
    arguments = {argument.name: argument for argument in description.get_launch_arguments()}
    assert {"task", "policy", "backend"} <= arguments.keys()
    assert all(argument.description for argument in arguments.values())


def test_an_undisturbed_lockstep_launch_warns_of_nothing(launch, policy):
    done = launch("sim.launch.py", "task:=halfcheetah", policy, "episodes:=1")
    assert done.returncode == 0
    assert "WARN" not in done.stdout + done.stderr


def test_what_the_parameter_file_says_wins_over_a_default(launch, policy, tmp_path):
    file = tmp_path / "params.yaml"
    path = policy.removeprefix("policy:=")
    file.write_text(f"/**:\n  ros__parameters: {{backend: fp32, policy: {path}}}\n")
    done = launch("policy.launch.py", f"params_file:={file}", interrupt_when="17 values in, 6")
    assert "backend fp32" in done.stdout + done.stderr


def test_an_argument_that_is_given_wins_over_the_parameter_file(launch, policy, tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("/**:\n  ros__parameters: {backend: fp32}\n")
    arguments = [policy, f"params_file:={file}", "backend:=integer"]
    done = launch("policy.launch.py", *arguments, interrupt_when="17 values in, 6")
    assert "backend integer" in done.stdout + done.stderr


@pytest.mark.parametrize("file", ["sim.launch.py", "policy.launch.py", "robot.launch.py"])
def test_a_launch_whose_policy_node_fails_fails(launch, file):
    done = launch(file, "policy:=/nowhere.safetensors")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr


def test_a_namespace_carries_the_simulator_along(launch, policy):
    arguments = ["task:=halfcheetah", policy, "episodes:=1", "namespace:=r1"]
    done = launch("sim.launch.py", *arguments)
    assert done.returncode == 0
    text = done.stdout + done.stderr
    assert "[r1.policy_node]" in text
    assert "[r1.mujoco_sim_node]: episode 1" in text


@pytest.mark.parametrize(
    "file", ["sim.launch.py", "policy.launch.py", "robot.launch.py", "record.launch.py"]
)
def test_every_launch_file_takes_simulated_time(share, file):
    from launch.launch_description_sources import (  # noqa: PLC0415 only with launch
        get_launch_description_from_python_launch_file,
    )

    description = get_launch_description_from_python_launch_file(str(share / "launch" / file))
    assert "use_sim_time" in {argument.name for argument in description.get_launch_arguments()}
