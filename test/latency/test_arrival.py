"""The order in which the messages of a recording arrived."""

from __future__ import annotations

import numpy as np

from qpolicy_ros.latency.arrival import arrival

MS = 1_000_000


def _topic(places, log, sent):
    return np.array(places), np.array(log) * MS, np.array(sent) * MS


def test_times_are_the_order_where_a_bag_was_sorted_by_topic():
    first, second = _topic([0, 1, 2], [0, 10, 20], [0, 10, 20]), _topic([3, 4], [5, 15], [5, 15])
    ranks = arrival({"a": first, "b": second})
    assert ranks["a"].tolist() == [0, 2, 4]
    assert ranks["b"].tolist() == [1, 3]


def test_what_was_held_behind_a_repair_comes_after_it():
    """DDS hands a topic over in its order; what came meanwhile has the earlier time."""
    late = _topic([0, 1, 2, 3, 6, 7], [0, 48, 48, 48, 32, 49], [0, 1, 2, 3, 4, 46])
    other = _topic([4, 5], [30, 47], [2, 46])
    ranks = arrival({"late": late, "other": other})
    assert (np.diff(ranks["late"]) > 0).all()
    assert (np.diff(ranks["other"]) > 0).all()


def test_two_messages_that_threads_mixed_up_are_in_the_order_of_time():
    ranks = arrival({"a": _topic([0, 1, 2], [0, 20, 10], [0, 20, 10])})
    assert ranks["a"].tolist() == [0, 2, 1]
