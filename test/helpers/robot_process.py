"""A robot in a process of its own: publishes its topics, obeys lines on standard input.

rate HZ | nan on|off | names NAME,NAME | clock SECONDS | frozen on|off | quit
die: it kills itself between two rounds of messages, so that each topic has as many as the others
"""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import time

import rclpy
from nav_msgs.msg import Odometry
from robot_contracts import JOINTS
from robot_messages import imu, joint_states, odom
from sensor_msgs.msg import Imu, JointState

from qpolicy_ros.nodes import qos

SPEEDS = {"hip": -1.0, "knee": -2.0}


class Robot:
    """What it publishes, and how it has been told to fail."""

    def __init__(self) -> None:
        self.node = rclpy.create_node("robot")
        create = self.node.create_publisher
        self.joints = create(JointState, "joint_states", qos.profile(depth=10))
        self.imu = create(Imu, "imu", qos.profile(depth=10))
        self.odom = create(Odometry, "odom", qos.profile(depth=10))
        self.period, self.nan, self.frozen = 0.01, False, False
        self.names = list(JOINTS)
        self.ahead = 0.0  # s that its clock is off by
        self.stamp = time.time()

    def obey(self, line: str) -> None:
        word, value = line.split()
        if word == "rate":
            self.period = 1 / float(value)
        elif word == "names":
            self.names = value.split(",")
        elif word == "clock":
            self.ahead = float(value)
        else:
            setattr(self, word, value == "on")

    def publish(self) -> None:
        if not self.frozen:
            self.stamp = time.time() + self.ahead
        wave = 0.3 * math.sin(5 * time.monotonic())
        at = {"hip": wave, "knee": -wave}
        position = [math.nan if self.nan else at.get(name, 0.0) for name in self.names]
        velocity = [SPEEDS.get(name, 0.0) for name in self.names]
        self.joints.publish(joint_states(self.stamp, self.names, position, velocity))
        self.imu.publish(imu(self.stamp))
        self.odom.publish(odom(self.stamp))


def main() -> None:
    rclpy.init()
    robot = Robot()
    due = time.monotonic()
    while True:
        wait = max(0.0, due - time.monotonic())
        if select.select([sys.stdin], [], [], wait)[0]:
            line = sys.stdin.readline().strip()
            if line in {"", "quit"}:
                return
            if line == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            robot.obey(line)
            continue
        due += robot.period
        robot.publish()


if __name__ == "__main__":
    main()
