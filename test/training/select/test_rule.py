"""The bound rule and the paper's rule."""

from __future__ import annotations

import numpy as np
import pytest

from qpolicy_training.select.rule import bound_rule, lower_bound, paper_rule

EASY = {"margin": 5.0, "confidence": 95.0}


def test_what_is_asked_is_the_baseline_less_the_margin() -> None:
    verdict = bound_rule([960.0] * 5, [1000.0] * 5, **EASY)
    assert verdict.required == 950.0
    assert verdict.bound == pytest.approx(10.0)
    assert verdict.passes


def test_a_negative_baseline_gets_slack_too() -> None:
    assert bound_rule([-4.1] * 5, [-4.0] * 5, **EASY).required == pytest.approx(-4.2)
    assert bound_rule([-4.1] * 5, [-4.0] * 5, **EASY).passes


def test_a_good_mean_with_a_wide_spread_does_not_pass() -> None:
    returns = [2000.0, 10.0, 1900.0, 5.0, 1000.0]
    assert np.mean(returns) > 950
    assert not bound_rule(returns, [1000.0] * 5, **EASY).passes


def test_episodes_of_a_seed_are_paired() -> None:
    baseline = np.linspace(100, 2000, 40)
    assert bound_rule((baseline * 0.97).tolist(), baseline.tolist(), **EASY).passes


def test_the_bound_holds_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    below = [lower_bound(rng.normal(0, 1, 20), 90.0) <= 0 for _ in range(150)]
    assert 0.82 < np.mean(below) < 0.96


def test_a_floor_replaces_the_baseline() -> None:
    assert bound_rule([50.0] * 3, [1000.0] * 3, **EASY, floor=40.0).passes


def test_the_papers_rule_asks_for_the_mean_less_one_sd() -> None:
    baseline = [900.0, 1000.0, 1100.0]
    assert paper_rule([900.0], baseline).passes
    assert not paper_rule([899.0], baseline).passes
