"""`joint_trajectory`: one point with the policy's joints, to be reached in a control period."""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from balancer import contract

pytest.importorskip("rclpy")
from qpolicy_ros.nodes.serving.trajectory import Trajectory
from qpolicy_ros.policy import PolicyError


@dataclass
class Point:
    """As of trajectory_msgs."""

    time_from_start: object = None
    positions: object = field(default_factory=list)


@dataclass
class Message:
    """As of trajectory_msgs."""

    joint_names: list = field(default_factory=list)
    points: list = field(default_factory=list)


class Node:
    """Keeps what is published."""

    def __init__(self):
        self.sent, self.topic = [], ""

    def create_publisher(self, kind, topic, _):
        assert kind is Message
        self.topic = topic
        return SimpleNamespace(publish=self.sent.append)

    def destroy_publisher(self, _):
        self.topic = ""


@pytest.fixture
def messages(monkeypatch):
    """The messages' package, which is not installed everywhere."""
    fake = SimpleNamespace(JointTrajectoryPoint=Point, JointTrajectory=Message)
    monkeypatch.setitem(sys.modules, "trajectory_msgs", SimpleNamespace(msg=fake))
    monkeypatch.setitem(sys.modules, "trajectory_msgs.msg", fake)


@pytest.mark.usefixtures("messages")
def test_a_point_has_the_policy_s_joints_and_its_period():
    node = Node()
    trajectory = Trajectory(node, contract())
    trajectory.send(array("d", [0.5, -0.5]))
    assert node.topic == "joint_trajectory"
    (message,) = node.sent
    assert message.joint_names == ["left_wheel", "right_wheel"]
    assert list(message.points[0].positions) == [0.5, -0.5]
    after = message.points[0].time_from_start
    assert (after.sec, after.nanosec) == (0, 20_000_000)
    trajectory.destroy()
    assert node.topic == ""


@pytest.mark.usefixtures("messages")
def test_a_period_of_seconds_is_told_apart_from_its_rest():
    node = Node()
    Trajectory(node, contract(period=1.25)).send(array("d", [0.0, 0.0]))
    after = node.sent[0].points[0].time_from_start
    assert (after.sec, after.nanosec) == (1, 250_000_000)


def test_without_the_messages_it_is_refused_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "trajectory_msgs", None)
    monkeypatch.setitem(sys.modules, "trajectory_msgs.msg", None)
    with pytest.raises(PolicyError, match="trajectory_msgs is not installed; install"):
        Trajectory(Node(), contract())
