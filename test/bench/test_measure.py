"""Interleaved timing and its figures."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from qpolicy_ros.bench.measure import calling, interleave, summary


def test_figures_are_microseconds_over_all_calls():
    rounds = np.arange(1, 101).reshape(4, 25) * 1000
    latency = summary(rounds)
    assert (latency.p50, latency.calls) == (50.5, 100)
    assert latency.p99 == pytest.approx(99.01)


def test_the_spread_is_that_of_the_rounds_medians():
    rounds = np.repeat([[1000], [2000], [3000], [4000], [5000]], 7, axis=1)
    assert (summary(rounds).low, summary(rounds).high) == (2.0, 4.0)


def test_every_round_has_one_block_of_each_subject_in_changing_order():
    order = []

    def subject(name):
        def block(calls):
            order.append(name)
            return [1] * calls

        return block

    interleave({name: subject(name) for name in "abc"}, rounds=20, calls=2)
    rounds = [tuple(order[i : i + 3]) for i in range(0, 60, 3)]
    assert {tuple(sorted(each)) for each in rounds} == {("a", "b", "c")}
    assert len(set(rounds)) > 2


def test_warm_up_calls_do_not_count():
    durations = interleave({"a": lambda calls: list(range(calls))}, rounds=2, calls=20)
    assert durations["a"].tolist() == [list(range(2, 22))] * 2


def test_the_collector_is_off_while_timing_and_on_again_afterwards():
    seen = []
    interleave({"a": lambda calls: seen.append(gc.isenabled()) or [1] * calls}, 1, 1)
    assert seen == [False]
    assert gc.isenabled()


def test_a_block_asks_one_observation_after_another():
    asked = []
    block = calling(lambda row: asked.append(row[0]), np.array([[1.0], [2.0]], np.float32))
    durations = block(5)
    assert asked == [1, 2, 1, 2, 1]
    assert len(durations) == 5
    assert min(durations) > 0
