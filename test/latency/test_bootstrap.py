"""Intervals cover, and a difference is claimed only where there is one."""

from __future__ import annotations

import numpy as np
import pytest

from qpolicy_ros.latency.bootstrap import compare, resample


def drawn(scale: float, seed: int, count: int = 4000) -> np.ndarray:
    return scale * np.random.default_rng(seed).lognormal(0.0, 0.3, count)


def test_the_values_are_those_of_the_sample():
    values = drawn(100.0, 0)
    found = resample([values[:1500], values[1500:]])
    assert found["mean"].value == pytest.approx(values.mean())
    assert found["p50"].value == pytest.approx(np.quantile(values, 0.5))
    assert found["p99"].value == pytest.approx(np.quantile(values, 0.99))


def test_the_intervals_cover_the_truth_about_as_often_as_they_say():
    truth = {"p50": 100.0, "p99": 100.0 * np.exp(0.3 * 2.326)}
    hits = dict.fromkeys(truth, 0)
    for seed in range(60):
        found = resample([drawn(100.0, seed)], seed)
        for name, value in truth.items():
            low, high = found[name].interval
            hits[name] += low <= value <= high
    assert all(count >= 50 for count in hits.values()), hits


def test_intervals_grow_where_answers_depend_on_each_other():
    """A slow drift: blocks see it, single answers would not."""
    noise = np.random.default_rng(1).normal(0.0, 1.0, 4000)
    drift = 100.0 + 10.0 * np.sin(np.linspace(0.0, 6.0, 4000)) + noise
    mixed = np.random.default_rng(2).permutation(drift)
    low, high = resample([drift])["mean"].interval
    low_mixed, high_mixed = resample([mixed])["mean"].interval
    assert high - low > 2.0 * (high_mixed - low_mixed)


def test_a_difference_is_shown():
    samples = {"slow": resample([drawn(110.0, 1)], 1), "fast": resample([drawn(100.0, 2)], 2)}
    (found,) = compare(samples, "p50")
    assert (found.faster, found.slower) == ("fast", "slow")
    assert found.low < 1.1 < found.high
    assert found.shown
    assert found.confidence > 0.99


def test_no_difference_is_shown_where_there_is_none():
    claims = 0
    for seed in range(40):
        first, second = (resample([drawn(100.0, 2 * seed + i)], 2 * seed + i) for i in (0, 1))
        (found,) = compare({"a": first, "b": second}, "p50")
        claims += found.shown
    assert claims <= 5


def test_few_answers_are_enough_for_an_interval():
    low, high = resample([np.array([5.0, 6.0, 7.0])])["p50"].interval
    assert 5.0 <= low <= high <= 7.0
