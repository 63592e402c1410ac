"""Lock-step over DDS, two processes: the returns equal the offline evaluation's."""

from __future__ import annotations

import pickle
import signal
from dataclasses import asdict

import pytest

from qpolicy_ros.backends import create_backend
from qpolicy_ros.policy import find_policy, load_policy, policy_folders
from qpolicy_ros.policy.model import FEATURE
from qpolicy_ros.sim import evaluate

pytestmark = pytest.mark.slow


def takes_features(file):
    """Whether the whole observation comes as one vector: what robots' messages carry is rounded."""
    return all(value.source == FEATURE for value in load_policy(file).contract.observation)


FILES = [
    file
    for folder in policy_folders()[:1]
    for file in sorted(folder.glob("*/*.safetensors"))
    if not file.stem.endswith(".qat") and takes_features(file)  # .qat: trained modules
]


def has_own_baseline(file):
    """Whether its FP32 baseline is not its task's: a student of another teacher has its teacher."""
    files = file, file.with_name("fp32.safetensors")
    own, given = (pickle.dumps(asdict(load_policy(of).baseline)) for of in files)
    return own != given


# Task, variant and backend of every shipped policy of a feature vector: all in integers, and every
# FP32 baseline once.
SHIPPED = [
    (file.parent.name, file.stem, backend)
    for file in FILES
    for backend, played in (
        ("integer", file.stem != "fp32"),
        ("fp32", file.stem == "fp32" or has_own_baseline(file)),
    )
    if played
]
EPISODES = 3
MANY = 20  # of a shipped policy, in `make test-full`
SHORT = 100  # steps of it in `make test`, which plays each task's `paper` to the end of an episode


def returns_over_ros(start, watcher, task, policy, backend, seed, steps=0, **parameters):
    episodes = parameters.setdefault("episodes", EPISODES)
    simulator = start(
        "mujoco_sim_node",
        task=task,
        seed=seed,
        max_episode_steps=steps,
        **parameters,
    )
    # The policy comes last: nothing moves before it, so nothing is missed here.
    watcher.until(lambda: watcher.node.count_publishers("episode"))
    start("policy_node", policy=str(policy), backend=backend, lockstep=True, autostart=True)
    assert simulator.wait(80 * episodes) == 0, simulator.output
    watcher.until(lambda: len(watcher.messages["episode"]) == episodes)
    return [dict(zip(m.name, m.position, strict=True)) for m in watcher.messages["episode"]]


@pytest.mark.parametrize("backend", ["integer", "fp32"])
@pytest.mark.parametrize("task", ["hopper", "halfcheetah"])
def test_random_policy(start, watcher, policies, task, backend):
    act = create_backend(backend, load_policy(policies[task])).act
    offline = evaluate(act, task, EPISODES, 20, max_episode_steps=200)
    episodes = returns_over_ros(start, watcher, task, policies[task], backend, 20, 200)
    assert [episode["return"] for episode in episodes] == offline
    assert [episode["seed"] for episode in episodes] == [20, 21, 22]


@pytest.mark.skipif(not SHIPPED, reason="no shipped policies in config/policies")
@pytest.mark.parametrize(("task", "variant", "backend"), SHIPPED)
def test_shipped_policy_whole_episodes(start, watcher, task, variant, backend, full):
    name, count = f"{task}/{variant}", MANY if full else 1
    steps = 0 if full or variant == "paper" else SHORT
    act = create_backend(backend, load_policy(find_policy(name))).act
    offline = evaluate(act, task, count, 1000, max_episode_steps=steps or None)
    episodes = returns_over_ros(start, watcher, task, name, backend, 1000, steps, episodes=count)
    assert [episode["return"] for episode in episodes] == offline


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_a_shipped_policy_has_its_tasks_contract(file):
    assert load_policy(file).contract == load_policy(file.with_name("fp32.safetensors")).contract


def test_observations_sent_again_change_nothing(start, watcher, policies):
    act = create_backend("integer", load_policy(policies["halfcheetah"])).act
    offline = evaluate(act, "halfcheetah", EPISODES, 3, max_episode_steps=100)
    policy = policies["halfcheetah"]
    episodes = returns_over_ros(
        start, watcher, "halfcheetah", policy, "integer", 3, 100, resend_timeout=0.001
    )
    assert [episode["return"] for episode in episodes] == offline


def test_a_policy_that_dies_and_another_in_its_place_change_nothing(start, watcher, policies):
    policy, steps = str(policies["halfcheetah"]), 3000
    act = create_backend("integer", load_policy(policy)).act
    offline = evaluate(act, "halfcheetah", 1, 9, max_episode_steps=steps)
    simulator = start(
        "mujoco_sim_node", task="halfcheetah", episodes=1, seed=9, max_episode_steps=steps
    )
    watcher.until(lambda: watcher.node.count_publishers("episode"))
    first = start("policy_node", policy=policy, lockstep=True, autostart=True)
    # As soon as anything moves: far from the episode's end, on a machine of any speed.
    watcher.until(lambda: watcher.messages["timing"] or watcher.messages["action"])
    first.send(signal.SIGKILL)
    first.wait()
    assert not watcher.messages["episode"]
    start("policy_node", policy=policy, lockstep=True, autostart=True)
    assert simulator.wait(240) == 0, simulator.output
    watcher.until(lambda: watcher.messages["episode"])
    assert [message.position[0] for message in watcher.messages["episode"]] == offline


def test_joint_states_are_the_robots_joints(start, watcher, policies):
    start("mujoco_sim_node", task="hopper")
    watcher.until(lambda: watcher.node.count_publishers("joint_states"))
    start("policy_node", policy=str(policies["hopper"]), lockstep=True, autostart=True)
    watcher.until(lambda: watcher.messages["joint_states"])
    message = watcher.messages["joint_states"][0]
    joints = ["rootx", "rootz", "rooty", "thigh_joint", "leg_joint", "foot_joint"]
    assert (list(message.name), len(message.position), len(message.velocity)) == (joints, 6, 6)
