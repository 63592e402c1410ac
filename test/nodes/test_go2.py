"""The quadruped walks and turns by its messages, whichever backend answers."""

from __future__ import annotations

from itertools import groupby, pairwise

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from robot_files import require_go2

from qpolicy_ros.backends import create_backend
from qpolicy_ros.nodes import qos
from qpolicy_ros.policy import find_policy, load_policy

SPEED = 0.5
TURN = 0.5  # rad/s
PERIOD = 0.02
TICKS = 150  # of each backend


@pytest.fixture
def path(watcher):
    """Where the robot has been: the positions of its base."""
    require_go2()
    positions = []
    watcher.node.create_subscription(
        Odometry, "odom", lambda m: positions.append(m.pose.pose.position), qos.profile(depth=1000)
    )
    return positions


def test_it_walks_on_while_the_backend_is_swapped(start, watcher, path):
    artifact = load_policy(find_policy("go2/walk"))
    seen: dict[tuple[int, int], list[float]] = {}
    watcher.collect_observations(seen)
    order = ["integer", "fp32", "fpga", "integer"]
    options = {"policy": "go2/walk", "backend": order[0], "preload": sorted(set(order))}
    start("policy_node", **options, lockstep=True, autostart=True, ramp_time=0.0)
    # The simulation of the Verilog is compiled before the node says anything.
    watcher.until(lambda: watcher.messages["diagnostics"], timeout=300.0)
    watcher.until(lambda: watcher.diagnostics().get("ready", "").count(",") == 2)
    start("mujoco_sim_node", task="unitree_go2", seed=0, speed=SPEED)
    marks = []
    for backend in order:
        if marks:
            assert watcher.set_parameter("backend", backend).successful
        marks.append(len(path))
        watcher.until(lambda: len(path) >= marks[-1] + TICKS, timeout=120.0)
    assert watcher.diagnostics()["swaps"] == str(len(order) - 1)

    assert min(position.z for position in path) > 0.2
    for first, last in pairwise([*marks, len(path) - 1]):
        assert path[last].x - path[first].x > 0.5 * SPEED * PERIOD * (last - first)
    assert served(artifact, seen, watcher.messages["action_stamped"]) == [
        "integer",
        "fp32",
        "integer",
    ]


def test_it_turns_on_the_spot_where_told(start, watcher, path):
    headings = []
    watcher.node.create_subscription(
        Odometry,
        "odom",
        lambda m: headings.append(heading(m.pose.pose.orientation)),
        qos.profile(depth=1000),
    )
    start("policy_node", policy="go2/steer", lockstep=True, autostart=True, ramp_time=0.0)
    watcher.until(lambda: watcher.messages["diagnostics"], timeout=120.0)
    start("mujoco_sim_node", task="unitree_go2_steer", seed=0, command=[0.0, 0.0, TURN])
    watcher.until(lambda: min(len(path), len(headings)) >= 2 * TICKS, timeout=120.0)

    count = min(len(path), len(headings))
    turned = np.unwrap(headings[:count])[-1] - headings[0]
    assert turned == pytest.approx(TURN * PERIOD * count, rel=0.4)
    assert min(position.z for position in path) > 0.2
    assert max(np.hypot(position.x, position.y) for position in path[:count]) < 0.5


def heading(orientation) -> float:
    """Return the yaw of a quaternion, rad."""
    x, y, z, w = (getattr(orientation, axis) for axis in "xyzw")
    return float(np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)))


def served(artifact, seen, commands):
    """Return which network answered, one name for each stretch; fpga computes integer's codes."""
    backends = {name: create_backend(name, artifact) for name in ("integer", "fp32")}
    names = []
    for command in commands:
        stamp = (command.header.stamp.sec, command.header.stamp.nanosec)
        if stamp not in seen:
            continue
        observation = np.array(seen[stamp], np.float32)
        (name,) = [
            name
            for name, backend in backends.items()
            if backend.act(observation).tolist() == list(command.position)
        ]
        names.append(name)
    return [name for name, _ in groupby(names)]
