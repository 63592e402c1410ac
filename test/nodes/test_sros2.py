"""The enclave policies of config/sros2 against what the nodes really open."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import rclpy
from policy_builders import random_artifact
from rclpy.lifecycle import TransitionCallbackReturn
from robot_contracts import robot_contract

from qpolicy_ros.nodes.bag_recorder import BagRecorder
from qpolicy_ros.nodes.mujoco_sim_node import MujocoSimNode
from qpolicy_ros.nodes.policy_node import PolicyNode
from qpolicy_ros.nodes.runtime import Stop
from qpolicy_ros.nodes.safety_watchdog import SafetyWatchdog
from qpolicy_ros.policy import save_policy

POLICY = Path(__file__).resolve().parents[2] / "config" / "sros2" / "qpolicy.policy.xml"
NODES = ("policy_node", "safety_watchdog", "mujoco_sim_node", "bag_recorder")


def allowed(name: str) -> set[tuple[str, str]]:
    """What the file allows a node, as ``(kind, absolute name)``."""
    found = set()
    for profile in ET.parse(POLICY).iter("profile"):
        if profile.get("node") != name:
            continue
        for group in profile:
            for kind, rule in group.items():
                assert rule == "ALLOW"
                found |= {(kind, absolute(entry.text, name)) for entry in group}
    return found


def absolute(name: str, node: str) -> str:
    name = re.sub("^~", f"/{node}", name)
    return name if name.startswith("/") else f"/{name}"


def opened(node) -> set[tuple[str, str]]:
    """What a node of this process has open, as ``allowed``."""
    name = node.get_name()
    found = {("publish", p.topic_name) for p in node.publishers}
    found |= {("subscribe", s.topic_name) for s in node.subscriptions}
    graph = (
        ("publish", node.get_publisher_names_and_types_by_node),
        ("subscribe", node.get_subscriber_names_and_types_by_node),
        ("reply", node.get_service_names_and_types_by_node),
    )
    for kind, ask in graph:
        found |= {(kind, topic) for topic, _ in ask(name, "/")}
    return found


def run(kind, parameters, domain, *, serve=False):
    """What a node opens, from its start to serving."""
    rest = [each for name, value in parameters.items() for each in ("-p", f"{name}:={value}")]
    rclpy.init(args=["--ros-args", *rest] if rest else None, domain_id=domain)
    try:
        node = kind(Stop())
        if serve:
            assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
            assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        found = opened(node)
        if hasattr(node, "close"):
            node.close()
        node.destroy_node()
    finally:
        rclpy.shutdown()
    return found


@pytest.fixture
def robot(tmp_path):
    file = tmp_path / "robot.safetensors"
    save_policy(random_artifact(3, contract=robot_contract()), file)
    return file


def what_opens(name, place, policies, robot, folder) -> set[tuple[str, str]]:
    """Everything a node opens, in each of its ways of working."""
    hopper = str(policies["hopper"])
    if name == "policy_node":
        found = run(PolicyNode, {"policy": hopper}, place.domain, serve=True)
        return found | run(PolicyNode, {"policy": str(robot)}, place.domain, serve=True)
    if name == "safety_watchdog":
        return run(SafetyWatchdog, {"policy": hopper}, place.domain)
    if name == "bag_recorder":
        return run(BagRecorder, {"output": folder / "bag"}, place.domain)
    found = run(MujocoSimNode, {"task": "hopper"}, place.domain)
    return found | run(MujocoSimNode, {"task": "go2"}, place.domain)


@pytest.mark.parametrize("name", NODES)
def test_a_node_opens_what_its_enclave_allows_and_nothing_else_is_allowed(
    name, place, policies, robot, tmp_path
):
    found, may = what_opens(name, place, policies, robot, tmp_path), allowed(name)
    assert found - may == set(), "denied by config/sros2, and opened"
    left = {(kind, topic) for kind, topic in may - found if topic != "/clock"}
    assert left == set(), "allowed by config/sros2, and never opened"


def test_every_enclave_is_a_node_of_ours():
    tree = ET.parse(POLICY)
    assert tree.getroot().get("version") == "0.2.0"
    paths = [enclave.get("path") for enclave in tree.iter("enclave")]
    assert paths == [f"/qpolicy/{name}" for name in NODES]
