"""A simulated robot publishes what a robot would, and a policy closes the loop by it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from balancer import balancer, contract, write_balancer
from geometry_msgs.msg import Twist
from monitor import Monitor
from nav_msgs.msg import Odometry
from policy_builders import random_artifact
from robot_files import write_robot
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import Imu

from qpolicy_ros.backends import create_backend
from qpolicy_ros.harness.robot_walks import walks_over_ros
from qpolicy_ros.latency.bag import open_bag
from qpolicy_ros.nodes import qos
from qpolicy_ros.policy import Channel, load_policy, make_artifact, save_policy
from qpolicy_ros.sim.commanded import command_ranges, open_commanded, walk_at
from qpolicy_ros.sim.description import find_robot
from qpolicy_ros.sim.robot import RobotSimulation

STEPS = 60
SPEED = 0.4


@pytest.fixture
def description(tmp_path):
    return write_robot(tmp_path)


@pytest.fixture
def artifact(description):
    return random_artifact(5, hidden=(16, 16), contract=find_robot(description).contract())


@pytest.fixture
def policy(tmp_path, artifact):
    save_policy(artifact, tmp_path / "policy.safetensors")
    return str(tmp_path / "policy.safetensors")


@pytest.fixture
def monitor(place, artifact):
    watching = Monitor(place, artifact.contract)
    yield watching
    watching.close()
    assert watching.unsafe == []


def offline(artifact, description):
    """Actions of the same episode without ROS."""
    simulation = RobotSimulation(description)
    simulation.command = (SPEED, 0, 0, 0, 0, 0)
    backend = create_backend("integer", artifact)
    observation, actions = simulation.reset(3), []
    for _ in range(STEPS):
        actions.append(tuple(backend.act(observation).tolist()))
        observation, *_ = simulation.step(backend.act(observation))
    simulation.close()
    return actions


def test_in_lockstep_the_commands_are_those_of_the_offline_episode(
    start, monitor, artifact, policy, description
):
    start("policy_node", policy=policy, lockstep=True, autostart=True, ramp_time=0.0)
    # Found before anything moves, so that the first command is heard too.
    monitor.wait_for(lambda: monitor.hears("action_stamped"))
    start("mujoco_sim_node", task=description, seed=3, speed=SPEED)
    # An observation that is sent again gets its answer again: the same stamp, the same values.
    monitor.wait_for(lambda: len({command.stamp for command in monitor.commands}) > STEPS)
    answers = dict.fromkeys((command.stamp, command.values) for command in monitor.commands)
    assert [values for _, values in answers][:STEPS] == offline(artifact, description)


def test_two_episodes_without_a_reward_end_well(start, monitor, policy, description):
    start("policy_node", policy=policy, lockstep=True, autostart=True, ramp_time=0.0)
    monitor.wait_for(lambda: monitor.hears("action_stamped"))
    simulator = start("mujoco_sim_node", task=description, episodes=2, max_episode_steps=5)
    assert simulator.wait(60) == 0, simulator.output
    assert "2 episodes: no reward" in simulator.output


@pytest.mark.usefixtures("monitor")
def test_in_real_time_the_loop_closes_through_ramp_and_policy(start, watcher, policy, description):
    start("mujoco_sim_node", task=description, realtime=True, speed=SPEED)
    start("policy_node", policy=policy, autostart=True, ramp_time=0.2)
    watcher.until(lambda: watcher.diagnostics().get("mode") == "policy", timeout=60.0)
    watcher.until(lambda: int(watcher.diagnostics()["answered"]) > 50)


def test_the_sensors_are_published_with_one_stamp(start, watcher, description):
    seen = {}
    for name, kind in (("imu", Imu), ("odom", Odometry), ("cmd_vel", Twist)):
        watcher.node.create_subscription(
            kind, name, lambda m, name=name: seen.setdefault(name, m), qos.profile(depth=100)
        )
    start("mujoco_sim_node", task=description, speed=SPEED)
    watcher.until(lambda: len(seen) == 3 and watcher.messages["joint_states"])
    joints = watcher.messages["joint_states"][0]
    assert sorted(joints.name) == ["left_hip", "right_hip"]
    assert len(joints.velocity) == len(joints.effort) == 2
    assert abs(joints.position[joints.name.index("left_hip")] - 0.1) < 0.06
    assert seen["odom"].pose.pose.position.z == pytest.approx(0.25)
    assert seen["imu"].orientation.w == pytest.approx(1.0)
    assert seen["cmd_vel"].linear.x == SPEED
    assert seen["imu"].header.stamp.nanosec % 20_000_000 == 0


def test_somebody_elses_command_takes_over(start, watcher, description):
    seen = []
    watcher.node.create_subscription(
        Twist, "cmd_vel", lambda m: seen.append(m.linear.x), qos.profile(depth=100)
    )
    command = watcher.node.create_publisher(Twist, "cmd_vel", qos.COMMAND)
    start("mujoco_sim_node", task=description, realtime=True, speed=SPEED)
    watcher.until(lambda: watcher.messages["joint_states"])
    watcher.until(lambda: len(watcher.messages["joint_states"]) > 150)
    count = len(seen)
    command.publish(Twist())
    watcher.until(lambda: 0.0 in seen)
    assert SPEED not in seen[count:]


def test_a_speed_for_a_task_that_is_no_robot_is_refused(start):
    node = start("mujoco_sim_node", task="hopper", speed=SPEED)
    assert node.wait() == 2
    assert "speed: 0.4 m/s, but 'hopper' is no robot; leave it out" in node.output


def test_walks_over_ros_equal_those_offline(tmp_path):
    """Two episodes, one after another: histories end where an episode does."""
    own = contract()
    before = Channel("before", "history.3:speed")
    policy = balancer()
    first = policy.baseline.weights[0]
    wider = replace(
        policy.baseline,
        weights=(np.pad(first, ((0, 0), (0, 1)), constant_values=0.05), policy.baseline.weights[1]),
        mean=np.zeros(9, np.float32),
        std=np.ones(9, np.float32),
    )
    remembers = make_artifact(
        replace(own, observation=(*own.observation, before)),
        wider, None, {"returns": {}}, np.zeros((1, 9), np.float32),
    )  # fmt: skip
    save_policy(remembers, tmp_path / "balancer.safetensors")
    artifact = load_policy(tmp_path / "balancer.safetensors")
    robot, told = write_balancer(tmp_path), (0.3, 0.0, 0.2)
    ours = walks_over_ros(artifact, robot, "fp32", told, range(2), 3.0)
    simulation = open_commanded(robot, artifact.contract, 3.0)
    backend = create_backend("fp32", artifact)
    assert ours == [walk_at(backend.act, simulation, seed, told) for seed in range(2)]


def test_a_recorded_walk_holds_the_commands_that_were_drawn(tmp_path):
    save_policy(balancer(), tmp_path / "balancer.safetensors")
    artifact = load_policy(tmp_path / "balancer.safetensors")
    robot, bag = write_balancer(tmp_path), tmp_path / "bag"
    still = (0.0, 0.0, 0.0)
    walks = walks_over_ros(
        artifact, robot, "fp32", still, range(2), 4.0, command_period=0.5, record=bag
    )
    assert [walked.up for walked in walks] == [True] * 2
    types = get_typestore(Stores.ROS2_HUMBLE)
    told = [
        types.deserialize_cdr(raw, batch.kind)
        for batch in open_bag(bag).batches(lambda topic, _: topic.endswith("cmd_vel"))
        for raw in batch.payloads
    ]
    ranges = command_ranges(artifact.contract, find_robot(robot))
    drawn = {(m.linear.x, m.linear.y, m.angular.z) for m in told}
    assert len(told) >= 390  # of 400 steps: it has found everyone before the first
    assert 3 <= len(drawn) <= 18
    assert all(
        low <= v <= high for each in drawn for v, (low, high) in zip(each, ranges, strict=True)
    )
