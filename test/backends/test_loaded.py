"""`qpolicy_ros.load`: a policy asked from Python, as Stable-Baselines3's models are."""

from __future__ import annotations

import numpy as np
import pytest

import qpolicy_ros
from qpolicy_ros.common.errors import ObservationError, PolicyError
from qpolicy_ros.policy import find_policy, load_policy


@pytest.fixture(scope="module")
def golden():
    return load_policy(find_policy("hopper")).golden


@pytest.mark.parametrize(
    ("backend", "expected"), [("integer", "actions"), ("fp32", "baseline_actions")]
)
def test_a_batch_has_the_bits_of_its_rows(golden, backend, expected):
    policy = qpolicy_ros.load("hopper", backend)
    actions = policy.act_batch(golden.observations)
    rows = np.stack([policy.act(row) for row in golden.observations])
    assert np.array_equal(actions, rows)
    assert np.allclose(actions, getattr(golden, expected), rtol=0, atol=1e-5)


def test_a_baseline_alone_is_served_by_fp32():
    assert qpolicy_ros.load("hopper/fp32").backend.name == "fp32"


def test_predict_takes_one_observation_or_a_stack_and_gives_the_state_back(golden):
    policy = qpolicy_ros.load("hopper")
    stack = golden.observations[:3].astype(np.float64)
    actions, state = policy.predict(stack, state=("kept",), episode_start=np.array([True] * 3))
    assert np.array_equal(actions, golden.actions[:3])
    assert state == ("kept",)
    one, none = policy.predict(stack[0], deterministic=False)
    assert np.array_equal(one, golden.actions[0])
    assert none is None


@pytest.mark.parametrize("backend", ["integer", "fp32"])
def test_a_value_that_is_not_finite_is_refused_in_a_batch(golden, backend):
    bad = golden.observations[:2].copy()
    bad[1, 3] = np.nan
    with pytest.raises(ObservationError):
        qpolicy_ros.load("hopper", backend).predict(bad)


def test_an_unknown_policy_or_option_is_named():
    with pytest.raises(PolicyError, match="'hoper' is neither a file nor a shipped policy"):
        qpolicy_ros.load("hoper")
    with pytest.raises(PolicyError, match="'engin' is unknown"):
        qpolicy_ros.load("hopper", engin="c")


def test_stable_baselines3_evaluates_it():
    gymnasium = pytest.importorskip("gymnasium")
    evaluation = pytest.importorskip("stable_baselines3.common.evaluation")
    monitor = pytest.importorskip("stable_baselines3.common.monitor")
    env = monitor.Monitor(gymnasium.make("Hopper-v4"))
    mean, _ = evaluation.evaluate_policy(qpolicy_ros.load("hopper"), env, n_eval_episodes=1)
    assert mean > 3000
