"""The physics pool plays what a single simulation plays."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("jax", reason="the extra `batched` is not installed")

from qpolicy_ros.sim.environment import Simulation
from qpolicy_training.batched.layout import Layout
from qpolicy_training.batched.pool import PhysicsPool


def test_evaluation_slots_play_the_episodes_of_their_seeds():
    layout = Layout((11, 17), (3, 6))
    pool = PhysicsPool(
        ["hopper", "walker2d"], layout, 1, 2, 2, costs={}, seed=0, episode_steps=12
    )  # fmt: skip
    try:
        pool.wait()
        pool.seed[:, 1:] = [[5, 6], [7, 8]]
        rng = np.random.default_rng(0)
        pool.action[:] = rng.uniform(-1, 1, pool.action.shape)
        for _ in range(13):  # the reset takes the first
            pool.go()
            pool.wait()
        assert not pool.active[:, 1:].any()
        for run, task in enumerate(("hopper", "walker2d")):
            simulation = Simulation(task, max_episode_steps=12)
            simulation.reset(6 if run == 0 else 8)
            total, size = 0.0, layout.actions[run]
            while True:
                _, reward, ended, late = simulation.step(pool.action[run, 2, :size])
                total += reward
                if ended or late:
                    break
            assert pool.finished[run, 2] == total
    finally:
        pool.close()


def test_a_training_slot_that_is_asked_for_an_episode_stops_after_it():
    pool = PhysicsPool(["hopper"], Layout((11,), (3,)), 1, 1, 1, costs={}, seed=0, episode_steps=5)
    try:
        pool.wait()
        for _ in range(7):
            pool.go()
            pool.wait()
        assert pool.active[0].tolist() == [2, 0]
        pool.seed[0, 0] = 3
        for _ in range(6):
            pool.go()
            pool.wait()
        assert pool.active[0].tolist() == [0, 0]
        assert pool.length[0, 0] == 5
    finally:
        pool.close()
