"""Direct search finds changes that play better, and goes on exactly where it was stopped."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from actor_builders import random_actor

from qpolicy_ros.cli.main import main
from qpolicy_ros.policy import PolicyError
from qpolicy_training.experience.normaliser import RunningNormaliser
from qpolicy_training.quant.integer_policy import integer_policy
from qpolicy_training.quant.quant_actor import ActorSpec
from qpolicy_training.recipes import search as search_module
from qpolicy_training.recipes.config import SearchConfig
from qpolicy_training.recipes.search import search
from qpolicy_training.runs.folder import Run

STEPS = 8
CONFIG = SearchConfig(proposals=60, episodes=4, evaluate_every=20, evaluate_episodes=1)
ENV = SimpleNamespace(scale=np.ones(2, np.float32), bias=np.zeros(2, np.float32))


class Target:
    """Episodes whose return is the greater, the nearer the actions are to a constant."""

    step_limit = STEPS

    def __init__(self) -> None:
        self.seeds: set[int] = set()

    def reset(self, seed: int) -> np.ndarray:
        self.seeds.add(seed)
        self._rng, self._left = np.random.default_rng(seed), STEPS
        return self._observation()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        self._left -= 1
        reward = 10.0 - float(np.abs(action - np.array([0.5, -0.25])).sum())
        return self._observation(), reward, False, self._left == 0

    def _observation(self) -> np.ndarray:
        return self._rng.normal(size=5).astype(np.float32)


def run_search(run: Run, evaluate=lambda *_: 0.0, config: SearchConfig = CONFIG, **more):
    """Search from one and the same actor; returns it, its normaliser at the last evaluation."""
    torch.manual_seed(3)
    actor = random_actor(ActorSpec(5, 2, (12,), 6, 3))
    seen = []

    def kept(tried: int, normaliser: RunningNormaliser) -> float:
        seen.append(normaliser)
        return evaluate(tried, normaliser)

    simulation = Target()
    search(actor, RunningNormaliser(5), ENV, simulation, run, config, seed=1, evaluate=kept, **more)
    return actor, seen, simulation


def mean_return(actor, normaliser) -> float:
    simulation, policy = Target(), integer_policy(actor, normaliser, ENV)
    totals = []
    for seed in range(20):
        observation, total, done = simulation.reset(seed), 0.0, False
        while not done:
            observation, reward, _, done = simulation.step(policy(observation))
            total += reward
        totals.append(total)
    return float(np.mean(totals))


def test_what_is_found_plays_better_on_other_episodes(tmp_path):
    torch.manual_seed(3)
    before = mean_return(random_actor(ActorSpec(5, 2, (12,), 6, 3)), RunningNormaliser(5))
    run = Run("search", CONFIG, tmp_path)
    actor, seen, simulation = run_search(run)
    run.close()
    assert mean_return(actor, seen[-1]) > before + 0.5
    assert min(simulation.seeds) >= search_module.SEARCH_SEED


def test_a_search_that_was_stopped_finds_what_an_unbroken_one_does(tmp_path, monkeypatch):
    whole = Run("search", CONFIG, tmp_path / "whole")
    expected, _, _ = run_search(whole)
    whole.close()
    monkeypatch.setattr(search_module, "CHECKPOINT_SECONDS", -1.0)  # after every change

    def stop(tried: int, _: RunningNormaliser) -> float:
        if tried == 40:
            raise KeyboardInterrupt
        return 0.0

    broken = Run("search", CONFIG, tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        run_search(broken, stop)
    broken.close()
    again = Run("search", CONFIG, tmp_path / "broken")
    found, _, _ = run_search(again)
    assert [step for step, _, _ in again.curve] == [20, 40, 60]
    again.close()
    for ours, theirs in zip(found.flat_parameters(), expected.flat_parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_no_change_moves_the_step_of_the_weights(tmp_path):
    run = Run("search", CONFIG, tmp_path)
    torch.manual_seed(3)
    largest = [
        layer.weight.abs().max().item()
        for layer in random_actor(ActorSpec(5, 2, (12,), 6, 3)).layers
    ]
    actor, _, _ = run_search(run)
    run.close()
    assert [layer.weight.abs().max().item() for layer in actor.layers] == pytest.approx(largest)


@pytest.mark.parametrize("option", ["proposals", "episodes", "evaluate_every"])
def test_numbers_that_cannot_be_searched_with_are_refused(option):
    with pytest.raises(PolicyError, match=f"--search.{option.replace('_', '-')}: 0 is too small"):
        SearchConfig(**{option: 0})


def test_a_search_without_a_student_is_refused(capsys):
    assert main(["quantize", "hopper/fp32", "--method", "search", "--hidden", "16", "16"]) == 2
    assert "--start: --method search goes on from a student" in capsys.readouterr().err
