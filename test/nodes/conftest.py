"""Nodes in processes of their own, in a ROS domain of their own for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from policy_builders import random_artifact
from ros_processes import FAST_DISCOVERY, NodeProcess, Place, RobotProcess, Watcher, private_place

from qpolicy_ros.policy import save_policy
from qpolicy_ros.sim import Simulation

Start = Callable[..., NodeProcess]


@pytest.fixture(scope="session")
def policies(tmp_path_factory) -> dict[str, Path]:
    """Random policies, one file a task; their returns are poor and all different."""
    folder = tmp_path_factory.mktemp("policies")
    files = {}
    for index, task in enumerate(("hopper", "halfcheetah")):
        contract = Simulation(task).contract
        artifact = random_artifact(index, hidden=(16, 16), contract=contract)
        files[task] = folder / f"{task}.safetensors"
        save_policy(artifact, files[task])
    save_policy(
        random_artifact(7, contract=Simulation("hopper").contract, integer=False),
        folder / "fp32.safetensors",
    )
    files["fp32"] = folder / "fp32.safetensors"
    return files


@pytest.fixture
def place(monkeypatch) -> Iterator[Place]:
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", str(FAST_DISCOVERY))
    with private_place() as found:
        yield found


@pytest.fixture
def start(place, tmp_path) -> Iterator[Start]:
    """Start nodes; whatever still runs at the end of the test is ended."""
    started: list[NodeProcess] = []

    def starter(module: str, **parameters: object) -> NodeProcess:
        log = tmp_path / f"{module}_{len(started)}.log"
        started.append(NodeProcess(module, place, log, **parameters))
        return started[-1]

    yield starter
    for node in started:
        node.end()
        print(f"{node.log.name}:\n{node.output}")  # noqa: T201 shown where the test failed


@pytest.fixture
def robot(place, tmp_path) -> Iterator[Callable[..., RobotProcess]]:
    """Start a robot that publishes its topics; lines tell it how to fail."""
    started: list[RobotProcess] = []

    def starter(*lines: str) -> RobotProcess:
        started.append(RobotProcess(place, tmp_path / f"robot_{len(started)}.log"))
        for line in lines:
            started[-1].tell(line)
        return started[-1]

    yield starter
    for each in started:
        each.end()


@pytest.fixture
def watcher(place) -> Iterator[Watcher]:
    watching = Watcher(place)
    yield watching
    watching.close()


@pytest.fixture
def serve(start, policies) -> Callable[..., NodeProcess]:
    """Start a policy node that serves the hopper policy, without a timeout."""

    def starter(**parameters: object) -> NodeProcess:
        defaults = {"policy": str(policies["hopper"]), "timeout": 0.0, "autostart": True}
        return start("policy_node", **{**defaults, **parameters})

    return starter
