"""With ``use_sim_time`` a robot's policy lives in the time of ``/clock``, at any speed."""

from __future__ import annotations

import time

import pytest
from nav_msgs.msg import Odometry
from policy_builders import random_artifact
from robot_contracts import robot_contract
from robot_messages import imu, joint_states, odom
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Imu, JointState

from qpolicy_ros.policy import save_policy

PERIOD = 0.02  # of the policy and of the simulation, s of simulated time


class World:
    """A simulation in this process: its clock and its robot, at a speed of its own."""

    def __init__(self, watcher, speed):
        create = watcher.node.create_publisher
        self.clock = create(Clock, "clock", 100)
        self.joints = create(JointState, "joint_states", 10)
        self.imu, self.odom = create(Imu, "imu", 10), create(Odometry, "odom", 10)
        self.steps = 0
        watcher.node.create_timer(PERIOD / speed, self.step)

    def step(self):
        self.steps += 1
        now = self.steps * PERIOD
        message = Clock()
        message.clock.sec, message.clock.nanosec = int(now), round(now % 1 * 1e9)
        self.joints.publish(joint_states(now, position=[0.5, 0.8], velocity=[0, 0]))
        self.imu.publish(imu(now))
        self.odom.publish(odom(now))
        self.clock.publish(message)


def stamp_of(message):
    return message.header.stamp.sec + message.header.stamp.nanosec * 1e-9


@pytest.mark.parametrize("speed", [0.5, 2.0])
def test_there_are_fifty_actions_a_simulated_second(start, watcher, tmp_path, speed):
    save_policy(
        random_artifact(11, hidden=(16, 16), contract=robot_contract(PERIOD)),
        tmp_path / "robot.safetensors",
    )
    start(
        "policy_node",
        policy=str(tmp_path / "robot.safetensors"),
        autostart=True,
        ramp_time=0.0,
        timeout=2.0,
        use_sim_time=True,
    )
    watcher.until(lambda: watcher.node.count_subscribers("clock"))
    World(watcher, speed)
    watcher.until(lambda: watcher.diagnostics().get("mode") == "policy")
    timing = watcher.messages["timing"]
    watcher.until(lambda: timing)
    begin = stamp_of(timing[-1])
    watcher.until(lambda: stamp_of(timing[-1]) > begin + 3.5)
    seconds = [
        sum(second < stamp_of(each) - begin <= second + 1 for each in timing) for second in range(3)
    ]
    assert all(49 <= count <= 51 for count in seconds), seconds


def test_a_clock_that_stands_still_is_said(start, watcher, tmp_path):
    contract = robot_contract(PERIOD)
    save_policy(random_artifact(11, hidden=(16, 16), contract=contract), tmp_path / "a.safetensors")
    policy = str(tmp_path / "a.safetensors")
    start("policy_node", policy=policy, autostart=True, use_sim_time=True)
    end = time.monotonic() + 60
    while "/clock stands still" not in watcher.diagnostics()["message"]:
        assert time.monotonic() < end
