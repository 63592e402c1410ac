"""Tasks that answer otherwise than Gymnasium says: named in one line before anything is learnt."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.sim import Simulation


class Strange(gymnasium.Env):
    """Three observations and two actions; ``odd`` maps a call to what it answers instead."""

    metadata = {"render_fps": 20}  # noqa: RUF012

    def __init__(self, **odd: Any) -> None:
        self.odd = odd
        self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = odd.get("actions", spaces.Box(-1.0, 1.0, (2,), np.float32))
        self.metadata = odd.get("metadata", self.metadata)
        if "opening" in odd:
            raise odd["opening"]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed, options=options)
        draws = np.random.default_rng() if "unseeded" in self.odd else self.np_random
        return self.odd.get("reset", (draws.uniform(-1.0, 1.0, 3), {}))

    def step(self, action: Any) -> Any:
        del action
        if "error" in self.odd:
            raise self.odd["error"]
        answer = {"seen": np.zeros(3), "reward": 1.0, "terminated": False, "truncated": False}
        return (*(answer | self.odd.get("step", {})).values(), {})


def opened(**odd: Any) -> Simulation:
    name = "Strange-v0"
    gymnasium.registry.pop(name, None)
    gymnasium.register(name, entry_point=Strange, kwargs=odd, max_episode_steps=9)
    return Simulation(name)


def stepped(**odd: Any) -> tuple[Any, ...]:
    simulation = opened(**odd)
    simulation.reset(0)
    return simulation.step(np.zeros(2, np.float32))


@pytest.mark.parametrize(
    ("odd", "wrong"),
    [
        ({"reset": np.zeros(3)}, r"reset\(\) does not give an observation and a dictionary"),
        ({"reset": (np.zeros(2), {})}, r"an observation of shape \(2,\), its space \(3,\)"),
        ({"reset": (np.zeros((3, 1)), {})}, r"an observation of shape \(3, 1\), its space \(3,\)"),
        ({"reset": ({"a": 1}, {})}, "an observation that is no numbers"),
        ({"actions": spaces.Box(0, 9, (2,), np.int32)}, "of int32 is not supported"),
        (
            {"actions": spaces.Box(np.array([1.0]), np.array([1.0 + 1e-12]), dtype=np.float64)},
            "action 0 is fixed, low 1 and high 1",
        ),
        ({"metadata": {"render_fps": "20"}}, "gives no control period"),
        ({"metadata": None}, "gives no control period"),
        (
            {"opening": AssertionError("needs a licence")},
            r"opening it raised AssertionError: needs a licence \(test_task_calls.py:\d+\)",
        ),
    ],
)
def test_an_oddity_of_the_task_is_refused_when_it_is_opened(odd: Any, wrong: str) -> None:
    with pytest.raises(PolicyError, match=f"task: Strange-v0: .*{wrong}"):
        opened(**odd)


@pytest.mark.parametrize(
    ("odd", "wrong"),
    [
        ({"step": {"seen": np.zeros(4)}}, r"an observation of shape \(4,\), its space \(3,\)"),
        ({"step": {"seen": None}}, r"an observation of shape \(\), its space \(3,\)"),
        ({"step": {"reward": [1.0, 2.0]}}, r"the reward \[1.0, 2.0\], no number"),
        ({"step": {"reward": 1e39}}, "a reward of 1e[+]39, more than 1e[+]15; scale its rewards"),
        ({"step": {"terminated": "no"}}, "terminated = 'no', neither True nor False"),
        ({"step": {"truncated": np.zeros(2)}}, "truncated = array"),
        (
            {"error": RuntimeError("the driver\nsays no")},
            r"step\(\) raised RuntimeError: the driver says no \(test_task_calls.py:\d+\)",
        ),
    ],
)
def test_an_odd_answer_is_named(odd: Any, wrong: str) -> None:
    with pytest.raises(PolicyError, match=f"task: Strange-v0: .*{wrong}"):
        stepped(**odd)


@pytest.mark.parametrize("reward", [2, np.float64(2), np.array([2.0]), np.array(2)])
def test_any_one_number_is_a_reward(reward: Any) -> None:
    assert stepped(step={"reward": reward})[1] == 2.0


@pytest.mark.parametrize("flag", [True, 1, np.True_, np.array([True])])
def test_any_truth_ends_an_episode(flag: Any) -> None:
    assert stepped(step={"terminated": flag})[2] is True


@pytest.mark.parametrize("seen", [[0.0, 1.0, 2.0], (0, 1, 2), np.arange(3).astype(object)])
def test_any_three_numbers_are_an_observation(seen: Any) -> None:
    found = stepped(step={"seen": seen})[0]
    assert (found.dtype, found.tolist()) == (np.dtype(np.float32), [0.0, 1.0, 2.0])


def test_a_task_that_ignores_its_seed_is_known() -> None:
    assert opened().seeded
    assert not opened(unseeded=True).seeded
