"""Episodes: what their seed decides, how returns are summed."""

from __future__ import annotations

import numpy as np
import pytest

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.sim import Episode, Simulation, evaluate, rollout
from qpolicy_ros.sim.session import Session

WEIGHTS = np.random.default_rng(1).normal(size=(3, 11)).astype(np.float32)


def policy(observation):
    return np.tanh(WEIGHTS @ observation)


def test_a_seed_gives_its_episode_whatever_came_before():
    assert evaluate(policy, "hopper", 3, 7)[1:] == evaluate(policy, "hopper", 2, 8)


def test_the_return_is_the_sum_in_step_order():
    simulation = Simulation("hopper")
    observation, total, length, over = simulation.reset(5), 0.0, 0, False
    while not over:
        observation, reward, terminated, truncated = simulation.step(policy(observation))
        total, length, over = total + reward, length + 1, terminated or truncated
    assert rollout(policy, Simulation("hopper"), 5) == Episode(total, length, terminated=True)


def test_an_episode_that_time_ends_is_not_terminated():
    simulation = Simulation("halfcheetah", max_episode_steps=5)
    episode = rollout(lambda _: np.zeros(6, np.float32), simulation, 0)
    assert (episode.length, episode.terminated) == (5, False)


def test_the_policy_sees_float32():
    seen = set()

    def spy(observation):
        seen.add(observation.dtype)
        return policy(observation)

    evaluate(spy, "hopper", 1, 0)
    assert seen == {np.dtype(np.float32)}


def test_progress_is_told_each_episode():
    told = []
    returns = evaluate(policy, "hopper", 2, 0, progress=told.append)
    assert [episode.return_ for episode in told] == returns


def test_a_task_without_a_limit_is_refused(monkeypatch):
    simulation = Simulation("hopper")
    monkeypatch.setattr(simulation, "step_limit", None)
    with pytest.raises(PolicyError, match="hopper has no step limit"):
        rollout(policy, simulation, 0)


def test_a_session_plays_the_same_episodes():
    session = Session(Simulation("hopper"), 7)
    while len(session.results) < 3:
        session.step(policy(session.observation))
    assert [result.return_ for result in session.results] == evaluate(policy, "hopper", 3, 7)
    assert [result.seed for result in session.results] == [7, 8, 9]


def test_a_session_that_is_reset_leaves_nothing_behind():
    session = Session(Simulation("hopper"), 6)
    session.step(policy(session.observation))
    session.next_episode()
    while not session.results:
        session.step(policy(session.observation))
    assert [session.results[0].return_] == evaluate(policy, "hopper", 1, 7)
