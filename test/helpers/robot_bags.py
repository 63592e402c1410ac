"""Bags of a robot's topics, from a simulated walk: what somebody else's recording looks like."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from qpolicy_ros.policy import PolicyArtifact
from qpolicy_ros.policy.baseline import baseline_actions
from qpolicy_ros.sim.robot import RobotSimulation

TYPES = get_typestore(Stores.ROS2_HUMBLE)
TOPICS = {
    "joint_states": "sensor_msgs/msg/JointState",
    "imu": "sensor_msgs/msg/Imu",
    "odom": "nav_msgs/msg/Odometry",
    "cmd_vel": "geometry_msgs/msg/Twist",
    "action_stamped": "sensor_msgs/msg/JointState",
    "observation": "sensor_msgs/msg/JointState",
}
START = 1_795_500_000 * 10**9  # ns


def record_walk(
    path: Path,
    policy: PolicyArtifact,
    model: str,
    seconds: float,
    topics: Iterable[str] = ("joint_states", "imu", "odom", "cmd_vel", "action_stamped"),
    alter: Callable[[str, Any], Any] = lambda _topic, message: message,
    types: Mapping[str, str] = TOPICS,
    cut: Iterable[str] = (),
) -> np.ndarray:
    """Write a bag of a walk at changing commands; return what the policy saw, ``(k, n)``.

    ``alter`` may write another message of one of ``types`` in a message's place; of the topics in
    ``cut`` only the first half of each message's bytes is written.
    """
    robot = RobotSimulation(model, contract=policy.contract, fallen_below=0.6)
    rng = np.random.default_rng(0)
    robot.command = np.array([0.3, 0, 0, 0, 0, 0.2])
    rows = []
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        made = {t: bag.add_connection(f"/robot/{t}", types[t], typestore=TYPES) for t in topics}

        def write(topic: str, at: int, message: Any) -> None:
            if topic in made:
                sent = alter(topic, message)
                data = TYPES.serialize_cdr(sent, types[topic])
                bag.write(made[topic], at, data[: len(data) // 2] if topic in cut else data)

        seen = robot.reset(0)
        for tick in range(round(seconds / policy.contract.period)):
            at = START + round(tick * policy.contract.period * 1e9)
            action = baseline_actions(policy.baseline, seen[None])[0]
            for topic, message in _messages(robot, at, policy, action, seen):
                # Commands and actions come a moment after the sensors that they go with.
                write(topic, at + (0 if topic != "action_stamped" else 1_000_000), message)
            rows.append(seen)
            if tick % 100 == 99:
                robot.command = np.array([rng.uniform(-0.5, 0.5), 0, 0, 0, 0, rng.uniform(-1, 1)])
            seen = robot.step(action)[0]
    return np.array(rows)


def _messages(
    robot: RobotSimulation, at: int, policy: PolicyArtifact, action: np.ndarray, seen: np.ndarray
) -> list[tuple[str, Any]]:
    kinds = TYPES.types
    header = kinds["std_msgs/msg/Header"](
        kinds["builtin_interfaces/msg/Time"](sec=at // 10**9, nanosec=at % 10**9), ""
    )
    vector = kinds["geometry_msgs/msg/Vector3"]
    point, quaternion = kinds["geometry_msgs/msg/Point"], kinds["geometry_msgs/msg/Quaternion"]
    state, twist = kinds[TOPICS["joint_states"]], kinds[TOPICS["cmd_vel"]]
    nothing = np.empty(0)

    def read(source: str, axes: str = "xyz") -> list[float]:
        return [robot.read(f"{source}:{axis}") for axis in axes]

    joints = [a.name for a in policy.contract.action]
    # In another order than the contract's, and with one joint that it does not know.
    names = [*reversed(joints), "gripper"]
    position, speed = ([robot.read(f"joint_states.{field}:{j}") for j in names[:-1]] + [0.0]
                       for field in ("position", "velocity"))  # fmt: skip
    x, y, z, w = read("imu.orientation", "xyzw")
    imu = kinds[TOPICS["imu"]](
        header, quaternion(x, y, z, w), np.zeros(9), vector(*read("imu.angular_velocity")),
        np.zeros(9), vector(*read("imu.linear_acceleration")), np.zeros(9),
    )  # fmt: skip
    pose = kinds["geometry_msgs/msg/Pose"](point(*read("odom.position")), quaternion(x, y, z, w))
    moves = twist(vector(*read("odom.linear_velocity")), vector(*read("odom.angular_velocity")))
    odom = kinds[TOPICS["odom"]](
        header, "base",
        kinds["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36)),
        kinds["geometry_msgs/msg/TwistWithCovariance"](moves, np.zeros(36)),
    )  # fmt: skip
    told = robot.command
    return [
        ("cmd_vel", twist(vector(*told[:3]), vector(*told[3:]))),
        ("joint_states", state(header, names, np.array(position), np.array(speed), nothing)),
        ("imu", imu),
        ("odom", odom),
        ("observation", state(header, [], seen.astype(np.float64), nothing, nothing)),
        ("action_stamped", state(header, joints, action.astype(np.float64), nothing, nothing)),
    ]
