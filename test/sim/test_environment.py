"""Tasks, their contracts, and the casts to float32."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.sim import TASKS, Simulation, resolve_env_id, task_name

SIZES = {"hopper": 11, "walker2d": 17, "halfcheetah": 17, "ant": 27, "humanoid": 376}


@pytest.mark.parametrize("task", SIZES)
def test_contract(task):
    contract = Simulation(task).contract
    names = [channel.name for channel in contract.observation]
    assert (contract.task, contract.env_id) == (task, TASKS[task])
    assert len(set(names)) == SIZES[task]
    assert {channel.source for channel in contract.observation} == {"feature"}
    assert not any(name.startswith("obs[") for name in names)
    assert all(channel.low < channel.safe == 0.0 < channel.high for channel in contract.action)


def test_hopper_names_in_order():
    contract = Simulation("hopper").contract
    joints = ["rootz", "rooty", "thigh_joint", "leg_joint", "foot_joint"]
    assert [channel.name for channel in contract.observation] == [
        *(f"position:{joint}" for joint in joints),
        "velocity:rootx",
        *(f"velocity:{joint}" for joint in joints),
    ]
    assert [channel.name for channel in contract.action] == joints[2:]
    assert contract.period == pytest.approx(0.008)


@pytest.mark.parametrize("task", ["ant", "humanoid", "Ant-v5", "Humanoid-v5"])
def test_names_say_what_the_values_are(task):
    simulation = Simulation(task)
    simulation.reset(3)
    rng = np.random.default_rng(0)
    for _ in range(3):
        low, high = simulation.contract.low, simulation.contract.high
        observation, *_ = simulation.step(rng.uniform(low, high).astype(np.float32))
    names = [channel.name for channel in simulation.contract.observation]
    model, data = simulation.model, simulation.data
    for name, value in zip(names, observation, strict=True):
        kind, _, joint = name.partition(":")
        if kind in ("position", "velocity") and "." not in joint:
            source = data.joint(joint).qpos if kind == "position" else data.joint(joint).qvel
            assert value == np.float32(source[0]), name
        elif kind == "inertia" and joint.endswith(".mass"):
            assert value == pytest.approx(model.body(joint[:-5]).mass[0]), name
    assert observation[names.index("position:root.z")] == np.float32(data.qpos[2])


def test_a_task_without_a_mujoco_model_has_numbered_names():
    contract = Simulation("Pendulum-v1").contract
    assert [channel.name for channel in contract.observation] == ["obs[0]", "obs[1]", "obs[2]"]
    assert [channel.name for channel in contract.action] == ["action[0]"]


def test_observations_are_the_environments_rounded_once():
    simulation = Simulation("hopper")
    env = gymnasium.make("Hopper-v4")
    wide, _ = env.reset(seed=4)
    assert np.array_equal(simulation.reset(4), wide.astype(np.float32))
    action = np.array([0.1, -0.7, 1.0], np.float32)
    wide, reward, *_ = env.step(action)
    observation, same_reward, *_ = simulation.step(action)
    assert observation.dtype == np.float32
    assert np.array_equal(observation, wide.astype(np.float32))
    assert same_reward == float(reward)


def test_actions_are_clipped_to_the_limits():
    one, two = Simulation("hopper"), Simulation("hopper")
    one.reset(0)
    two.reset(0)
    over = one.step(np.array([5.0, -5.0, 1.0], np.float32))
    at = two.step(np.array([1.0, -1.0, 1.0], np.float32))
    assert over[1] == at[1]
    assert np.array_equal(over[0], at[0])


def test_shorter_episodes():
    simulation = Simulation("halfcheetah", max_episode_steps=2)
    simulation.reset(0)
    action = np.zeros(6, np.float32)
    assert [simulation.step(action)[3] for _ in range(2)] == [False, True]


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("hoper", "task: 'hoper' is not known; use one of hopper, walker2d"),
        ("Hopper-v99", "task: 'Hopper-v99' is not known"),
        ("nowhere:Robot-v0", "task: 'nowhere:Robot-v0' is not known .*nowhere"),
        ("CartPole-v1", "CartPole-v1: action space Discrete is not supported"),
        ("FrozenLake-v1", "FrozenLake-v1: observation space Discrete is not supported"),
    ],
)
def test_unusable_tasks_are_refused(task, text):
    with pytest.raises(PolicyError, match=text):
        Simulation(task)


@pytest.mark.parametrize(
    ("spaces", "text"),
    [
        (
            {"action_space": gymnasium.spaces.Box(-np.inf, np.inf, (2,))},
            "action limits .* are not finite",
        ),
        (
            {"observation_space": gymnasium.spaces.Dict({})},
            "observation space Dict is not supported",
        ),
        (
            {"observation_space": gymnasium.spaces.Box(0, 1, (8, 8))},
            r"observation space Box of shape \(8, 8\) is not supported",
        ),
    ],
)
def test_unusable_spaces_are_refused(monkeypatch, spaces, text):
    class Robot(gymnasium.Env):
        dt = 0.01
        observation_space = gymnasium.spaces.Box(-1, 1, (3,))
        action_space = gymnasium.spaces.Box(-1, 1, (2,))

        def __init__(self, render_mode=None):
            self.render_mode = render_mode

    for name, space in spaces.items():
        monkeypatch.setattr(Robot, name, space)
    gymnasium.register("TestRobot-v0", entry_point=Robot)
    try:
        with pytest.raises(PolicyError, match=text):
            Simulation("TestRobot-v0")
    finally:
        gymnasium.registry.pop("TestRobot-v0")


def test_negative_step_limit_is_refused():
    with pytest.raises(PolicyError, match="max_episode_steps: -1 "):
        Simulation("hopper", max_episode_steps=-1)


def test_no_warning_and_no_log_file(tmp_path, monkeypatch, recwarn, capfd):
    monkeypatch.chdir(tmp_path)
    Simulation("halfcheetah")  # an old task whose model uses old attributes
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_names_of_tasks_and_ids():
    assert resolve_env_id("ant") == "Ant-v4"
    assert resolve_env_id("Ant-v5") == "Ant-v5"
    assert (task_name("Ant-v4"), task_name("Ant-v5")) == ("ant", "Ant-v5")
