"""Steering: commands, the scripted trot, and how the shipped policy follows what it is told."""

from __future__ import annotations

import numpy as np
import pytest
from robot_files import require_go2

from qpolicy_ros.backends import create_backend
from qpolicy_ros.policy import PolicyError, find_policy, load_policy
from qpolicy_ros.sim import Simulation
from qpolicy_ros.sim.commanded import open_commanded, walk_at
from qpolicy_ros.sim.steered_trot import SteeredTrot
from qpolicy_ros.sim.tracking import walk_told
from qpolicy_ros.sim.walk import WalkEnv

ROBOT = "unitree_go2_steer"
COMMANDS = [
    (0.5, 0.0, 0.0),
    (0.0, 0.0, 0.5),
    (0.0, 0.0, -0.5),
    (0.3, 0.2, 0.0),
    (0.0, 0.2, 0.0),
    (0.4, 0.0, 0.4),
    (0.0, 0.0, 0.0),
]


@pytest.fixture(scope="module")
def steer():
    require_go2()
    simulation = Simulation("go2_steer")
    yield simulation
    simulation.close()


def follows(walked, command):
    """Whether a walk stayed up, within 0.1 m/s and 0.15 rad/s of its command."""
    error = np.abs(np.subtract(walked.velocity, command))
    return walked.up and bool((error <= (0.1, 0.1, 0.15)).all())


def test_it_sees_three_commands_and_no_heading(steer):
    sources = {channel.source for channel in steer.contract.observation}
    assert {"cmd_vel.linear:x", "cmd_vel.linear:y", "cmd_vel.angular:z"} <= sources
    assert "imu.orientation:z" not in sources
    assert (steer.contract.task, steer.contract.period) == ("go2_steer", 0.02)


def test_commands_are_drawn_from_the_contracts_ranges(steer):
    env = steer.env.unwrapped
    drawn = []
    for seed in range(40):
        env.reset(seed=seed)
        drawn.append(env.robot.command[[0, 1, 5]].copy())
    drawn = np.array(drawn)
    for axis, (_, low, high) in enumerate(steer.contract.commands):
        assert low <= drawn[:, axis].min() < 0 < drawn[:, axis].max() <= high
    assert any(not command.any() for command in drawn)


def test_a_walk_in_the_task_ends_where_the_robot_falls(steer):
    low, high = steer.contract.low, steer.contract.high
    lying = np.where(np.arange(len(low)) < len(low) // 2, low, high)  # front legs and hind legs
    walked = walk_told(lambda _: lying, steer, 3, (0.5, 0.0, 0.0))
    assert (walked.seed, walked.up) == (3, False)
    assert walked.seconds < 2.0
    assert np.isnan(walked.velocity).all()


@pytest.mark.parametrize("command", [(0.5, 0.0, 0.0), (0.0, -0.2, 0.0), (0.0, 0.0, 0.5)])
def test_what_was_told_is_worth_most(steer, command):
    """The reward of the moves beside the one that was told is smaller."""
    env = steer.env.unwrapped
    rewards = {}
    for made in [command, (0.0, 0.0, 0.0), tuple(-value for value in command)]:
        env.reset(seed=0)
        env.robot.command = np.array([*command[:2], 0.0, 0.0, 0.0, command[2]])
        env.data.qpos[3:7] = (1.0, 0.0, 0.0, 0.0)
        env.data.qvel[:2], env.data.qvel[5] = made[:2], made[2]
        for _ in range(100):  # an average is judged
            terms = env._judge(env.contract.default)[0]
        rewards[made] = terms["speed"] + terms["sideways"] + terms["turning"]
    assert max(rewards, key=rewards.get) == command


@pytest.mark.parametrize(
    "command", [*COMMANDS, (-0.3, 0.0, 0.0), (0.0, -0.3, 0.0), (0.0, 0.0, 0.8)]
)
def test_the_scripted_trot_goes_where_told(steer, command):
    trot = SteeredTrot(steer.contract)
    simulation = open_commanded(ROBOT, steer.contract)
    walked = walk_at(lambda seen: trot(seen).astype(np.float32), simulation, 0, command)
    assert follows(walked, command)


def test_the_scripted_trot_needs_the_commands():
    require_go2()
    with pytest.raises(PolicyError, match=r"and \['cmd_vel.linear:y', 'cmd_vel.angular:z'\]"):
        SteeredTrot(WalkEnv().contract)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_shipped_policy_goes_where_told(command, full):
    """All of 20 seeds through the integer backend (`make test`: 2)."""
    require_go2()
    artifact = load_policy(find_policy("go2/steer"))
    backend = create_backend("integer", artifact)
    simulation = open_commanded(ROBOT, artifact.contract)
    for seed in range(20 if full else 2):
        assert follows(walk_at(backend.act, simulation, seed, command), command)
